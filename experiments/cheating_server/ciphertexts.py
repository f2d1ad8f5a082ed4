"""What can be done with ciphertexts and no key: raise, multiply, encrypt; and how an attacker reads what was opened."""

from __future__ import annotations

import math
import secrets
from collections.abc import Iterable, Sequence

import gmpy2
import numpy as np
from gmpy2 import mpz

from core.secagg.encoding import Encoding
from core.secagg.paillier import ciphertext_bytes, split_ciphertexts
from core.secagg.scheme import PublicKey, join_payload, split_payload
from experiments.arrays import IntArray

STEP = 410
"""What one step of Adam moves a weight by: 0.05, in multiples of 2^-13."""


def neutral(encoding: Encoding) -> list[int]:
    """Return the plaintexts of an update that changes nothing, with all counters 0."""
    values = np.full(encoding.leading_slots + encoding.values, encoding.offset, np.int64)
    values[: encoding.leading_slots] = 0
    return encoding.pack(values)


def blend(
    key: PublicKey, encoding: Encoding, powers: Iterable[tuple[bytes, int]] = (), neutrals: int = 1
) -> bytes:  # fmt: skip
    """Encrypt a number of neutral updates, plus other updates' ciphertexts raised to powers, freshly blinded.

    What is inside is the sum of power times plaintext, though its maker can read none of them (Paillier,
    EUROCRYPT 1999, section 8). With powers and `neutrals` that add up to 1, the counters say 1 as in any update.
    """
    n = mpz(key.modulus)
    whole = n**2
    result = [(1 + plaintext * neutrals * n) * _noise(n) % whole for plaintext in neutral(encoding)]
    for payload, power in powers:
        ciphertexts = split_ciphertexts(payload, encoding.plaintexts, ciphertext_bytes(key))
        result = [
            old * gmpy2.powmod(ciphertext, power, whole) % whole
            for old, ciphertext in zip(result, ciphertexts, strict=True)
        ]
    return join_payload(result, ciphertext_bytes(key))


def product(key: PublicKey, encoding: Encoding, powers: Sequence[tuple[bytes, int]]) -> bytes:
    """Multiply updates' ciphertexts, each raised to a power, with no blinding and no counters set right."""
    whole = mpz(key.modulus) ** 2
    result = [mpz(1)] * encoding.plaintexts
    for payload, power in powers:
        ciphertexts = split_ciphertexts(payload, encoding.plaintexts, ciphertext_bytes(key))
        result = [old * gmpy2.powmod(c, power, whole) % whole for old, c in zip(result, ciphertexts, strict=True)]
    return join_payload(result, ciphertext_bytes(key))


def decrypt(key: PublicKey, primes: Sequence[int], payload: bytes) -> list[int]:
    """Read ciphertexts with all the (unlike) prime factors of the modulus."""
    n = mpz(key.modulus)
    order = math.lcm(*(prime - 1 for prime in primes))
    inverse = gmpy2.invert(order, n)
    ciphertexts = split_payload(payload, len(payload) // ciphertext_bytes(key), ciphertext_bytes(key))
    return [int((gmpy2.powmod(c, order, n**2) - 1) // n * inverse % n) for c in ciphertexts]


def deltas(encoding: Encoding, plaintexts: Sequence[int], offsets: int) -> IntArray:
    """Return the weights' changes in opened plaintexts that hold this many offsets, shape (values,)."""
    return slots(encoding, plaintexts)[encoding.leading_slots :] - offsets * encoding.offset


def slots(encoding: Encoding, plaintexts: Sequence[int]) -> IntArray:
    """Return all slots but the counters, unchecked, shape (leading_slots + values,)."""
    width = encoding.slot_bits
    mask = (1 << width) - 1
    rows = [
        [plaintext >> (place * width) & mask for place in range(1, encoding.slots_per_plaintext)]
        for plaintext in plaintexts
    ]
    return np.array(rows, np.int64).reshape(-1)[: encoding.leading_slots + encoding.values]


def unmixed(mixture: IntArray, times: int) -> IntArray:
    """Return what is in a sum `times` times, if the rest is small: every client moves a weight by one step or not."""
    return np.rint(mixture / (times * STEP)).astype(np.int64) * STEP


def _noise(n: mpz) -> mpz:
    return gmpy2.powmod(secrets.randbelow(int(n) - 1) + 1, n, n**2)
