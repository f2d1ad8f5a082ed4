"""What a Paillier private key allows. Only the key holder (and whoever plays all parties) may import this module."""

from __future__ import annotations

from phe import PaillierPrivateKey, generate_paillier_keypair

from core.errors import SettingsError
from core.secagg.paillier import ciphertext_bytes
from core.secagg.plain import PlainDecryptor
from core.secagg.scheme import Decryptor, PublicKey, split_payload


class PaillierDecryptor:
    """Holds a private key in memory and opens ciphertexts with it."""

    def __init__(self, private_key: PaillierPrivateKey) -> None:
        modulus = int(private_key.public_key.n)
        self._private_key = private_key
        self._public_key = PublicKey("paillier", modulus.bit_length(), modulus)

    def __repr__(self) -> str:
        return f"PaillierDecryptor({self._public_key.bits} bits)"

    @property
    def public_key(self) -> PublicKey:
        return self._public_key

    def decrypt(self, payload: bytes) -> list[int]:
        size = ciphertext_bytes(self._public_key)
        ciphertexts = split_payload(payload, len(payload) // size, size)
        return [int(self._private_key.raw_decrypt(ciphertext)) for ciphertext in ciphertexts]


def generate_decryptor(scheme: str, bits: int) -> Decryptor:
    """Make a fresh key of exactly `bits` bits from the operating system's randomness."""
    if scheme == "plain":
        return PlainDecryptor(bits)
    if scheme == "paillier":
        _, private_key = generate_paillier_keypair(n_length=bits)
        return PaillierDecryptor(private_key)
    raise SettingsError(f"scheme is {scheme!r}; known are 'paillier' and 'plain'")
