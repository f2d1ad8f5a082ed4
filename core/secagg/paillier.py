"""What a Paillier public key allows: encrypt, check, add (Paillier, EUROCRYPT 1999; generator n + 1).

    encrypt   c = (1 + m n) s  mod n^2    s an n-th power, indistinguishable from a random one (core.secagg.noise)
    add       c1 c2            mod n^2    decrypts to m1 + m2 mod n

Damgård and Jurik (PKC 2001) take one more power of n: plaintexts twice as long in ciphertexts half as long again, on
the same assumption. With the scheme `damgard-jurik` an update is a quarter shorter.

    encrypt   c = (1 + n)^m s  mod n^3    s an n^2-th power; (1 + n)^m = 1 + m n + m (m - 1) / 2 n^2
    add       c1 c2            mod n^3    decrypts to m1 + m2 mod n^2
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import gmpy2
from gmpy2 import mpz

from core.errors import Reason, Refused
from core.secagg.fixed_base import times_plain
from core.secagg.noise import Noise
from core.secagg.noise_pool import NoisePool
from core.secagg.products import all_units, running_product
from core.secagg.scheme import PublicKey, check_length, join_payload

SMALL_FACTOR_LIMIT = 1 << 20
_SMALL_PRIMES_PRODUCT = gmpy2.primorial(SMALL_FACTOR_LIMIT)


def ciphertext_bytes(key: PublicKey) -> int:
    """Return length of one ciphertext: a number below n^2, or n^3."""
    return (key.degree + 1) * key.bits // 8


def split_ciphertexts(payload: bytes, count: int, size: int) -> list[mpz]:
    """Cut a payload into `count` big-endian integers of `size` bytes. Raises Refused(WRONG_LENGTH)."""
    check_length(payload, count, size)
    return [mpz.from_bytes(payload[start : start + size], "big") for start in range(0, len(payload), size)]


def check_public_key(key: PublicKey) -> None:
    """Refuse a modulus that cannot be an honest key's.

    Raises Refused(BAD_KEY) unless it has exactly the stated bits, is odd, composite, no power, and no number below 2^20
    divides it.
    """
    if key.modulus.bit_length() != key.bits:
        raise Refused(Reason.BAD_KEY, f"the modulus has {key.modulus.bit_length()} bits; expected {key.bits}")
    if problem := _wrong_factors(key.modulus):
        raise Refused(Reason.BAD_KEY, problem)


@lru_cache(maxsize=8)  # a party checks a round's key when it hears of it, and again wherever it computes with it
def _wrong_factors(modulus: int) -> str:
    """Return what is wrong with the factors of a modulus, in a sentence; empty if nothing is seen."""
    if gmpy2.gcd(modulus, _SMALL_PRIMES_PRODUCT) != 1:
        return "the modulus has a prime factor below 2^20"
    if gmpy2.is_prime(modulus) or gmpy2.is_power(modulus):
        return "the modulus is a prime number, or a power"
    return ""


@dataclass(frozen=True)
class Encrypted:
    """A payload, and what its maker can prove about it. The repr shows nothing of either.

    Attributes:
        power_of_roots: given a short public exponent for each ciphertext, returns the product of the roots of their
            noise, each to its exponent, mod n. It holds the roots' secrets, so it must be forgotten after the proof.
    """

    payload: bytes
    power_of_roots: Callable[[Sequence[int]], mpz]

    def __repr__(self) -> str:
        return f"Encrypted({len(self.payload)} bytes)"


class PaillierEncryptor:
    """Encrypts with one public key, which it checks first (Refused(BAD_KEY))."""

    def __init__(self, key: PublicKey, noise: Noise) -> None:
        check_public_key(key)
        self._key = key
        self._modulus = mpz(key.modulus)
        self._noise = noise

    def encrypt(self, plaintexts: Sequence[int]) -> bytes:
        """Encrypt each plaintext with fresh randomness and return the payload."""
        self._check(plaintexts)
        return self._encrypted(plaintexts, self._noise.draw(len(plaintexts)))

    def encrypt_known(self, plaintexts: Sequence[int]) -> Encrypted:
        """Encrypt as `encrypt`, and return with the payload what a proof about it takes."""
        self._check(plaintexts)
        pieces = self._noise.draw_known(len(plaintexts))
        known = [secret for _, secret in pieces]
        payload = self._encrypted(plaintexts, [power for power, _ in pieces])
        return Encrypted(payload, lambda exponents: self._noise.power_of_roots(known, exponents))

    def _check(self, plaintexts: Sequence[int]) -> None:
        limit = 1 << self._key.plaintext_bits
        if any(not 0 <= plaintext < limit for plaintext in plaintexts):
            raise ValueError(f"a plaintext lies outside 0 to 2^{self._key.plaintext_bits}")

    def _encrypted(self, plaintexts: Sequence[int], noise: Sequence[mpz]) -> bytes:
        encrypt_one = self._encrypt_one if self._key.degree == 1 else self._encrypt_long
        return join_payload(map(encrypt_one, plaintexts, noise), ciphertext_bytes(self._key))

    def close(self) -> None:
        """Stop computing noise in the background."""
        if isinstance(self._noise, NoisePool):
            self._noise.close()

    def _encrypt_one(self, plaintext: int, noise: mpz) -> mpz:
        return times_plain(noise, plaintext, self._modulus, self._modulus**2)

    def _encrypt_long(self, plaintext: int, noise: mpz) -> mpz:
        n = self._modulus
        pairs = mpz(plaintext) * (plaintext - 1) // 2 % n
        return noise * (1 + (plaintext + pairs * n) * n) % n**3


class PaillierAdder:
    """Checks payloads of `count` ciphertexts and keeps their product, which decrypts to the sum."""

    def __init__(self, key: PublicKey, count: int) -> None:
        check_public_key(key)
        self._count = count
        self._degree = key.degree
        self._size = ciphertext_bytes(key)
        self._modulus = mpz(key.modulus)
        self._limit = self._modulus ** (key.degree + 1)
        self._product = running_product(self._limit, count, self._size)

    def check(self, payload: bytes) -> None:
        """Raise Refused(WRONG_LENGTH or BAD_CIPHERTEXT) unless every ciphertext is a unit mod n²."""
        ciphertexts = split_ciphertexts(payload, self._count, self._size)
        for place, ciphertext in enumerate(ciphertexts):
            if not 0 < ciphertext < self._limit:
                raise _bad_ciphertext(place, f"is not between 0 and n^{self._degree + 1}")
        residues = [ciphertext % self._modulus for ciphertext in ciphertexts]
        if 1 in residues:
            raise _bad_ciphertext(residues.index(1), "is not blinded, so anyone could read it")
        if not all_units(residues, self._modulus):
            place = next(i for i, residue in enumerate(residues) if gmpy2.gcd(residue, self._modulus) != 1)
            raise _bad_ciphertext(place, "shares a factor with the key")

    def add(self, payload: bytes) -> None:
        """Multiply one checked payload into the products, which adds its plaintexts."""
        check_length(payload, self._count, self._size)
        self._product.multiply(payload)

    def payload(self) -> bytes:
        """Return the encrypted sum so far."""
        return self._product.payload()


def _bad_ciphertext(place: int, problem: str) -> Refused:
    return Refused(Reason.BAD_CIPHERTEXT, f"ciphertext {place} of the update {problem}")
