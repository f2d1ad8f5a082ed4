"""A key holder signs, opens and endorses nothing that it has not checked from the raw bytes, and each thing once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import endorse_model, no_fetch, open_sum
from federations import BITS, ID, POLICY, SPAM, VALUES, HonestAttempt, SmallFederation

from core.clock import today
from core.errors import Reason, Refused, StorageError
from core.federated import encoding_for
from core.identity import signing
from core.policy import Policy
from core.protocol import MOST_OFFERED, Commitment, Signed, digest
from core.secagg.opening import combine
from core.secagg.scheme import join_payload, split_payload
from core.share_files import share_name
from core.wire.messages import (
    certificate_from_bytes,
    certificate_to_bytes,
    commitment_to_bytes,
    list_statement,
    model_statement,
)
from core.wire.streams import model_bytes
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Answer
from keyholder.orders import ListOrder, ReleaseOrder

CORPUS = [
    "0", "1", "n", "7 n", "the end of the range", "the end of the range + 1", "unblinded 5", "all bits",
    "the first is 0", "one byte short", "one byte long", "one ciphertext short", "one ciphertext long", "nothing",
]  # fmt: skip


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    federation = SmallFederation(tmp_path_factory.mktemp("holder") / "federation", clients=4)
    yield federation
    federation.close()


@pytest.fixture
def attempt(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal()[0])


@pytest.fixture(scope="module")
def kept(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal()[0])


@pytest.fixture
def unopened(kept: HonestAttempt) -> HonestAttempt:
    """The same attempt for many tests, which may change it and open no sum of it."""
    mine = copy(kept)
    mine.payloads, mine.commitments = dict(kept.payloads), dict(kept.commitments)
    return mine


@pytest.fixture
def holder(federation: SmallFederation, tmp_path: Path) -> KeyHolder:
    return federation.key_holder(1, tmp_path / "holder")


def reason(call: Callable[..., object], *arguments: object) -> Reason:
    with pytest.raises(Refused) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def restarted(federation: SmallFederation, holder: KeyHolder, folder: Path, **settings: Any) -> KeyHolder:
    holder.ledger.close()
    return federation.key_holder(1, folder, **settings)


def share_file(attempt: HonestAttempt, holder: KeyHolder) -> Path:
    return holder.identity.folder / "shares" / share_name(attempt.description.certificate.serial)


# ------------------------------------------------------------------------------------------------ the list


def test_an_honest_list_is_signed_over_every_commitment(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    signature = holder.sign_list(attempt.list_order())
    statement = list_statement(attempt.digest, attempt.commitment_digests())
    assert signing.verify(federation.roster.holders[0].signing_key, signing.LIST, statement, signature)
    assert [kind for _, kind, _ in holder.ledger.entries()] == ["list"]


def test_the_same_list_gets_the_same_signature_even_after_a_restart(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    signature = holder.sign_list(attempt.list_order())
    assert holder.sign_list(attempt.list_order()) == signature
    holder = restarted(federation, holder, tmp_path / "holder")
    assert holder.sign_list(attempt.list_order()) == signature
    assert len(holder.ledger.entries()) == 1


def test_no_second_list_of_an_attempt_is_signed(holder: KeyHolder, attempt: HonestAttempt) -> None:
    holder.sign_list(attempt.list_order())
    order = attempt.list_order()
    assert reason(holder.sign_list, replace(order, commitments=order.commitments[:3])) is Reason.LIST_CHANGED
    attempt.commit_to("client-1", attempt.encrypt(1))
    assert reason(holder.sign_list, attempt.list_order()) is Reason.LIST_CHANGED


def test_a_key_is_bound_to_one_attempt(holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation) -> None:
    """Replaying a round with the same key would let an old ciphertext come back scaled."""
    holder.sign_list(attempt.list_order())
    for id in ({"attempt": 2}, {"round": 2}, {"run": "f" * 16}):
        again = HonestAttempt(federation, attempt.description.signed_certificate, id=replace(attempt.id, **id))
        order = again.list_order()
        if again.id.round == 2:
            order = replace(order, lineage=federation.endorsements(1, again.model))
        assert reason(holder.sign_list, order) is Reason.KEY_USED, id


def test_without_its_share_a_holder_signs_nothing(holder: KeyHolder, attempt: HonestAttempt) -> None:
    share_file(attempt, holder).unlink()
    assert reason(holder.sign_list, attempt.list_order()) is Reason.UNKNOWN_KEY


Change = Callable[[HonestAttempt], ListOrder]


def described(**changes: Any) -> Change:
    """The aggregator signs a description of which these parts are different, and all clients answer it."""

    def change(attempt: HonestAttempt) -> ListOrder:
        parts = {name: make(attempt) if callable(make) else make for name, make in changes.items()}
        key = attempt.description.signed_certificate
        return HonestAttempt(attempt.federation, key, **parts).list_order()

    return change


def forged_description(attempt: HonestAttempt) -> ListOrder:
    return replace(attempt.list_order(), round=replace(attempt.signed, signature=bytes(64)))


def own_key(attempt: HonestAttempt) -> ListOrder:
    """The aggregator hands out a key that it certified itself."""
    body = certificate_to_bytes(attempt.description.certificate)
    signed = Signed(body, attempt.federation.server.signing.sign(signing.KEY, body))
    return HonestAttempt(attempt.federation, signed).list_order()


def committed(**changes: Any) -> Change:
    """The first client's commitment is another one, signed by that client."""

    def change(attempt: HonestAttempt) -> ListOrder:
        made: Commitment = replace(attempt.commitment("client-1"), **changes)
        signed = attempt.federation.sign_commitment(made, by="client-1")
        return replace(attempt.list_order(), commitments=(signed, *attempt.list_order().commitments[1:]))

    return change


