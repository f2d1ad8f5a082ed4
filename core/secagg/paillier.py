"""What a Paillier public key allows: encrypt, check, add (Paillier, EUROCRYPT 1999; generator n + 1).

    encrypt   c = (1 + m n) r^n  mod n^2        r fresh from the operating system for every ciphertext
    add       c1 c2              mod n^2        decrypts to m1 + m2 mod n

The blinding factor r^n is nearly all of the work, and it does not depend on the message; it comes from a source of its
own, so that it can be made in other ways and at other times than the rest.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Protocol

import gmpy2
from phe import PaillierPublicKey

from core.errors import Reason, Refused
from core.secagg.scheme import PublicKey, join_payload, split_payload

SMALL_FACTOR_LIMIT = 1 << 20
_SMALL_PRIMES_PRODUCT = gmpy2.primorial(SMALL_FACTOR_LIMIT)


class Blinding(Protocol):
    """A source of factors r^n mod n^2, each used once."""

    def factors(self, count: int) -> list[int]: ...


class TextbookBlinding:
    """r uniform in [1, n), raised to the n-th power: the definition, and the test of every faster way."""

    def __init__(self, key: PublicKey) -> None:
        self._modulus = gmpy2.mpz(key.modulus)
        self._square = self._modulus**2

    def factors(self, count: int) -> list[int]:
        # r < n shares a factor with n with probability about 2^(1 - bits/2); such an r would factor the key.
        bases = [secrets.randbelow(int(self._modulus) - 1) + 1 for _ in range(count)]
        return [gmpy2.powmod(base, self._modulus, self._square) for base in bases]


def ciphertext_bytes(key: PublicKey) -> int:
    """Length of one ciphertext: n^2 has twice the key's bits."""
    return key.bits // 4


def check_public_key(key: PublicKey) -> None:
    """Refuse a modulus that cannot be an honest key's.

    Raises Refused(BAD_KEY) unless it has exactly the stated bits, is odd, composite, and has no factor below 2^20.
    """
    if key.modulus.bit_length() != key.bits:
        raise Refused(Reason.BAD_KEY, f"the modulus has {key.modulus.bit_length()} bits; expected {key.bits}")
    if gmpy2.gcd(key.modulus, _SMALL_PRIMES_PRODUCT) != 1:
        raise Refused(Reason.BAD_KEY, "the modulus has a prime factor below 2^20")
    if gmpy2.is_prime(key.modulus):
        raise Refused(Reason.BAD_KEY, "the modulus is a prime number")


class PaillierEncryptor:
    """Encrypts with one public key. Checks the key first (Refused(BAD_KEY))."""

    def __init__(self, key: PublicKey, blinding: Blinding | None = None) -> None:
        check_public_key(key)
        self._key = key
        self._phe = PaillierPublicKey(key.modulus)
        self._blinding = blinding or TextbookBlinding(key)

    def encrypt(self, plaintexts: Sequence[int]) -> bytes:
        limit = 1 << self._key.plaintext_bits
        if any(not 0 <= plaintext < limit for plaintext in plaintexts):
            raise ValueError(f"a plaintext lies outside 0 to 2^{self._key.plaintext_bits}")
        n, square = self._phe.n, self._phe.nsquare
        factors = self._blinding.factors(len(plaintexts))
        ciphertexts = [
            int((1 + plaintext * n) * factor % square) for plaintext, factor in zip(plaintexts, factors, strict=True)
        ]
        return join_payload(ciphertexts, ciphertext_bytes(self._key))


class PaillierAdder:
    """Checks payloads of `count` ciphertexts and keeps their product, which decrypts to the sum."""

    def __init__(self, key: PublicKey, count: int) -> None:
        check_public_key(key)
        self._size = ciphertext_bytes(key)
        self._modulus = gmpy2.mpz(key.modulus)
        self._square = self._modulus**2
        self._total = [gmpy2.mpz(1)] * count

    def check(self, payload: bytes) -> None:
        for place, ciphertext in enumerate(split_payload(payload, len(self._total), self._size)):
            if not 0 < ciphertext < self._square:
                raise _bad_ciphertext(place, "is not between 0 and n^2")
            if gmpy2.gcd(ciphertext, self._modulus) != 1:
                raise _bad_ciphertext(place, "shares a factor with the key")
            if ciphertext % self._modulus == 1:
                raise _bad_ciphertext(place, "is not blinded, so anyone could read it")

    def add(self, payload: bytes) -> None:
        ciphertexts = split_payload(payload, len(self._total), self._size)
        self._total = [old * new % self._square for old, new in zip(self._total, ciphertexts, strict=True)]

    def payload(self) -> bytes:
        return join_payload([int(value) for value in self._total], self._size)


def _bad_ciphertext(place: int, problem: str) -> Refused:
    return Refused(Reason.BAD_CIPHERTEXT, f"ciphertext {place} of the update {problem}")
