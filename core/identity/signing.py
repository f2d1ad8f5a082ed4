"""Signatures on messages: Ed25519 (RFC 8032), each signature for one purpose only.

What is signed is b"grokfed " + domain + b"\\0" + body. The domain names the purpose, so that a signature on, say, a
list can never pass for one on a model; domains hold no zero byte, so no two pairs (domain, body) give the same message.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

ROUND = "round v1"
COMMITMENT = "commitment v1"
LIST = "list v1"
MODEL = "model v1"
ROSTER = "roster v1"
KEY = "round key v1"
DOMAINS = frozenset({ROUND, COMMITMENT, LIST, MODEL, ROSTER, KEY})


class SigningKey:
    """A party's private Ed25519 key. Its repr shows no part of it."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new key, from the operating system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_private_bytes(cls, raw: bytes) -> SigningKey:
        """Return the key whose private_bytes() these 32 bytes are. Raises ValueError for another length."""
        return cls(Ed25519PrivateKey.from_private_bytes(raw))

    def private_bytes(self) -> bytes:
        """Return the 32 secret bytes, for an encrypted key file and nothing else."""
        return self._key.private_bytes_raw()

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""
        return self._key.public_key().public_bytes_raw()

    def sign(self, domain: str, body: bytes) -> bytes:
        """Return the signature, 64 bytes, on `body` for the purpose `domain`.

        Raises ValueError for an unknown domain.
        """
        return self._key.sign(_message(domain, body))

    def __repr__(self) -> str:
        return "SigningKey(Ed25519)"


def verify(public: bytes, domain: str, body: bytes, signature: bytes) -> bool:
    """Return whether `signature` is the holder of `public`'s on `body` for this very purpose.

    False for anything malformed as well; never raises. `public` is to come from the signed roster: Ed25519 gives no
    promise about public keys that an attacker chose.
    """
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, _message(domain, body))
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _message(domain: str, body: bytes) -> bytes:
    if domain not in DOMAINS:
        raise ValueError(f"the signature's domain is {domain!r}; known are {', '.join(sorted(DOMAINS))}")
    return b"grokfed " + domain.encode() + b"\0" + body
