"""Keys are dealt to all holders or not at all, each certified once, and no party alone can open anything with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from federations import HonestAttempt, SmallFederation

from core.clock import today
from core.errors import SettingsError
from core.identity import signing
from core.protocol import LARGEST_SERIAL
from core.secagg.opening import combine
from core.wire.messages import certificate_from_bytes
from keyholder.shares import Shares
from registrar.dealer import DAYS, Dealer
from registrar.folder import reserve_serials


@pytest.fixture
def federation(tmp_path: Path) -> SmallFederation:
    return SmallFederation(tmp_path / "federation", clients=2)


def dealer(federation: SmallFederation, day: int | None = None) -> Dealer:
    day = today() if day is None else day
    return Dealer(federation.roster, federation.registrar.signing, federation.folder.joinpath, day)


def certificates(federation: SmallFederation, number: int = 1) -> list[tuple[int, str, int, int]]:
    dealt = Shares(federation[f"keyholder-{number}"]).dealt()
    return [(k.certificate.serial, k.certificate.key.scheme, k.certificate.key.bits, k.certificate.expires_day) for k in dealt]  # fmt: skip


def test_every_holder_gets_a_share_of_every_key(federation: SmallFederation) -> None:
    assert list(dealer(federation, day=20_000).deal(5, 2, "paillier", 256)) == [5, 6]
    expected = [(serial, "paillier", 256, 20_000 + DAYS) for serial in (5, 6)]
    assert [certificates(federation, number) for number in (1, 2, 3)] == [expected] * 3
    signed = [[key.signed for key in Shares(federation[name]).dealt()] for name in federation.holders]
    assert signed[0] == signed[1] == signed[2], "the same certificates"
    assert signed[0][0] != signed[0][1]


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik", "plain"])
def test_what_is_dealt_opens_a_sum_with_any_two_of_three(federation: SmallFederation, scheme: str) -> None:
    attempt = HonestAttempt(federation, federation.deal(scheme=scheme)[0])
    total, key = attempt.total(), attempt.description.key
    partials = {number: attempt.partial(number) for number in (1, 2, 3)}
    opened = {combine(key, 2, 3, total, {n: partials[n] for n in pair}).plaintexts for pair in ((1, 2), (1, 3), (2, 3))}
    assert len(opened) == 1
    assert attempt.next_model(attempt.opened(), 2)[:3].tolist() == [0.5, 0.5, 0.0]
    if scheme != "plain":
        with pytest.raises(ValueError, match="expected 2 or more"):
            combine(key, 2, 3, total, {1: partials[1]})


def test_the_certificate_is_the_registrars_over_exactly_these_bytes(federation: SmallFederation) -> None:
    signed = federation.deal()[0]
    registrar = federation.registrar.signing.public
    assert signing.verify(registrar, signing.KEY, signed.body, signed.signature)
    assert not signing.verify(registrar, signing.KEY, signed.body + b"\0", signed.signature)
    assert not signing.verify(registrar, signing.ROUND, signed.body, signed.signature)


def test_no_two_keys_are_alike(federation: SmallFederation) -> None:
    dealt = [certificate_from_bytes(key.body).key.modulus for key in federation.deal(4)]
    assert len(set(dealt)) == 4


def test_nothing_secret_is_in_the_files_in_clear(federation: SmallFederation) -> None:
    certificate = certificate_from_bytes(federation.deal()[0].body)
    share = Shares(federation["keyholder-1"]).open(certificate)
    secret = share.exponent.to_bytes(-(-share.exponent.bit_length() // 8), "big")
    for path in federation.folder.rglob("*.share"):
        assert secret not in path.read_bytes()
        assert secret[4:20] not in path.read_bytes()


def test_a_missing_folder_is_one_sentence(federation: SmallFederation) -> None:
    shutil.rmtree(federation["keyholder-3"].folder)
    with pytest.raises(SettingsError, match="the folder of keyholder-3 is not here, so it cannot be dealt a share"):
        list(dealer(federation).deal(1, 1, "paillier", 256))


def test_a_revoked_holder_is_dealt_nothing_and_the_others_are_as_long_as_they_are_enough(
    federation: SmallFederation,
) -> None:
    federation.revoke("keyholder-2")
    list(dealer(federation).deal(1, 1, "paillier", 256))
    assert [row[0] for row in certificates(federation, 1)] == [1]
    assert certificates(federation, 2) == []
    federation.revoke("keyholder-3")
    with pytest.raises(SettingsError, match="put others in the place of the revoked ones"):
        list(dealer(federation).deal(2, 1, "paillier", 256))


def test_each_number_is_given_when_all_its_shares_are_written(federation: SmallFederation) -> None:
    dealing = dealer(federation).deal(1, 3, "paillier", 256)
    assert next(dealing) == 1
    assert [[row[0] for row in certificates(federation, number)] for number in (1, 2, 3)] == [[1]] * 3


def test_a_single_holder_may_be_the_whole_quorum(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "single", clients=2, holders=1, threshold=1)
    attempt = HonestAttempt(federation, federation.deal()[0])
    assert (attempt.description.certificate.threshold, attempt.description.certificate.holders) == (1, 1)
    assert attempt.next_model(attempt.opened(), 2)[:2].tolist() == [0.5, 0.5]


def test_no_serial_number_is_given_twice_or_beyond_the_largest(federation: SmallFederation) -> None:
    assert reserve_serials(federation.registrar, 2) == 1
    assert reserve_serials(federation.registrar, 1) == 3
    serials = federation.registrar.folder / "serials"
    serials.write_text(f"{LARGEST_SERIAL - 1}\n")
    with pytest.raises(SettingsError, match="2 more would pass the largest serial number"):
        reserve_serials(federation.registrar, 2)
    assert reserve_serials(federation.registrar, 1) == LARGEST_SERIAL
