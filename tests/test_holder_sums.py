"""A key holder opens the sum of exactly the contributors that a signed list names, once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import FOUR, described, endorse, endorse_model, no_fetch, open_sum, restarted, share_file
from federations import ID, VALUES, HonestAttempt, SmallFederation
from refusals import refused_with

from core.errors import Reason, StorageError
from core.protocol import ModelOrigin, digest
from core.secagg.opening import combine
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Answer
from keyholder.orders import ReleaseOrder

CORPUS = [
    "0", "1", "n", "7 n", "the end of the range", "the end of the range + 1", "unblinded 5", "all bits",
    "the first is 0", "one byte short", "one byte long", "one ciphertext short", "one ciphertext long", "nothing",
]  # fmt: skip


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
    with refused_with(Reason.ALREADY_RELEASED):
        open_sum(holder, fewer, attempt.fetch)
    holder = restarted(federation, holder, tmp_path / "holder")
    with refused_with(Reason.ALREADY_RELEASED):
        open_sum(holder, fewer, attempt.fetch)


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
        with refused_with(Reason.ALREADY_RELEASED):
            open_sum(holder, other, attempt.fetch)


def test_another_attempt_at_an_opened_round_is_not_opened(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    open_sum(holder, attempt.release_order(), attempt.fetch)
    second = HonestAttempt(federation, federation.deal()[0], attempt=2)
    with refused_with(Reason.ALREADY_RELEASED):
        open_sum(holder, second.release_order(), second.fetch)
    assert share_file(second, holder).exists()


def test_a_list_without_a_quorum_is_not_opened(holder: KeyHolder, attempt: HonestAttempt) -> None:
    order = replace(attempt.release_order(), signatures=attempt.list_signatures(1))
    with refused_with(Reason.LIST_SIGNATURES):
        open_sum(holder, order, no_fetch)
    other = HonestAttempt(attempt.federation, attempt.description.signed_certificate)
    order = replace(attempt.release_order(), signatures=other.list_signatures())
    with refused_with(Reason.LIST_SIGNATURES):
        open_sum(holder, order, no_fetch)


def test_another_list_than_this_holder_signed_is_not_opened_even_if_others_signed_it(
    holder: KeyHolder, attempt: HonestAttempt
) -> None:
    holder.sign_list(attempt.list_order())
    attempt.commit_to("client-1", attempt.encrypt(1))
    with refused_with(Reason.LIST_CHANGED):
        open_sum(holder, attempt.release_order(), attempt.fetch)


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
        (("client-1", "stranger"), Reason.NOT_IN_LIST),
        (("client-1", "client-2", "keyholder-1"), Reason.NOT_IN_LIST),
    ],
)
def test_contributors_are_distinct_listed_and_enough(
    holder: KeyHolder, attempt: HonestAttempt, contributors: tuple[str, ...], refused: Reason
) -> None:
    order = replace(attempt.release_order(), contributors=contributors)
    with refused_with(refused):
        open_sum(holder, order, attempt.fetch)
    with refused_with(refused):
        endorse_model(holder, order, bytes(32), attempt.fetch, no_fetch, no_fetch)


def test_as_many_contributors_as_the_description_says_are_needed(
    holder: KeyHolder, attempt: HonestAttempt, federation: SmallFederation
) -> None:
    attempt = HonestAttempt(federation, attempt.description.signed_certificate, min_cohort=3)
    two, three = (
        attempt.release_order(["client-1", "client-2"]),
        attempt.release_order(["client-1", "client-2", "client-3"]),
    )
    with refused_with(Reason.COHORT_TOO_SMALL):
        open_sum(holder, two, attempt.fetch)
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
    with refused_with(expected):
        open_sum(holder, attempt.release_order(sum_digest=bytes(32)), attempt.fetch)
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
    with refused_with(Reason.WRONG_DIGEST):
        open_sum(holder, order, attempt.fetch)
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
    with refused_with(Reason.WRONG_SUM):
        open_sum(holder, order, attempt.fetch)
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
    contributors, model = list(order.contributors), attempt.description.model_digest
    holder.ledger.record_release(attempt.id, serial, order.digest, answer, contributors, model)
    assert share_file(attempt, holder).exists()
    holder = restarted(federation, holder, tmp_path / "holder")
    assert not share_file(attempt, holder).exists()
    assert open_sum(holder, order, no_fetch).partial == answer.partial


# ------------------------------------------------------------------------------------------------ the difference rule


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
    with refused_with(Reason.TOO_SIMILAR, r"sum of round 1 it tells what 1 of the clients sent \(client-4\)"):
        open_sum(holder, order, attempt.fetch)
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
    with refused_with(Reason.TOO_SIMILAR):
        open_sum(holder, order, later.fetch)


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
    id, start = replace(ID, run="f" * 16), ModelOrigin(ID.run, 9)
    other = HonestAttempt(federation, federation.deal()[0], id=id, start=start, model=np.full(VALUES, 2.0))
    with refused_with(Reason.TOO_SIMILAR):
        open_sum(holder, other.release_order(FOUR[:3]), other.fetch)
