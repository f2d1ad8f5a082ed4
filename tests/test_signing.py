"""A signature is its key's, on these bytes, for this purpose, and nothing else passes."""

from __future__ import annotations

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from core.identity import signing
from core.identity.signing import COMMITMENT, DOMAINS, LIST, MODEL, SigningKey, verify

# RFC 8032, section 7.1, test 1.
SECRET = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
KEY = SigningKey.from_private_bytes(SECRET)


def test_the_public_key_is_the_standards() -> None:
    assert KEY.public == PUBLIC
    assert KEY.private_bytes() == SECRET


@given(st.sampled_from(sorted(DOMAINS)), st.binary(max_size=100))
def test_what_is_signed_verifies(domain: str, body: bytes) -> None:
    signature = KEY.sign(domain, body)
    assert len(signature) == signing.SIGNATURE_BYTES
    assert verify(PUBLIC, domain, body, signature)


def test_the_signed_message_is_project_then_domain_then_a_zero_then_body() -> None:
    Ed25519PublicKey.from_public_bytes(PUBLIC).verify(KEY.sign(LIST, b"body"), b"grokfed list v1\0body")


def test_a_signature_for_one_purpose_is_none_for_another() -> None:
    assert not verify(PUBLIC, MODEL, b"body", KEY.sign(LIST, b"body"))


@given(st.integers(0, 63), st.integers(0, 7))
def test_one_changed_bit_of_the_signature_is_noticed(byte: int, bit: int) -> None:
    signature = bytearray(KEY.sign(MODEL, b"body"))
    signature[byte] ^= 1 << bit
    assert not verify(PUBLIC, MODEL, b"body", bytes(signature))


def test_another_body_or_key_is_refused() -> None:
    signature = KEY.sign(MODEL, b"body")
    assert not verify(PUBLIC, MODEL, b"bodY", signature)
    assert not verify(PUBLIC, MODEL, b"body\0", signature)
    assert not verify(SigningKey.generate().public, MODEL, b"body", signature)


@pytest.mark.parametrize("public", [b"", b"\0" * 31, b"\xff" * 32, b"\0" * 33, None, "text"])
@pytest.mark.parametrize("signature", [b"", b"\0" * 63, b"\xff" * 64, b"\0" * 65, None])
@pytest.mark.parametrize("domain", [MODEL, "unknown v1"])
def test_malformed_things_are_false_and_never_raise(public: object, signature: object, domain: str) -> None:
    assert verify(public, domain, b"body", signature) is False  # type: ignore[arg-type]


def test_an_unknown_domain_cannot_be_signed_for() -> None:
    with pytest.raises(ValueError, match="'mine v1'; known are commitment v1"):
        KEY.sign("mine v1", b"")


def test_domains_differ_and_hold_no_zero_byte() -> None:
    assert len(DOMAINS) == 11
    assert COMMITMENT in DOMAINS
    assert all(domain.isascii() and "\0" not in domain for domain in DOMAINS)


def test_a_key_shows_nothing_of_itself_and_does_not_pickle() -> None:
    assert repr(KEY) == "SigningKey(Ed25519)"
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(KEY)


def test_a_private_key_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        SigningKey.from_private_bytes(b"\0" * 31)


class TestRemembering:
    """A good signature is computed once; that another one looks like it changes nothing."""

    @pytest.fixture
    def computed(self, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
        """The messages for which a signature was really computed."""
        messages: list[bytes] = []

        class Counting:
            def __init__(self, public: bytes) -> None:
                self._key = Ed25519PublicKey.from_public_bytes(public)

            @classmethod
            def from_public_bytes(cls, public: bytes) -> Counting:
                return cls(public)

            def verify(self, signature: bytes, message: bytes) -> None:
                messages.append(message)
                self._key.verify(signature, message)

        monkeypatch.setattr(signing, "Ed25519PublicKey", Counting)
        monkeypatch.setattr(signing, "_good", signing._Remembered(2))
        return messages

    def test_a_good_signature_is_computed_once(self, computed: list[bytes]) -> None:
        signature = KEY.sign(LIST, b"body")
        assert [verify(PUBLIC, LIST, b"body", signature) for _ in range(3)] == [True] * 3
        assert len(computed) == 1

    def test_a_bad_one_is_computed_and_refused_each_time(self, computed: list[bytes]) -> None:
        assert verify(PUBLIC, LIST, b"body", KEY.sign(LIST, b"body"))
        wrong = KEY.sign(LIST, b"another body")
        assert [verify(PUBLIC, LIST, b"body", wrong) for _ in range(2)] == [False] * 2
        assert not verify(PUBLIC, MODEL, b"body", KEY.sign(LIST, b"body"))
        assert len(computed) == 4

    def test_bytes_moved_from_one_part_to_the_next_are_not_taken_for_what_was_good(self, computed: list[bytes]) -> None:
        signature = KEY.sign(LIST, b"body")
        assert verify(PUBLIC, LIST, b"body", signature)
        assert not verify(PUBLIC + signature[:1], LIST, b"body", signature[1:])
        assert not verify(PUBLIC[:-1], LIST, b"body", PUBLIC[-1:] + signature)

    def test_only_the_last_ones_are_remembered(self, computed: list[bytes]) -> None:
        bodies = [b"1", b"2", b"1", b"3", b"1", b"2"]  # 3 takes the place of 2
        for body in bodies:
            assert verify(PUBLIC, LIST, body, KEY.sign(LIST, body))
        assert [message[-1:] for message in computed] == [b"1", b"2", b"3", b"2"]
