"""Signatures on messages: Ed25519 (RFC 8032), each signature for one purpose only.

What is signed is b"grokfed " + domain + b"\\0" + body. The domain names the purpose, so that a signature on, say, a
list can never pass for one on a model; domains hold no zero byte, so no two pairs (domain, body) give the same message.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

PUBLIC_BYTES = 32
SIGNATURE_BYTES = 64

ROUND = "round v1"
COMMITMENT = "commitment v1"
LIST = "list v1"
REQUEST = "request v1"
MODEL = "model v1"
START = "start v1"
VOUCH = "vouch v1"
ROSTER = "roster v1"
KEY = "round key v1"
ENROLMENT = "enrolment request v1"
ANSWER = "enrolment answer v1"
DOMAINS = frozenset({ROUND, COMMITMENT, LIST, REQUEST, MODEL, START, VOUCH, ROSTER, KEY, ENROLMENT, ANSWER})

REMEMBERED = 4096
"""Signatures that verify() knows to be good: several messages of a round carry the same ones."""

_FIELD = 2**255 - 19
_EIGHTH = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = frozenset({0, 1, _FIELD - 1, _EIGHTH, _FIELD - _EIGHTH})
"""The y coordinates of the points whose order divides 8: with such a public key, a signature may fit any message."""


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


class _Remembered:
    """Digests of the last things that were put in, safe to use from several threads."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def __contains__(self, digest: bytes) -> bool:
        with self._lock:
            if digest not in self._digests:
                return False
            self._digests.move_to_end(digest)
            return True

    def add(self, digest: bytes) -> None:
        with self._lock:
            self._digests[digest] = None
            if len(self._digests) > self._most:
                self._digests.popitem(last=False)


_good = _Remembered(REMEMBERED)


def verify(public: bytes, domain: str, body: bytes, signature: bytes) -> bool:
    """Return whether `signature` is the holder of `public`'s on `body` for this very purpose.

    False for anything malformed as well; never raises. `public` is to come from the signed roster: Ed25519 gives no
    promise about public keys that an attacker chose. A signature that was good is not computed again for the same key
    and message.
    """
    try:
        message = _message(domain, body)
        if len(public) != PUBLIC_BYTES or len(signature) != SIGNATURE_BYTES:
            return False
        digest = sha256(public + signature + message).digest()  # the first two have fixed lengths
        if digest not in _good:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
            _good.add(digest)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def is_public_key(public: bytes) -> bool:
    """Return whether 32 bytes that another party chose can be a public key: canonical, and of a large order.

    That they are a point of the curve at all shows when a signature is verified with them.
    """
    y = int.from_bytes(public, "little") & ((1 << 255) - 1)
    return len(public) == PUBLIC_BYTES and y < _FIELD and y not in _SMALL_ORDER


def _message(domain: str, body: bytes) -> bytes:
    if domain not in DOMAINS:
        raise ValueError(f"the signature's domain is {domain!r}; known are {', '.join(sorted(DOMAINS))}")
    return b"grokfed " + domain.encode() + b"\0" + body
