"""Give each party the object of its role, by the scheme that the round's key names."""

from __future__ import annotations

from core.errors import Reason, Refused
from core.secagg.noise import NoiseKind, noise_for
from core.secagg.noise_pool import NoisePool
from core.secagg.paillier import PaillierAdder, PaillierEncryptor, check_public_key, ciphertext_bytes
from core.secagg.plain import PlainAdder, PlainEncryptor, plain_bytes
from core.secagg.scheme import PLAIN, SCHEMES, Adder, Encryptor, PublicKey


def encryptor_for(key: PublicKey, count: int, kind: NoiseKind = NoiseKind.SHORT) -> Encryptor:
    """Return a client's object for one key and about `count` ciphertexts, which it begins to prepare at once.

    Raises Refused(BAD_KEY).
    """
    if _scheme(key) == PLAIN:
        return PlainEncryptor(key)
    check_public_key(key)  # before any arithmetic with it
    return PaillierEncryptor(key, NoisePool(lambda: noise_for(key, count, kind), count))


def adder_for(key: PublicKey, count: int) -> Adder:
    """Return an aggregator's (or a re-computing key holder's) object for updates of `count` ciphertexts."""
    return PlainAdder(key, count) if _scheme(key) == PLAIN else PaillierAdder(key, count)


def check_key(key: PublicKey) -> None:
    """Raise Refused(BAD_KEY) unless the key could be an honest one."""
    if _scheme(key) != PLAIN:
        check_public_key(key)


def payload_bytes(key: PublicKey, count: int) -> int:
    """Return the length of an update of `count` ciphertexts."""
    return count * (plain_bytes(key) if _scheme(key) == PLAIN else ciphertext_bytes(key))


def _scheme(key: PublicKey) -> str:
    if key.scheme not in SCHEMES:
        raise Refused(Reason.BAD_KEY, f"the key's scheme is {key.scheme!r}; known are {', '.join(SCHEMES)}")
    return key.scheme
