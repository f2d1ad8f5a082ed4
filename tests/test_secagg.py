"""One contract for both schemes: what is added encrypted is what is opened, and bad ciphertexts go nowhere."""

from __future__ import annotations

import gmpy2
import phe
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused_with

from book.decryption import generate_decryptor
from core.errors import Reason, Refused, SettingsError
from core.policy import Policy
from core.secagg.factory import adder_for, encryptor_for, payload_bytes
from core.secagg.noise import NoiseKind, TextbookNoise, noise_for
from core.secagg.paillier import PaillierAdder, PaillierEncryptor, check_public_key, ciphertext_bytes
from core.secagg.scheme import Decryptor, PublicKey, check_key_bits, join_payload

SQUARE = int(gmpy2.next_prime((1 << 128) - (1 << 110))) ** 2
BITS = 256  # small, for speed: these tests check arithmetic, not secrecy


@pytest.fixture(scope="module", params=["paillier", "damgard-jurik", "plain"])
def decryptor(request: pytest.FixtureRequest) -> Decryptor:
    return generate_decryptor(request.param, BITS)


@pytest.fixture(scope="module", params=["paillier", "damgard-jurik"])
def paillier(request: pytest.FixtureRequest) -> Decryptor:
    return generate_decryptor(request.param, BITS)


def test_the_sum_of_encrypted_rows_opens_to_the_sum_of_the_rows(decryptor: Decryptor) -> None:
    key = decryptor.public_key
    encryptor, adder = encryptor_for(key, 2), adder_for(key, count=3)
    for row in ([5, 0, 1], [3, 0, 10], [0, 0, 100]):
        payload = encryptor.encrypt(row)
        adder.check(payload)
        adder.add(payload)
    assert decryptor.decrypt(adder.payload()) == [8, 0, 111]


@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.lists(st.integers(0, 2**200), min_size=2, max_size=2), min_size=1, max_size=5))
def test_any_rows_sum_exactly(decryptor: Decryptor, rows: list[list[int]]) -> None:
    key = decryptor.public_key
    encryptor, adder = encryptor_for(key, 2), adder_for(key, count=2)
    for row in rows:
        adder.add(encryptor.encrypt(row))
    assert decryptor.decrypt(adder.payload()) == [sum(column) for column in zip(*rows, strict=True)]


def test_the_largest_plaintexts_of_several_clients_sum_exactly(decryptor: Decryptor) -> None:
    key = decryptor.public_key
    largest = (1 << key.plaintext_bits) - 1
    encryptor, adder = encryptor_for(key, 1), adder_for(key, count=1)
    for _ in range(64):
        adder.add(encryptor.encrypt([largest]))
    assert decryptor.decrypt(adder.payload()) == [64 * largest]


def test_the_longer_scheme_sends_a_quarter_less_for_the_same_plaintexts() -> None:
    short, long = PublicKey("paillier", 2048, 1), PublicKey("damgard-jurik", 2048, 1)
    assert (short.plaintext_bits, long.plaintext_bits) == (2016, 4064)
    assert (payload_bytes(short, 2), payload_bytes(long, 1)) == (1024, 768)


def test_ciphertexts_of_the_longer_scheme_are_those_of_its_definition() -> None:
    key = generate_decryptor("damgard-jurik", BITS).public_key
    n, plaintext = key.modulus, (1 << key.plaintext_bits) - 12345

    class One:
        def draw(self, count: int) -> list[mpz]:
            return [mpz(1)] * count

    ciphertext = int.from_bytes(PaillierEncryptor(key, One()).encrypt([plaintext]), "big")
    assert ciphertext == pow(1 + n, plaintext, n**3)


def test_payloads_have_one_length_whatever_they_say(decryptor: Decryptor) -> None:
    key = decryptor.public_key
    largest = (1 << key.plaintext_bits) - 1
    lengths = {len(encryptor_for(key, 2).encrypt(row)) for row in ([0, 0], [largest, largest], [1, 0])}
    assert lengths == {payload_bytes(key, 2)}


@pytest.mark.parametrize("too_large", [False, True])
def test_plaintexts_that_could_wrap_around_are_not_encrypted(decryptor: Decryptor, too_large: bool) -> None:
    plaintext = 1 << decryptor.public_key.plaintext_bits if too_large else -1
    with pytest.raises(ValueError, match="outside"):
        encryptor_for(decryptor.public_key, 2).encrypt([plaintext])


@pytest.mark.parametrize("change", [-1, 1])
def test_payloads_of_another_length_are_refused(decryptor: Decryptor, change: int) -> None:
    key = decryptor.public_key
    payload = encryptor_for(key, 2).encrypt([1, 2])
    wrong = payload[:change] if change < 0 else payload + b"\0"
    with refused_with(Reason.WRONG_LENGTH):
        adder_for(key, 2).check(wrong)


def test_our_ciphertexts_open_in_phe_itself(paillier: Decryptor) -> None:
    public, private = phe.generate_paillier_keypair(n_length=BITS)
    key = PublicKey("paillier", BITS, int(public.n))
    payload = encryptor_for(key, 1).encrypt([12345])
    assert private.raw_decrypt(int.from_bytes(payload, "big")) == 12345


