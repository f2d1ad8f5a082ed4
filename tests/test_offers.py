"""The next key is the lowest that enough holders offer alike, that no attempt has used, and that all parties may believe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from federations import SmallFederation, small_federation
from refusals import refused_with

from core.clock import today
from core.errors import Reason
from core.protocol import MOST_OFFERED, KeyCertificate, Signed
from core.secagg.scheme import PublicKey
from core.wire.messages import certificate_from_bytes, certificate_to_bytes
from server.offers import KeyOffers

TODAY = today()


federation = small_federation(clients=1)


@pytest.fixture(scope="module")
def keys(federation: SmallFederation) -> list[Signed]:
    return federation.deal(3)


class Offers(KeyOffers):
    """Offers that may be chosen from with what all tests have in common."""

    def __init__(self, federation: SmallFederation, used: frozenset[int] = frozenset(), needed: int = 2) -> None:
        super().__init__(lambda: used)
        self._federation, self._needed = federation, needed

    def next(self, scheme: str = "paillier", bits: int = 256, day: int = TODAY) -> Signed | None:
        return self.choose(self._needed, scheme, bits, self._federation.verifier(), day)


def test_the_lowest_number_that_enough_holders_offer_is_chosen(federation: SmallFederation, keys: list[Signed]) -> None:
    offers = Offers(federation)
    assert offers.next() is None
    offers.take("keyholder-1", keys)
    assert offers.next() is None
    offers.take("keyholder-3", keys[1:])
    assert offers.next() == keys[1]
    offers.take("keyholder-2", keys)
    assert offers.next() == keys[0]


def test_a_holders_new_offer_replaces_its_old_one(federation: SmallFederation, keys: list[Signed]) -> None:
    offers = Offers(federation)
    offers.take("keyholder-1", keys)
    offers.take("keyholder-1", keys)
    assert offers.next() is None, "one holder twice is one holder"
    offers.take("keyholder-2", keys)
    offers.take("keyholder-2", [])
    assert offers.next() is None


def test_offers_are_forgotten_when_an_attempt_was_opened(federation: SmallFederation, keys: list[Signed]) -> None:
    offers = Offers(federation)
    for name in federation.holders:
        offers.take(name, keys)
    offers.clear()
    assert offers.next() is None


def test_a_key_that_an_attempt_was_opened_with_is_not_chosen_again(
    federation: SmallFederation, keys: list[Signed]
) -> None:
    serials = [certificate_from_bytes(key.body).serial for key in keys]
    for used, expected in ((serials[:1], keys[1]), (serials[:2], keys[2]), (serials, None)):
        offers = Offers(federation, frozenset(used))
        for name in federation.holders:
            offers.take(name, keys)
        assert offers.next() == expected


def test_as_many_holders_as_sign_a_list_are_needed(federation: SmallFederation, keys: list[Signed]) -> None:
    offers = Offers(federation, needed=3)
    for name, expected in zip(federation.holders, (None, None, keys[0]), strict=True):
        offers.take(name, keys)
        assert offers.next() == expected


def test_only_a_key_of_the_wanted_kind_is_chosen(federation: SmallFederation, keys: list[Signed]) -> None:
    other = federation.deal(scheme="damgard-jurik")[0]
    offers = Offers(federation)
    for name in federation.holders:
        offers.take(name, [*keys, other])
    assert offers.next("damgard-jurik") == other
    assert offers.next("paillier", 512) is None


def test_a_key_out_of_date_is_not_chosen(federation: SmallFederation, keys: list[Signed]) -> None:
    offers = Offers(federation)
    for name in federation.holders:
        offers.take(name, keys)
    last = certificate_from_bytes(keys[0].body).expires_day
    assert offers.next(day=last) == keys[0]
    assert offers.next(day=last + 1) is None


def test_a_key_that_the_registrar_did_not_certify_is_passed_over(
    federation: SmallFederation, keys: list[Signed]
) -> None:
    """Two holders together could otherwise bring a key of which they know everything."""
    forged = [replace(keys[0], signature=bytes(64)), *keys[1:]]
    offers = Offers(federation)
    for name in federation.holders[:2]:
        offers.take(name, forged)
    assert offers.next() == keys[1]


def test_the_same_number_is_not_yet_the_same_key(federation: SmallFederation, keys: list[Signed]) -> None:
    certificate = certificate_from_bytes(keys[0].body)
    other = Signed(certificate_to_bytes(replace(certificate, expires_day=TODAY)), keys[0].signature)
    offers = Offers(federation)
    offers.take("keyholder-1", [keys[0]])
    offers.take("keyholder-2", [other])
    assert offers.next() is None


def test_what_is_no_certificate_is_refused_and_leaves_the_offer_before_as_it_was(
    federation: SmallFederation, keys: list[Signed]
) -> None:
    offers = Offers(federation)
    for name in federation.holders[:2]:
        offers.take(name, keys)
    with refused_with(Reason.MALFORMED):
        offers.take("keyholder-1", [Signed(b"\xff" * 40, bytes(64))])
    assert offers.next() == keys[0]


# ------------------------------------------------------------------------------------------ many keys, one page at a time


def dealt(first: int, count: int) -> list[Signed]:
    """Keys of which only the serial number matters."""
    certificate = KeyCertificate("0" * 16, 1, PublicKey("paillier", 256, (1 << 255) + 1), 2, 3, TODAY)
    numbers = range(first, first + count)
    return [Signed(certificate_to_bytes(replace(certificate, serial=number)), b"k" * 64) for number in numbers]


def pages(offers: KeyOffers, has: dict[str, list[Signed]]) -> list[int]:
    """Above which numbers holders are asked in turn, until they have a key in common that they offer alike."""
    asked = []
    while len(asked) < 10:
        asked.append(offers.above)
        for holder, keys in has.items():
            above = [key for key in keys if certificate_from_bytes(key.body).serial > offers.above]
            offers.take(holder, above[:MOST_OFFERED])
        common = set.intersection(*(set(keys) for keys in offers._offers.values()))
        if common:
            break
        offers.turn_page(has, needed=2)
    return asked


def test_holders_that_were_away_at_different_times_are_asked_until_they_find_a_common_key() -> None:
    assert pages(KeyOffers(frozenset), {"h2": dealt(19, 20), "h3": dealt(1, 20)}) == [0, 16]
    assert pages(KeyOffers(frozenset), {"h2": dealt(1, 80), "h3": dealt(70, 3)}) == [0, 16, 32, 48, 64]


def test_where_nothing_is_in_common_it_begins_again_for_new_keys_may_be_dealt() -> None:
    assert pages(KeyOffers(frozenset), {"h2": dealt(1, 20), "h3": dealt(100, 3)})[:5] == [0, 16, 0, 16, 0]


def test_no_page_is_turned_while_an_offer_is_on_its_way_or_too_few_are_there() -> None:
    offers = KeyOffers(frozenset)
    offers.take("h2", dealt(1, MOST_OFFERED))
    offers.turn_page({"h2", "h3"}, needed=2)
    offers.turn_page({"h2"}, needed=2)
    offers.turn_page((), needed=2)
    assert offers.above == 0
    offers.take("h3", dealt(30, MOST_OFFERED))
    offers.turn_page({"h2", "h3"}, needed=2)
    assert offers.above == MOST_OFFERED
    offers.clear()
    assert offers.above == 0
