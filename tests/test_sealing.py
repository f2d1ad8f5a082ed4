"""What is sealed opens for one key in one context, whole, and for no other."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from core.errors import DataError
from core.identity.sealing import OVERHEAD_BYTES, SealingKey, seal

KEY = SealingKey.generate()


@given(st.binary(max_size=300), st.binary(max_size=40))
def test_what_is_sealed_opens(plaintext: bytes, context: bytes) -> None:
    sealed = seal(KEY.public, plaintext, context)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert KEY.open(sealed, context) == plaintext


def test_the_same_blob_never_looks_the_same() -> None:
    first, second = seal(KEY.public, b"share", b""), seal(KEY.public, b"share", b"")
    assert first[1:33] != second[1:33]
    assert first[33:] != second[33:]


def test_it_opens_for_no_other_key() -> None:
    with pytest.raises(DataError, match="another holder's"):
        SealingKey.generate().open(seal(KEY.public, b"share", b"round 1"), b"round 1")


def test_it_opens_in_no_other_context() -> None:
    with pytest.raises(DataError, match="for another use"):
        KEY.open(seal(KEY.public, b"share", b"round 1"), b"round 2")


@pytest.mark.parametrize("byte", [1, 32, 33, 37, 38, -1])
def test_a_changed_byte_is_noticed(byte: int) -> None:
    sealed = bytearray(seal(KEY.public, b"share", b""))
    sealed[byte] ^= 1
    with pytest.raises(DataError, match="does not open"):
        KEY.open(bytes(sealed), b"")


def test_what_is_short_or_of_another_version_is_refused() -> None:
    sealed = seal(KEY.public, b"", b"")
    assert KEY.open(sealed, b"") == b""
    for wrong in (b"", sealed[:-1], b"\2" + sealed[1:]):
        with pytest.raises(DataError, match="is no sealed one"):
            KEY.open(wrong, b"")


def test_a_point_of_small_order_is_refused_on_both_sides() -> None:
    """With u = 0 every shared secret would be zero, and any party could open the blob."""
    with pytest.raises(DataError, match="not an X25519 public key"):
        seal(b"\0" * 32, b"share", b"")
    with pytest.raises(DataError, match="does not open"):
        KEY.open(b"\1" + b"\0" * 32 + b"\0" * 16, b"")


def test_a_public_key_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="31 bytes"):
        seal(b"\1" * 31, b"share", b"")


def test_the_key_is_derived_from_both_public_keys_as_the_page_says() -> None:
    """Opened by hand: HKDF-SHA256 of the shared secret, then both public keys; 32 bytes of key, 12 of nonce."""
    sealed = seal(KEY.public, b"share", b"context")
    ephemeral = sealed[1:33]
    private = X25519PrivateKey.from_private_bytes(KEY.private_bytes())
    shared = private.exchange(X25519PublicKey.from_public_bytes(ephemeral))
    derived = HKDF(SHA256(), 44, None, b"grokfed sealed v1\0" + ephemeral + KEY.public).derive(shared)
    assert AESGCM(derived[:32]).decrypt(derived[32:], sealed[33:], b"context") == b"share"


def test_a_key_survives_its_bytes_and_shows_nothing_of_itself() -> None:
    again = SealingKey.from_private_bytes(KEY.private_bytes())
    assert again.public == KEY.public
    assert again.open(seal(KEY.public, b"share", b""), b"") == b"share"
    assert repr(KEY) == "SealingKey(X25519)"