def test_the_same_plaintext_never_gives_the_same_ciphertext(paillier: Decryptor) -> None:
    encryptor = encryptor_for(paillier.public_key, 50)
    payload = encryptor.encrypt([7] * 50)
    size = ciphertext_bytes(paillier.public_key)
    assert len({payload[start : start + size] for start in range(0, len(payload), size)}) == 50


def malformed(key: PublicKey) -> dict[str, int]:
    n, end = key.modulus, key.modulus ** (key.degree + 1)
    return {"zero": 0, "n": n, "7n": 7 * n, "end": end, "end+1": end + 1, "one": 1, "unblinded 5": pow(1 + n, 5, end)}


@pytest.mark.parametrize("name", ["zero", "n", "7n", "end", "end+1", "one", "unblinded 5"])
def test_malformed_ciphertexts_are_refused(paillier: Decryptor, name: str) -> None:
    key = paillier.public_key
    good = encryptor_for(key, 2).encrypt([1])
    payload = good + join_payload([malformed(key)[name]], ciphertext_bytes(key))
    with refused_with(Reason.BAD_CIPHERTEXT, "ciphertext 1 "):
        PaillierAdder(key, 2).check(payload)
    PaillierAdder(key, 2).check(good + good)


def test_plain_payloads_that_could_overflow_are_refused() -> None:
    key = PublicKey("plain", BITS)
    with pytest.raises(Refused, match="too large"):
        adder_for(key, 1).check((1 << key.plaintext_bits).to_bytes(BITS // 8, "big"))


def test_public_keys_that_cannot_be_honest_are_refused(paillier: Decryptor) -> None:
    honest = paillier.public_key
    check_public_key(honest)
    prime = 2**255 + 95  # the smallest prime above 2^255
    for modulus, word in [
        (honest.modulus >> 1, "255 bits"),
        (honest.modulus - 1, "factor below"),
        (prime, "prime number"),
        (SQUARE, "or a power"),
    ]:
        for _ in range(2):  # what was found of a modulus once is remembered
            with pytest.raises(Refused, match=word):
                check_public_key(PublicKey("paillier", BITS, modulus))


def test_adding_and_encrypting_check_the_key_themselves() -> None:
    bad = PublicKey("paillier", BITS, SQUARE)
    for use in (
        lambda: PaillierAdder(bad, 1),
        lambda: PaillierEncryptor(bad, TextbookNoise(bad)),
        lambda: encryptor_for(bad, 1),
    ):
        with pytest.raises(Refused, match="or a power"):
            use()


@pytest.mark.parametrize("kind", list(NoiseKind))
def test_the_kind_of_noise_that_was_asked_for_is_used(kind: NoiseKind, monkeypatch: pytest.MonkeyPatch) -> None:
    used = []
    monkeypatch.setattr("core.secagg.factory.noise_for", lambda *a: used.append(a[2]) or noise_for(*a))
    key = generate_decryptor("paillier", BITS).public_key
    encryptor_for(key, 1, kind).encrypt([1])
    assert used == [kind]


def test_unknown_schemes_are_refused() -> None:
    with pytest.raises(Refused, match="rot13"):
        encryptor_for(PublicKey("rot13", BITS), 2)
    with pytest.raises(SettingsError, match="rot13"):
        generate_decryptor("rot13", BITS)


def test_keys_below_2048_bits_need_the_insecure_flag() -> None:
    check_key_bits("paillier", 2048, insecure_demo_keys=False)
    check_key_bits("paillier", 256, insecure_demo_keys=True)
    check_key_bits("plain", 256, insecure_demo_keys=False)
    with pytest.raises(SettingsError, match="1024 bits can be broken"):
        check_key_bits("paillier", 1024, insecure_demo_keys=False)
    with pytest.raises(SettingsError, match="64 bits"):
        check_key_bits("paillier", 64, insecure_demo_keys=True)


@pytest.mark.parametrize("switched_off", [{"insecure_demo_keys": True}, {"allow_plain": True}])
def test_no_party_agrees_to_a_cohort_of_one_unless_something_insecure_is_switched_on(
    switched_off: dict[str, bool],
) -> None:
    with pytest.raises(SettingsError, match="at least 2 are needed"):
        Policy(min_cohort=1)
    assert Policy(min_cohort=1, **switched_off).min_cohort == 1


def test_no_party_sends_or_opens_in_clear_without_its_own_consent() -> None:
    with pytest.raises(SettingsError, match="encrypts nothing"):
        Policy().check_key("plain", 2048)
    Policy(allow_plain=True).check_key("plain", 2048)
    Policy().check_key("paillier", 2048)


def test_printing_a_key_shows_no_content(decryptor: Decryptor) -> None:
    assert str(decryptor.public_key.modulus)[:20] not in repr(decryptor.public_key)
    assert "0x" in repr(decryptor) or repr(decryptor) == f"PaillierDecryptor({BITS} bits)"
