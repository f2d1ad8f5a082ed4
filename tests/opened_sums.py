"""Round keys with all their shares, and one sum under each, with every holder's answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache

from core.secagg.factory import adder_for, encryptor_for
from core.secagg.opening import OpenedSum, combine, verify_opened
from core.secagg.scheme import PublicKey, join_payload
from registrar.dealing import DealtKey, deal

BITS = 272  # small, for speed: these tests check arithmetic, not secrecy
SCHEMES = ["paillier", "damgard-jurik", "plain"]
ENCRYPTING = SCHEMES[:2]
SIZES = [(1, 1), (2, 2), (1, 3), (2, 3), (3, 5)]


@cache
def dealt(scheme: str, threshold: int, holders: int) -> DealtKey:
    return deal(scheme, BITS, threshold, holders)


def total_of(key: PublicKey, rows: list[list[int]]) -> bytes:
    encryptor, adder = encryptor_for(key, len(rows[0])), adder_for(key, len(rows[0]))
    for row in rows:
        adder.add(encryptor.encrypt(row))
    return adder.payload()


@dataclasses.dataclass(frozen=True)
class Case:
    """A sum of three ciphertexts, 8, 0 and 111, and everything about it."""

    key: PublicKey
    threshold: int
    holders: int
    total: bytes
    partials: Mapping[int, bytes]

    def combine(self, partials: Mapping[int, bytes]) -> OpenedSum:
        return combine(self.key, self.threshold, self.holders, self.total, partials)

    def verify(self, opened: OpenedSum) -> None:
        verify_opened(self.key, self.threshold, self.holders, self.total, opened)


@cache
def case(scheme: str, threshold: int, holders: int) -> Case:
    key = dealt(scheme, threshold, holders)
    total = total_of(key.public_key, [[5, 0, 1], [3, 0, 110]])
    partials = {share.holder: share.partial(total) for share in key.shares}
    return Case(key.public_key, threshold, holders, total, partials)


def times(case: Case, partial: bytes, factor: int, place: int = 1) -> bytes:
    """Multiply one number of an answer; where nothing is encrypted, add instead."""
    size = case.key.bits // 8
    numbers = [int.from_bytes(partial[start : start + size], "big") for start in range(0, len(partial), size)]
    plain = case.key.scheme == "plain"
    numbers[place] = numbers[place] + factor if plain else numbers[place] * factor % case.key.modulus
    return join_payload(numbers, size)