def forged_commitment(attempt: HonestAttempt) -> ListOrder:
    body = commitment_to_bytes(attempt.commitment("client-1"))
    by_server = Signed(body, attempt.federation.server.signing.sign(signing.COMMITMENT, body))
    return replace(attempt.list_order(), commitments=(by_server, *attempt.list_order().commitments[1:]))


def copied(attempt: HonestAttempt) -> ListOrder:
    attempt.commit_to("client-2", attempt.payloads["client-1"])
    return attempt.list_order()


def twice(attempt: HonestAttempt) -> ListOrder:
    again = attempt.federation.sign_commitment(replace(attempt.commitment("client-1"), digest=digest(b"more")))
    return replace(attempt.list_order(), commitments=(*attempt.list_order().commitments, again))


def short(attempt: HonestAttempt) -> ListOrder:
    return replace(attempt.list_order(), commitments=attempt.list_order().commitments[:1])


def next_round(holders: int) -> Change:
    def change(attempt: HonestAttempt) -> ListOrder:
        key, model = attempt.description.signed_certificate, np.ones(VALUES)
        later = HonestAttempt(attempt.federation, key, round_number=2, model=model)
        return replace(later.list_order(), lineage=attempt.federation.endorsements(1, model, holders))

    return change


LISTS: dict[str, tuple[Change, Reason]] = {
    "a description that the aggregator did not sign": (forged_description, Reason.DESCRIPTION_SIGNATURE),
    "a round of another federation": (described(federation="f" * 16), Reason.WRONG_FEDERATION),
    "a key that the aggregator made itself": (own_key, Reason.KEY_CERTIFICATE),
    "an unknown task": (described(task="spma"), Reason.WRONG_TASK),
    "another task": (described(task="babi"), Reason.WRONG_DESCRIPTION),
    "another encoding": (
        described(encoding=lambda a: replace(a.description.encoding, fraction_bits=12)), Reason.WRONG_DESCRIPTION,
    ),
    "other headroom": (
        described(encoding=lambda a: replace(a.description.encoding, plaintext_bits=200)), Reason.WRONG_DESCRIPTION,
    ),
    "a crafted model to begin with": (described(model_digest=digest(b"crafted")), Reason.MODEL_LINEAGE),
    "a later model that one holder signed": (next_round(holders=1), Reason.MODEL_LINEAGE),
    "a later model that nobody signed": (next_round(holders=0), Reason.MODEL_LINEAGE),
    "a commitment that the aggregator signed": (forged_commitment, Reason.COMMITMENT_SIGNATURE),
    "a commitment to another description": (committed(description_digest=bytes(32)), Reason.WRONG_DESCRIPTION),
    "a commitment of a stranger": (committed(client="nobody"), Reason.NOT_IN_ROSTER),
    "a commitment of a key holder": (committed(client="keyholder-2"), Reason.WRONG_ROLE),
    "a commitment in another's name": (committed(client="client-2"), Reason.COMMITMENT_SIGNATURE),
    "a client twice": (twice, Reason.DUPLICATE),
    "the same ciphertexts twice": (copied, Reason.COPIED),
    "a single client": (short, Reason.COHORT_TOO_SMALL),
    "fewer than the description says": (described(min_cohort=5), Reason.COHORT_TOO_SMALL),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_not_signed_with(holder: KeyHolder, unopened: HonestAttempt, name: str) -> None:
    change, refused = LISTS[name]
    honest = unopened.list_order()
    assert reason(holder.sign_list, change(unopened)) is refused
    assert holder.ledger.entries() == [], "what was declined leaves no trace, and stops nothing honest"
    holder.sign_list(honest)


@pytest.mark.parametrize("name", LISTS)
def test_nor_is_the_sum_of_such_a_list_opened_or_its_model_endorsed(
    holder: KeyHolder, unopened: HonestAttempt, federation: SmallFederation, name: str
) -> None:
    change, refused = LISTS[name]
    listed = change(unopened)
    statement = list_statement(digest(listed.round.body), [digest(each.body) for each in listed.commitments])
    signatures = federation.signatures(signing.LIST, statement, federation.holders)
    order = ReleaseOrder(listed, signatures, ("client-1", "client-2"), bytes(32))
    assert reason(open_sum, holder, order, no_fetch) is refused
    assert reason(endorse_model, holder, order, bytes(32), no_fetch, no_fetch, no_fetch) is refused
    assert share_file(unopened, holder).exists()


def test_a_later_round_needs_a_model_that_enough_holders_signed(holder: KeyHolder, attempt: HonestAttempt) -> None:
    assert holder.sign_list(next_round(holders=2)(attempt))


def test_the_holders_own_policy_stands_above_the_aggregators(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    strict = {
        Reason.COHORT_TOO_SMALL: replace(POLICY, min_cohort=5),
        Reason.BAD_KEY: Policy(min_cohort=2),
    }
    for refused, policy in strict.items():
        holder = federation.key_holder(1, tmp_path / refused, policy=policy)
        assert reason(holder.sign_list, attempt.list_order()) is refused
        assert reason(open_sum, holder, attempt.release_order(), no_fetch) is refused
    plain = HonestAttempt(federation, federation.deal(scheme="plain")[0])
    holder = federation.key_holder(1, tmp_path / "plain", policy=replace(POLICY, allow_plain=False))
    assert reason(holder.sign_list, plain.list_order()) is Reason.BAD_KEY


def test_a_key_is_good_until_the_end_of_its_last_day(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    last = attempt.description.certificate.expires_day
    late = federation.key_holder(1, tmp_path / "late", day=last + 1)
    assert reason(late.sign_list, attempt.list_order()) is Reason.KEY_EXPIRED
    assert federation.key_holder(1, tmp_path / "in time", day=last).sign_list(attempt.list_order())


def test_a_client_that_is_revoked_while_the_round_runs_is_in_no_list_and_no_sum(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=3)
    attempt = HonestAttempt(federation, federation.deal()[0])
    holder = federation.key_holder(1, tmp_path / "holder")
    holder.sign_list(attempt.list_order())
    federation.revoke("client-2")
    assert reason(holder.sign_list, attempt.list_order()) is Reason.REVOKED
    assert reason(open_sum, holder, attempt.release_order(), attempt.fetch) is Reason.REVOKED
    federation.close()


# ------------------------------------------------------------------------------------------------ the sum


def test_two_holders_open_the_sum_of_exactly_the_contributors(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    order = attempt.release_order(["client-1", "client-2", "client-4"])
    partials = {
        number: open_sum(federation.key_holder(number, tmp_path / str(number)), order, attempt.fetch).partial
        for number in (1, 3)
    }
    opened = combine(attempt.description.key, 2, 3, attempt.total(order.contributors), partials)
    cohort = attempt.description.encoding.decode(opened.plaintexts, 3)
    assert cohort.delta_sum[:5].tolist() == [1.0, 1.0, 0.0, 1.0, 0.0]
    assert (cohort.examples, cohort.correct) == (30, 24)


def test_the_share_is_gone_after_its_one_use_and_the_ledger_says_what_for(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    assert share_file(attempt, holder).exists()
    open_sum(holder, attempt.release_order(), attempt.fetch)
    assert not share_file(attempt, holder).exists()
    assert holder.ledger.spent_keys() == {attempt.description.certificate.serial}


def test_the_same_request_gets_the_same_answer_even_after_a_restart(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    order = attempt.release_order()
    answer = open_sum(holder, order, attempt.fetch).partial
    assert open_sum(holder, order, no_fetch).partial == answer
    assert open_sum(holder, replace(order, signatures=attempt.list_signatures(3)), no_fetch).partial == answer
    holder = restarted(federation, holder, tmp_path / "holder")
    assert open_sum(holder, order, no_fetch).partial == answer
    assert [kind for _, kind, _ in holder.ledger.entries()] == ["release"]


def test_a_round_is_not_opened_for_a_second_different_request(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    """n against n - 1: the difference of the two sums would be one client's update."""
    fewer = attempt.release_order(["client-1", "client-2", "client-3"])
    open_sum(holder, attempt.release_order(), attempt.fetch)
    assert reason(open_sum, holder, fewer, attempt.fetch) is Reason.ALREADY_RELEASED
    holder = restarted(federation, holder, tmp_path / "holder")
    assert reason(open_sum, holder, fewer, attempt.fetch) is Reason.ALREADY_RELEASED


def test_every_part_of_a_request_but_its_signatures_makes_it_another(holder: KeyHolder, attempt: HonestAttempt) -> None:
    order = attempt.release_order()
    open_sum(holder, order, attempt.fetch)
    others = (
        replace(order, contributors=order.contributors[:3]),
        replace(order, sum_digest=bytes(32)),
        replace(order, list=replace(order.list, commitments=order.list.commitments[:3])),
        replace(order, list=replace(order.list, round=described(seed=1)(attempt).round)),
    )
    assert len({order.digest, *(other.digest for other in others)}) == 5
    assert replace(order, signatures=(), list=replace(order.list, lineage=())).digest == order.digest
    for other in others[:2]:
        assert reason(open_sum, holder, other, attempt.fetch) is Reason.ALREADY_RELEASED


def test_another_attempt_at_an_opened_round_is_not_opened(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    open_sum(holder, attempt.release_order(), attempt.fetch)
    second = HonestAttempt(federation, federation.deal()[0], attempt=2)
    assert reason(open_sum, holder, second.release_order(), second.fetch) is Reason.ALREADY_RELEASED
    assert share_file(second, holder).exists()


def test_a_list_without_a_quorum_is_not_opened(holder: KeyHolder, attempt: HonestAttempt) -> None:
    order = replace(attempt.release_order(), signatures=attempt.list_signatures(1))
    assert reason(open_sum, holder, order, no_fetch) is Reason.LIST_SIGNATURES
    other = HonestAttempt(attempt.federation, attempt.description.signed_certificate)
    order = replace(attempt.release_order(), signatures=other.list_signatures())
    assert reason(open_sum, holder, order, no_fetch) is Reason.LIST_SIGNATURES


def test_another_list_than_this_holder_signed_is_not_opened_whoever_else_signed_it(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    holder.sign_list(attempt.list_order())
    attempt.commit_to("client-1", attempt.encrypt(1))
    assert reason(open_sum, holder, attempt.release_order(), attempt.fetch) is Reason.LIST_CHANGED


def test_a_holder_that_signed_no_list_opens_one_that_the_quorum_signed(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    third = federation.key_holder(3, tmp_path / "third")
    assert open_sum(third, attempt.release_order(), attempt.fetch).partial


@pytest.mark.parametrize(
    ("contributors", "refused"),
    [
        (("client-1",), Reason.COHORT_TOO_SMALL),
        ((), Reason.COHORT_TOO_SMALL),
        (("client-1", "client-1"), Reason.DUPLICATE),
        (("client-1", "client-2", "client-1"), Reason.DUPLICATE),
        (("client-1", "nobody"), Reason.NOT_IN_LIST),
        (("client-1", "client-2", "keyholder-1"), Reason.NOT_IN_LIST),
    ],
)
def test_contributors_are_distinct_listed_and_enough(
    holder: KeyHolder, attempt: HonestAttempt, contributors: tuple[str, ...], refused: Reason
) -> None:
    order = replace(attempt.release_order(), contributors=contributors)
    assert reason(open_sum, holder, order, attempt.fetch) is refused
    assert reason(endorse_model, holder, order, bytes(32), attempt.fetch, no_fetch, no_fetch) is refused


def test_as_many_contributors_as_the_description_says_are_needed(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    attempt = HonestAttempt(federation, attempt.description.signed_certificate, min_cohort=3)
    two, three = (
        attempt.release_order(["client-1", "client-2"]),
        attempt.release_order(["client-1", "client-2", "client-3"]),
    )
    assert reason(open_sum, holder, two, attempt.fetch) is Reason.COHORT_TOO_SMALL
    assert open_sum(holder, three, attempt.fetch).partial


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
def test_a_malformed_update_is_not_added_though_its_client_committed_to_it(
    federation: SmallFederation, tmp_path: Path, scheme: str, name: str
) -> None:
    attempt = HonestAttempt(federation, federation.deal(scheme=scheme)[0])
    attempt.commit_to("client-2", attempt.malformed("client-2")[name])
    holder = federation.key_holder(1, tmp_path / "holder")
    expected = (
        Reason.WRONG_LENGTH if "byte" in name or "ciphertext " in name or name == "nothing" else Reason.BAD_CIPHERTEXT
    )
    assert reason(open_sum, holder, attempt.release_order(sum_digest=bytes(32)), attempt.fetch) is expected
    assert holder.ledger.entries() == []
    assert share_file(attempt, holder).exists()
    honest = attempt.release_order(["client-1", "client-3", "client-4"])
    assert open_sum(holder, honest, attempt.fetch).partial, "the others' sum is opened"


@pytest.mark.parametrize("source", ["another client", "another round", "another key", "changed", "empty"])
def test_nothing_is_added_but_what_the_client_committed_to(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, source: str
) -> None:
    other = HonestAttempt(federation, federation.deal()[0], attempt=2)
    honest = attempt.payloads["client-3"]
    instead = {
        "another client": attempt.payloads["client-1"],
        "another round": HonestAttempt(federation, attempt.description.signed_certificate).payloads["client-3"],
        "another key": other.payloads["client-3"],
        "changed": honest[:-1] + bytes([honest[-1] ^ 1]),
        "empty": b"",
    }[source]
    order = attempt.release_order()
    attempt.payloads["client-3"] = instead
    assert reason(open_sum, holder, order, attempt.fetch) is Reason.WRONG_DIGEST
    attempt.payloads["client-3"] = honest
    assert open_sum(holder, order, attempt.fetch).partial, "a declined request does not use up the round"


def test_no_more_is_fetched_of_a_client_than_an_update_has(holder: KeyHolder, attempt: HonestAttempt) -> None:
    lengths = set()

    def fetch(id: object, client: str, length: int) -> bytes:
        lengths.add(length)
        assert id == attempt.id
        return attempt.payloads[client]

    open_sum(holder, attempt.release_order(), fetch)
    assert lengths == {len(attempt.payloads["client-1"])}


@pytest.mark.parametrize("aggregated", ["one client alone", "one client twice", "fewer clients"])
def test_a_sum_of_anything_else_is_not_opened(holder: KeyHolder, attempt: HonestAttempt, aggregated: str) -> None:
    summed = {
        "one client alone": ["client-1"],
        "one client twice": [*attempt.payloads, "client-1"],
        "fewer clients": ["client-1", "client-2", "client-3"],
    }[aggregated]
    order = attempt.release_order(sum_digest=digest(attempt.total(summed)))
    assert reason(open_sum, holder, order, attempt.fetch) is Reason.WRONG_SUM
    assert open_sum(holder, attempt.release_order(), attempt.fetch).partial


def test_nothing_leaves_before_it_is_written_down(
    holder: KeyHolder, attempt: HonestAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: no answer, and the share is still there to answer with when there is room again."""

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        for record in ("record_list", "record_release", "record_model"):
            patch.setattr(holder.ledger, record, full)
        for call in (
            lambda: holder.sign_list(attempt.list_order()),
            lambda: open_sum(holder, attempt.release_order(), attempt.fetch),
            lambda: endorse(holder, attempt),
        ):
            with pytest.raises(StorageError):
                call()
    assert share_file(attempt, holder).exists()
    assert holder.sign_list(attempt.list_order())
    assert open_sum(holder, attempt.release_order(), attempt.fetch).partial


def test_a_crash_between_the_ledgers_entry_and_the_end_of_the_share_ends_it_at_the_next_start(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    order = attempt.release_order()
    answer = Answer(holder.shares.open(attempt.description.certificate).partial(attempt.total()), "")
    serial = attempt.description.certificate.serial
    holder.ledger.record_release(attempt.id, serial, order.digest, answer, list(order.contributors))
    assert share_file(attempt, holder).exists()
    holder = restarted(federation, holder, tmp_path / "holder")
    assert not share_file(attempt, holder).exists()
    assert open_sum(holder, order, no_fetch).partial == answer.partial


# ------------------------------------------------------------------------------------------------ the difference rule

FOUR = ("client-1", "client-2", "client-3", "client-4")


def two_rounds(
    federation: SmallFederation, folder: Path, rule: DifferenceRule, second: tuple[str, ...], **settings: Any
) -> tuple[KeyHolder, HonestAttempt, ReleaseOrder]:
    """A holder that has opened a sum of four, and the order of the next round."""
    holder = federation.key_holder(1, folder, rule=rule, **settings)
    first = HonestAttempt(federation, federation.deal()[0])
    assert open_sum(holder, first.release_order(FOUR), first.fetch).exposure == ""
    later = HonestAttempt(federation, federation.deal()[0], round_number=2, model=np.ones(VALUES))
    return holder, later, later.release_order(second)


def test_a_sum_that_differs_by_one_client_is_not_opened(federation: SmallFederation, tmp_path: Path) -> None:
    holder, attempt, order = two_rounds(federation, tmp_path / "h", DifferenceRule.ENFORCE, FOUR[:3])
    with pytest.raises(Refused, match=r"sum of round 1 it tells what 1 of the clients sent \(client-4\)") as caught:
        open_sum(holder, order, attempt.fetch)
    assert caught.value.reason is Reason.TOO_SIMILAR
    assert open_sum(holder, attempt.release_order(FOUR), attempt.fetch).exposure == "", "the very same clients may"


def test_a_sum_that_differs_by_as_many_as_the_minimum_is_opened(federation: SmallFederation, tmp_path: Path) -> None:
    holder, attempt, order = two_rounds(federation, tmp_path / "h", DifferenceRule.ENFORCE, FOUR[:2])
    assert open_sum(holder, order, attempt.fetch).exposure == ""


def test_the_rule_counts_with_the_rounds_minimum_where_that_is_larger(
    federation: SmallFederation, tmp_path: Path
) -> None:
    holder = federation.key_holder(1, tmp_path / "h")
    first = HonestAttempt(federation, federation.deal()[0], min_cohort=3)
    open_sum(holder, first.release_order(FOUR[:3]), first.fetch)
    model = np.ones(VALUES)
    later = HonestAttempt(federation, federation.deal()[0], round_number=2, model=model, min_cohort=3)
    order = later.release_order((*FOUR[:2], "client-4"))  # two differ: enough for the holder's own minimum, 2
    assert reason(open_sum, holder, order, later.fetch) is Reason.TOO_SIMILAR


def test_where_it_is_only_reported_the_exposure_comes_with_the_answer_each_time(
    federation: SmallFederation, tmp_path: Path
) -> None:
    holder, attempt, order = two_rounds(federation, tmp_path / "h", DifferenceRule.REPORT, FOUR[:3])
    for fetch in (attempt.fetch, no_fetch):
        assert "client-4" in open_sum(holder, order, fetch).exposure


def test_where_the_rule_is_off_nothing_is_said(federation: SmallFederation, tmp_path: Path) -> None:
    holder, attempt, order = two_rounds(federation, tmp_path / "h", DifferenceRule.OFF, FOUR[:3])
    assert open_sum(holder, order, attempt.fetch).exposure == ""


def test_sums_of_another_run_are_compared_too(federation: SmallFederation, tmp_path: Path) -> None:
    holder, _, _ = two_rounds(federation, tmp_path / "h", DifferenceRule.ENFORCE, FOUR)
    other = HonestAttempt(federation, federation.deal()[0], id=replace(ID, run="f" * 16))
    assert reason(open_sum, holder, other.release_order(FOUR[:3]), other.fetch) is Reason.TOO_SIMILAR


# ------------------------------------------------------------------------------------------------ the model


def endorse(holder: KeyHolder, attempt: HonestAttempt, **changes: Any) -> bytes:
    """Ask for an endorsement of what an honest aggregator would have computed, but for what is changed."""
    order: ReleaseOrder = changes.get("order") or attempt.release_order()
    honest = attempt.opened(order.contributors)
    opened = changes.get("opened", honest.to_bytes(attempt.description.key))
    model_digest = changes.get("model_digest") or digest(
        model_bytes(attempt.next_model(honest, len(order.contributors)))
    )
    fetch_model = lambda _round, _values: changes.get("model", attempt.model)  # noqa: E731
    return endorse_model(holder, order, model_digest, attempt.fetch, lambda _id, _length: opened, fetch_model)


def test_holders_endorse_the_model_that_follows_whether_they_opened_the_sum_or_not(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path
) -> None:
    opened = attempt.opened(FOUR)
    model = attempt.next_model(opened, 4)
    assert model[:5].tolist() == [0.25, 0.25, 0.25, 0.25, 0.0]
    statement = model_statement(federation.roster.federation, attempt.id.run, 1, digest(model_bytes(model)))
    for number, member in enumerate(federation.roster.holders, start=1):
        holder = federation.key_holder(number, tmp_path / str(number))
        if number < 3:
            open_sum(holder, attempt.release_order(), attempt.fetch)
        assert signing.verify(member.signing_key, signing.MODEL, statement, endorse(holder, attempt))


def test_the_same_model_gets_the_same_endorsement_even_after_a_restart(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation, tmp_path: Path
) -> None:
    signature = endorse(holder, attempt)
    assert endorse(holder, attempt) == signature
    holder = restarted(federation, holder, tmp_path / "holder")
    assert endorse(holder, attempt) == signature
    assert [kind for _, kind, _ in holder.ledger.entries()] == ["model"]


def test_a_model_that_does_not_follow_is_not_endorsed(holder: KeyHolder, attempt: HonestAttempt) -> None:
    for model in (np.zeros(VALUES), np.ones(VALUES)):
        assert reason(lambda m=model: endorse(holder, attempt, model_digest=digest(model_bytes(m)))) is (
            Reason.WRONG_MODEL
        )
    assert holder.ledger.entries() == []


def test_no_second_model_of_a_round_is_endorsed(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    endorse(holder, attempt)
    again = HonestAttempt(federation, federation.deal()[0], attempt=2)
    order = again.release_order(FOUR[:2])
    with pytest.raises(Refused, match="another model of round 1 was endorsed before") as caught:
        endorse(holder, again, order=order)
    assert caught.value.reason is Reason.WRONG_MODEL


def test_a_model_of_another_request_than_was_opened_here_is_not_endorsed(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    opened = attempt.opened(FOUR[:3])
    open_sum(holder, attempt.release_order(), attempt.fetch)
    model = attempt.next_model(opened, 3)
    order = attempt.release_order(FOUR[:3])
    assert (
        reason(
            endorse_model, holder, order, digest(model_bytes(model)), attempt.fetch,
            lambda *_: opened.to_bytes(attempt.description.key), lambda *_: attempt.model,
        )
        is Reason.ALREADY_RELEASED
    )  # fmt: skip


def test_a_sum_that_was_opened_wrong_is_noticed_without_the_shares(holder: KeyHolder, attempt: HonestAttempt) -> None:
    honest = attempt.opened(FOUR).to_bytes(attempt.description.key)
    one_more = honest[:31] + bytes([honest[31] ^ 1]) + honest[32:]
    for opened in (one_more, honest[32:64] + honest[:32] + honest[64:], bytes(len(honest))):
        assert reason(lambda o=opened: endorse(holder, attempt, opened=o)) is Reason.WRONG_OPENING
    for opened in (b"", honest[:-1], honest + b"\0"):
        assert reason(lambda o=opened: endorse(holder, attempt, opened=o)) is Reason.WRONG_LENGTH


def test_the_model_before_must_be_the_one_that_the_description_names(holder: KeyHolder, attempt: HonestAttempt) -> None:
    assert reason(lambda: endorse(holder, attempt, model=np.ones(VALUES))) is Reason.WRONG_DIGEST


def test_a_scaled_update_shows_in_its_counters_and_no_model_of_it_is_endorsed(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    """c^2 holds twice the update, and 2 where the counter of each plaintext should hold 1."""
    key = attempt.description.key
    size = 2 * BITS // 8
    numbers = split_payload(attempt.payloads["client-3"], attempt.description.encoding.plaintexts, size)
    attempt.commit_to("client-3", join_payload([pow(c, 2, key.modulus**2) for c in numbers], size))
    opened = attempt.opened(FOUR)
    call = lambda: endorse_model(  # noqa: E731
        holder,
        attempt.release_order(),
        bytes(32),
        attempt.fetch,
        lambda *_: opened.to_bytes(key),
        lambda *_: attempt.model,
    )
    with pytest.raises(Refused, match="a counter says 5 updates were added; expected 4") as caught:
        call()
    assert caught.value.reason is Reason.BAD_SUM


# ------------------------------------------------------------------------------------------------ keys


def serials(keys: list[Signed]) -> list[int]:
    return [certificate_from_bytes(key.body).serial for key in keys]


def test_a_holder_that_was_away_offers_what_the_others_have_not_used_since(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=2)
    dealt = serials(federation.deal(MOST_OFFERED + 3))
    holder = federation.key_holder(1, tmp_path / "holder")
    assert serials(holder.unused_keys("paillier", BITS, above=dealt[-3])) == dealt[-2:]
    assert serials(holder.unused_keys("paillier", BITS, above=dealt[0])) == dealt[1 : MOST_OFFERED + 1]
    federation.close()


def test_unused_keys_are_offered_the_lowest_first_and_not_too_many(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=2)
    dealt = serials(federation.deal(MOST_OFFERED + 2))
    holder = federation.key_holder(1, tmp_path / "holder")
    assert serials(holder.unused_keys("paillier", BITS)) == dealt[:MOST_OFFERED]
    keys = holder.unused_keys("paillier", BITS)
    first, second = (HonestAttempt(federation, keys[n], attempt=n + 1) for n in (0, 1))
    holder.sign_list(first.list_order())
    open_sum(holder, second.release_order(), second.fetch)
    assert serials(holder.unused_keys("paillier", BITS)) == dealt[2:], "a list or a sum uses a key up"
    federation.close()


def test_only_keys_of_the_wanted_kind_are_offered(federation: SmallFederation, tmp_path: Path) -> None:
    long, other, plain = (federation.deal(scheme=s, bits=b)[0] for s, b in (("paillier", 512), ("damgard-jurik", 256), ("plain", 256)))  # fmt: skip
    holder = federation.key_holder(1, tmp_path / "holder")
    assert holder.unused_keys("paillier", 512) == [long]
    assert other in holder.unused_keys("damgard-jurik", 256)
    assert plain in holder.unused_keys("plain", 256)
    assert not {other.body, plain.body, long.body} & {k.body for k in holder.unused_keys("paillier", 256)}


def test_keys_that_its_policy_does_not_allow_are_not_offered(federation: SmallFederation, tmp_path: Path) -> None:
    careful = federation.key_holder(1, tmp_path / "holder", policy=Policy())
    assert reason(careful.unused_keys, "paillier", BITS) is Reason.BAD_KEY
    assert reason(careful.unused_keys, "plain", BITS) is Reason.BAD_KEY
    assert careful.unused_keys("paillier", 2048) == []


def test_keys_that_are_out_of_date_do_not_stand_before_newer_ones(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=1, holders=1, threshold=1)
    old = replace(federation.dealer(), today=today() - 1000)
    assert len(list(old.deal(1, MOST_OFFERED, "paillier", 128))) == MOST_OFFERED
    fresh = federation.deal(bits=128)
    holder = federation.key_holder(1, tmp_path / "holder")
    assert holder.unused_keys("paillier", 128) == fresh
    federation.close()


def test_shares_of_keys_out_of_date_are_destroyed_when_a_run_is_over(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation", clients=1, holders=1, threshold=1)
    old = replace(federation.dealer(), today=today() - 1000)
    assert list(old.deal(1, 2, "paillier", 128)) == [1, 2]
    (fresh,) = federation.deal(bits=128)
    holder = federation.key_holder(1, tmp_path / "holder")
    holder.destroy_old_shares()
    assert [key.signed for key in holder.shares.dealt()] == [fresh]
    federation.close()


def test_a_share_that_cannot_be_destroyed_holds_up_no_answer_and_goes_later(
    federation: SmallFederation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = HonestAttempt(federation, federation.deal()[0])
    holder = federation.key_holder(1, tmp_path / "holder")

    def full(_serial: int) -> None:
        raise StorageError("no room")

    monkeypatch.setattr(holder.shares, "destroy", full)
    assert open_sum(holder, attempt.release_order(), attempt.fetch).partial
    assert share_file(attempt, holder).exists()
    restarted(federation, holder, tmp_path / "holder")
    assert not share_file(attempt, holder).exists()


# ------------------------------------------------------------------------------------------------ switched off


def attack_list_changed(holder: KeyHolder, attempt: HonestAttempt) -> object:
    holder.sign_list(attempt.list_order())
    attempt.commit_to("client-1", attempt.encrypt(1))
    return holder.sign_list(attempt.list_order())


def attack_already_released(holder: KeyHolder, attempt: HonestAttempt) -> object:
    open_sum(holder, attempt.release_order(), attempt.fetch)
    second = HonestAttempt(attempt.federation, attempt.federation.deal()[0], attempt=2)
    return open_sum(holder, second.release_order(), second.fetch)


def attack_cohort(holder: KeyHolder, attempt: HonestAttempt) -> object:
    return open_sum(holder, attempt.release_order(["client-1"]), attempt.fetch)


def attack_digest(holder: KeyHolder, attempt: HonestAttempt) -> object:
    attempt.payloads["client-1"] = attempt.encrypt(1)
    return open_sum(holder, attempt.release_order(), attempt.fetch)


def attack_duplicate(holder: KeyHolder, attempt: HonestAttempt) -> object:
    names = ("client-1", "client-1", "client-2")
    order = replace(attempt.release_order(), contributors=names, sum_digest=digest(attempt.total(names)))
    return open_sum(holder, order, attempt.fetch)


def attack_list_signatures(holder: KeyHolder, attempt: HonestAttempt) -> object:
    return open_sum(holder, replace(attempt.release_order(), signatures=()), attempt.fetch)


def attack_wrong_model(holder: KeyHolder, attempt: HonestAttempt) -> object:
    return endorse(holder, attempt, model_digest=bytes(32))


def attack_too_similar(holder: KeyHolder, attempt: HonestAttempt) -> object:
    open_sum(holder, attempt.release_order(FOUR), attempt.fetch)
    later = HonestAttempt(attempt.federation, attempt.federation.deal()[0], round_number=2, model=np.ones(VALUES))
    return open_sum(holder, later.release_order(FOUR[:3]), later.fetch)


ATTACKS = {
    Reason.LIST_CHANGED: attack_list_changed,
    Reason.ALREADY_RELEASED: attack_already_released,
    Reason.COHORT_TOO_SMALL: attack_cohort,
    Reason.WRONG_DIGEST: attack_digest,
    Reason.DUPLICATE: attack_duplicate,
    Reason.LIST_SIGNATURES: attack_list_signatures,
    Reason.WRONG_MODEL: attack_wrong_model,
    Reason.TOO_SIMILAR: attack_too_similar,
}


@pytest.mark.parametrize("check", ATTACKS, ids=str)
def test_each_check_is_the_one_that_stops_what_it_is_named_for(
    federation: SmallFederation, attempt: HonestAttempt, tmp_path: Path, check: Reason
) -> None:
    """Refused while it is on, done when it alone is off."""
    assert reason(ATTACKS[check], federation.key_holder(1, tmp_path / "on"), attempt) is check
    fresh = HonestAttempt(federation, federation.deal()[0])
    off = federation.key_holder(1, tmp_path / "off", passes={check})
    assert ATTACKS[check](off, fresh)


def test_the_encoding_of_a_release_is_the_tasks(attempt: HonestAttempt) -> None:
    """What the tests above call honest is what every party would compute."""
    assert attempt.description.encoding == encoding_for(SPAM, VALUES, 224, 8)
