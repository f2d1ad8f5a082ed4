"""What a Paillier private key allows. Only code that plays all parties may import this module.

    m mod p   = L(c^(p - 1) mod p²) / ((p - 1) q) mod p    with L(x) = (x - 1) / p, and likewise mod q

Two powers of half the length instead of one of the whole (Paillier 1999, section 7), for all ciphertexts in lists: GMP
works on those without Python's lock, so that several cores can share them.
"""

from __future__ import annotations

import gmpy2
from gmpy2 import mpz
from phe import PaillierPrivateKey

from core.errors import SettingsError
from core.secagg import kernel
from core.secagg.logarithm import logarithm
from core.secagg.paillier import ciphertext_bytes, split_ciphertexts
from core.secagg.plain import PlainDecryptor
from core.secagg.powers import in_threads
from core.secagg.scheme import PAILLIER, PLAIN, SCHEMES, Decryptor, PublicKey
from registrar.key_generation import generate_private_key


class PaillierDecryptor:
    """Holds a private key in memory and opens ciphertexts with it.

    Args:
        private_key: as phe makes and reads it.
        threads: how many cores to use; all that this process may use if left out.
        scheme: paillier or damgard-jurik, which uses the same keys.
    """

    def __init__(self, private_key: PaillierPrivateKey, threads: int | None = None, scheme: str = PAILLIER) -> None:
        modulus = int(private_key.public_key.n)
        self._private_key = private_key
        self._public_key = PublicKey(scheme, modulus.bit_length(), modulus)
        self._threads = threads

    def __repr__(self) -> str:
        return f"PaillierDecryptor({self._public_key.bits} bits)"

    @property
    def public_key(self) -> PublicKey:
        return self._public_key

    def decrypt(self, payload: bytes) -> list[int]:
        size = ciphertext_bytes(self._public_key)
        ciphertexts = split_ciphertexts(payload, len(payload) // size, size)
        return [int(plaintext) for plaintext in in_threads(self._open, ciphertexts, self._threads)]

    def _open(self, ciphertexts: list[mpz]) -> list[mpz]:
        key = self._private_key
        p, q = mpz(key.p), mpz(key.q)
        degree = self._public_key.degree
        mod_p, mod_q = _plaintexts(ciphertexts, p, q, degree), _plaintexts(ciphertexts, q, p, degree)
        p, q = p**degree, q**degree
        p_inverse = gmpy2.invert(p, q)
        return [low + (high - low) * p_inverse % q * p for low, high in zip(mod_p, mod_q, strict=True)]


def _plaintexts(ciphertexts: list[mpz], prime: mpz, other: mpz, degree: int) -> list[mpz]:
    """Return each plaintext modulo one prime, or its square if the degree is 2.

    Raised to prime - 1 the noise vanishes, and (1 + n)^x is left, x being (prime - 1) m.
    """
    modulus = prime ** (degree + 1)
    powers = _powers([ciphertext % modulus for ciphertext in ciphertexts], prime - 1, modulus)
    inverse = gmpy2.invert(prime - 1, prime**degree)
    return [logarithm(power, prime, other, degree) * inverse % prime**degree for power in powers]


def _powers(bases: list[mpz], exponent: mpz, modulus: mpz) -> list[mpz]:
    if not kernel.available(modulus.bit_length()):
        return gmpy2.powmod_base_list(bases, exponent, modulus)  # type: ignore[no-any-return]
    modulo = kernel.arithmetic(modulus)
    return modulo.leave(modulo.power(modulo.enter(bases), int(exponent)))


def generate_decryptor(scheme: str, bits: int) -> Decryptor:
    """Make a fresh key of exactly `bits` bits from the operating system's randomness."""
    if scheme == PLAIN:
        return PlainDecryptor(bits)
    if scheme in SCHEMES:
        return PaillierDecryptor(generate_private_key(bits), scheme=scheme)
    raise SettingsError(f"scheme is {scheme!r}; known are {', '.join(SCHEMES)}")
