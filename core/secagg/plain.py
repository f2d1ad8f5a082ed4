"""The twin that encrypts nothing: the same packing, the same sums, the same tests, and no protection at all.

Its "ciphertexts" are the plaintexts. It shows that encryption changes no bit of the model, and what encryption costs.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.errors import Reason, Refused
from core.secagg.scheme import PublicKey, join_payload, split_payload


def plain_bytes(key: PublicKey) -> int:
    """Return length of one "ciphertext"."""
    return key.bits // 8


class PlainEncryptor:
    """Writes the plaintexts down as they are."""

    def __init__(self, key: PublicKey) -> None:
        self._key = key

    def encrypt(self, plaintexts: Sequence[int]) -> bytes:
        """Return the plaintexts as a payload, in clear."""
        limit = 1 << self._key.plaintext_bits
        if any(not 0 <= plaintext < limit for plaintext in plaintexts):
            raise ValueError(f"a plaintext lies outside 0 to 2^{self._key.plaintext_bits}")
        return join_payload(plaintexts, plain_bytes(self._key))

    def close(self) -> None:
        """There is nothing to stop."""


class PlainAdder:
    """Adds payloads of `count` plaintexts."""

    def __init__(self, key: PublicKey, count: int) -> None:
        self._size = plain_bytes(key)
        self._limit = 1 << key.plaintext_bits
        self._total = [0] * count

    def check(self, payload: bytes) -> None:
        """Raise Refused(WRONG_LENGTH or BAD_CIPHERTEXT) unless every number can stand in a sum."""
        for place, number in enumerate(split_payload(payload, len(self._total), self._size)):
            if number >= self._limit:
                raise Refused(Reason.BAD_CIPHERTEXT, f"ciphertext {place} of the update is too large")

    def add(self, payload: bytes) -> None:
        """Add one checked payload to the sum."""
        numbers = split_payload(payload, len(self._total), self._size)
        self._total = [old + new for old, new in zip(self._total, numbers, strict=True)]

    def payload(self) -> bytes:
        """Return the sum so far, in clear."""
        return join_payload(self._total, self._size)


class PlainDecryptor:
    """Reads what was never hidden."""

    def __init__(self, bits: int) -> None:
        self._public_key = PublicKey("plain", bits)

    @property
    def public_key(self) -> PublicKey:
        """The key that stands for no key at all."""
        return self._public_key

    def decrypt(self, payload: bytes) -> list[int]:
        """Return the numbers of a payload."""
        size = plain_bytes(self._public_key)
        return split_payload(payload, len(payload) // size, size)
