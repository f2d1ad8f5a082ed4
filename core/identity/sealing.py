"""A blob that only the holder of one X25519 key can open.

A fresh X25519 key pair is made for every blob; the secret it shares with the recipient's key (RFC 7748) goes through
HKDF-SHA256 (RFC 5869) together with both public keys, as in the base mode of HPKE (RFC 9180, sections 4.1 and 5.1), and
gives the key and the nonce of AES-256-GCM. `context` says what the blob is for; a blob opens in no other context.

Every party can seal: that a blob opens says nothing about who made it. A later theft of the recipient's key opens all
that was ever sealed to it.

    sealed := version (1 byte) | ephemeral public key (32) | ciphertext | tag (16)

An X25519 key cannot sign. Its holder proves to the holder of another such key that it has it, by an HMAC-SHA256 under
the secret that the two keys share; only these two can make it (RFC 9180, section 9.1, uses the same idea).
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core.errors import DataError

PUBLIC_BYTES = 32
VERSION = b"\1"
OVERHEAD_BYTES = len(VERSION) + PUBLIC_BYTES + 16
"""How much longer a sealed blob is than its plaintext."""
_KEY_BYTES, _NONCE_BYTES = 32, 12


class SealingKey:
    """A holder's private X25519 key. Its repr shows no part of it."""

    def __init__(self, key: X25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> SealingKey:
        """Return a new key, from the operating system's randomness."""
        return cls(X25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> SealingKey:
        """Return the key whose private_bytes() these 32 bytes are. Raises ValueError for another length."""
        return cls(X25519PrivateKey.from_private_bytes(raw))

    def private_bytes(self) -> bytes:
        """Return the 32 secret bytes, for an encrypted key file and nothing else."""
        return self._key.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, context: bytes) -> bytes:
        """Return the plaintext of a blob that was sealed to this key in this context.

        Raises DataError for any other.
        """
        if len(sealed) < OVERHEAD_BYTES or sealed[:1] != VERSION:
            raise DataError(
                f"a blob of {len(sealed)} bytes is no sealed one; expected version 1 and at least {OVERHEAD_BYTES}"
            )
        ephemeral, ciphertext = sealed[1 : 1 + PUBLIC_BYTES], sealed[1 + PUBLIC_BYTES :]
        try:
            key, nonce = _derive(self._key, ephemeral, ephemeral + self.public)
            return AESGCM(key).decrypt(nonce, ciphertext, context)
        except (InvalidTag, ValueError):
            raise DataError(
                f"a sealed blob of {len(sealed)} bytes does not open with this key; "
                "it is another holder's, for another use, or was changed"
            ) from None

    def prove(self, verifier: bytes, body: bytes) -> bytes:
        """Return a proof, 32 bytes, for the holder of the key `verifier`, that the sender of `body` has this key.

        Raises DataError when `verifier` is not a valid key.
        """
        return self._possession(verifier, self.public + verifier, body).finalize()

    def verifies(self, prover: bytes, body: bytes, proof: bytes) -> bool:
        """Return whether the holder of the key `prover` made this proof on `body` for this key. Never raises."""
        try:
            self._possession(prover, prover + self.public, body).verify(proof)
        except (InvalidSignature, DataError, TypeError):
            return False
        return True

    def _possession(self, other: bytes, both: bytes, body: bytes) -> HMAC:
        try:
            shared = self._key.exchange(X25519PublicKey.from_public_bytes(other))
        except ValueError as error:
            raise DataError(f"a sealing key of {len(other)} bytes is not an X25519 public key") from error
        code = HMAC(
            HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"grokfed possession v1\0" + both).derive(shared), SHA256()
        )
        code.update(body)
        return code

    def __repr__(self) -> str:
        return "SealingKey(X25519)"


def seal(public: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Encrypt `plaintext` to the holder of the X25519 key `public` (32 bytes), for `context` only.

    The result is OVERHEAD_BYTES longer. Raises DataError when `public` is not a valid key.
    """
    ephemeral = X25519PrivateKey.generate()
    sent = ephemeral.public_key().public_bytes_raw()
    try:
        # The nonce may be derived: this key encrypts this one blob.
        key, nonce = _derive(ephemeral, public, sent + public)
    except ValueError as error:
        raise DataError(f"a sealing key of {len(public)} bytes is not an X25519 public key") from error
    return VERSION + sent + AESGCM(key).encrypt(nonce, plaintext, context)


def _derive(private: X25519PrivateKey, public: bytes, both: bytes) -> tuple[bytes, bytes]:
    """Key and nonce. Raises ValueError for a point of small order, whose shared secret would be zero."""
    shared = private.exchange(X25519PublicKey.from_public_bytes(public))
    length = _KEY_BYTES + _NONCE_BYTES
    derived = HKDF(SHA256(), length, salt=None, info=b"grokfed sealed v1\0" + both).derive(shared)
    return derived[:_KEY_BYTES], derived[_KEY_BYTES:]
