"""One attempt at the aggregator: check, store, add, combine, in that order, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attempts import TIMINGS, commit_all, header, listed, opened, submit
from federations import ID, RUN, SPAM, HonestAttempt, SmallFederation, small_federation
from refusals import refused_with

from core.errors import Reason, Refused, StorageError
from core.federated import initial_model
from core.protocol import SubmissionHeader, digest
from core.secagg.encoding import CohortSum
from core.secagg.scheme import join_payload, split_payload
from core.wire.streams import model_bytes
from server.attempt import Attempt, names_of
from server.store import Store

CORPUS = [
    "0", "1", "n", "7 n", "the end of the range", "the end of the range + 1", "unblinded 5", "all bits",
    "the first is 0", "one byte short", "one byte long", "one ciphertext short", "one ciphertext long", "nothing",
]  # fmt: skip


federation = small_federation()


@pytest.fixture
def honest(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal()[0])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path)
    store.begin_run(RUN, {}, initial_model(SPAM, 0))
    yield store
    store.close()


@pytest.fixture
def attempt(honest: HonestAttempt, store: Store) -> Attempt:
    return opened(honest, store)


def test_a_copy_is_refused_when_it_is_committed_to_and_both_are_named(
    attempt: Attempt, honest: HonestAttempt, store: Store
) -> None:
    trust = honest.federation.verifier()
    attempt.commit("client-1", honest.commitments["client-1"], TIMINGS, trust)
    honest.commit_to("client-2", honest.payloads["client-1"])
    with refused_with(Reason.COPIED, "'client-2' commits to the same ciphertexts as 'client-1'"):
        attempt.commit("client-2", honest.commitments["client-2"], TIMINGS, trust)
    assert [part.client for part in store.submissions(honest.id)] == ["client-1"]
    assert attempt.commit("client-1", honest.commitments["client-1"], TIMINGS, trust)[1] is False, "its own, again"


def test_without_encryption_equal_updates_are_no_copies(federation: SmallFederation, store: Store) -> None:
    honest = HonestAttempt(federation, federation.deal(scheme="plain")[0])
    honest.commit_to("client-2", honest.payloads["client-1"])
    commit_all(opened(honest, store), honest)
    assert len(store.submissions(honest.id)) == len(honest.payloads)


# ------------------------------------------------------------------------------------------------ commitments


def test_a_clients_own_commitment_is_taken_once(attempt: Attempt, honest: HonestAttempt) -> None:
    trust, signed = honest.federation.verifier(), honest.commitments["client-1"]
    assert attempt.commit("client-1", signed, TIMINGS, trust) == (honest.commitment("client-1"), True)
    assert attempt.commit("client-1", signed, TIMINGS, trust) == (honest.commitment("client-1"), False)
    assert names_of(attempt.listed()) == {"client-1"}


def test_a_commitment_in_anothers_name_is_not_taken(attempt: Attempt, honest: HonestAttempt) -> None:
    trust = honest.federation.verifier()
    with refused_with(Reason.COMMITMENT_SIGNATURE, "'client-2' brings a commitment in the name of 'client-1'"):
        attempt.commit("client-2", honest.commitments["client-1"], TIMINGS, trust)
    assert attempt.listed() == []


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        ({"id": replace(ID, attempt=2)}, Reason.ROUND_NOT_OPEN),
        ({"id": replace(ID, round=2)}, Reason.ROUND_NOT_OPEN),
        ({"id": replace(ID, run="f" * 16)}, Reason.ROUND_NOT_OPEN),
        ({"description_digest": bytes(32)}, Reason.WRONG_DESCRIPTION),
    ],
)
def test_a_commitment_to_something_else_is_not_taken(
    attempt: Attempt, honest: HonestAttempt, changes: dict[str, Any], refused: Reason
) -> None:
    signed = honest.federation.sign_commitment(replace(honest.commitment("client-1"), **changes))
    with refused_with(refused):
        attempt.commit("client-1", signed, TIMINGS, honest.federation.verifier())


def test_a_forged_commitment_is_not_taken(attempt: Attempt, honest: HonestAttempt) -> None:
    forged = replace(honest.commitments["client-1"], signature=bytes(64))
    with refused_with(Reason.COMMITMENT_SIGNATURE):
        attempt.commit("client-1", forged, TIMINGS, honest.federation.verifier())


def test_a_second_commitment_of_a_client_is_not_taken(attempt: Attempt, honest: HonestAttempt) -> None:
    commit_all(attempt, honest)
    again = honest.federation.sign_commitment(replace(honest.commitment("client-1"), submission=bytes(16)))
    with refused_with(Reason.DUPLICATE):
        attempt.commit("client-1", again, TIMINGS, honest.federation.verifier())


def test_the_closed_list_is_in_the_order_of_names_and_verifies(
    attempt: Attempt, honest: HonestAttempt, store: Store
) -> None:
    trust = honest.federation.verifier()
    for name in ("client-3", "client-1", "client-2"):
        attempt.commit(name, honest.commitments[name], TIMINGS, trust)
    for signature in reversed(honest.list_signatures()):
        attempt.list_signatures.keep(signature)
    closed = attempt.closed_list()
    assert closed.commitment_digests == honest.commitment_digests()
    assert (closed.round, closed.attempt, closed.description_digest) == (1, 1, honest.digest)
    trust.verify_list(closed.description_digest, closed.commitment_digests, closed.signatures)
    assert [each.holder for each in closed.signatures] == ["keyholder-1", "keyholder-2"]


# ------------------------------------------------------------------------------------------------ updates


def test_an_update_is_added_once_however_often_it_comes(attempt: Attempt, honest: HonestAttempt, store: Store) -> None:
    listed(attempt, honest, store)
    assert [submit(attempt, honest, "client-1") for _ in range(3)] == [True, False, False]
    assert submit(attempt, honest, "client-2")
    assert attempt.contributors() == ["client-1", "client-2"]
    assert attempt.sum_digest() == digest(honest.total(["client-1", "client-2"]))


@pytest.mark.parametrize("name", CORPUS)
@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
def test_a_malformed_update_is_refused_before_it_is_stored_or_added_though_its_client_committed_to_it(
    federation: SmallFederation, store: Store, scheme: str, name: str
) -> None:
    honest = HonestAttempt(federation, federation.deal(scheme=scheme)[0])
    honest.commit_to("client-2", honest.malformed("client-2")[name])
    attempt = opened(honest, store)
    listed(attempt, honest, store)
    submit(attempt, honest, "client-1")
    short = "byte" in name or "ciphertext " in name or name == "nothing"
    expected = Reason.WRONG_LENGTH if short else Reason.BAD_CIPHERTEXT
    with refused_with(expected):
        submit(attempt, honest, "client-2")
    assert attempt.contributors() == ["client-1"]
    assert attempt.sum_digest() == digest(honest.total(["client-1"]))


@pytest.mark.parametrize("scheme", ["paillier", "plain"])
def test_what_is_too_large_for_a_plaintext_is_refused_in_the_plain_twin_too(
    federation: SmallFederation, store: Store, scheme: str
) -> None:
    honest = HonestAttempt(federation, federation.deal(scheme=scheme)[0])
    honest.commit_to("client-2", b"\xff" * len(honest.payloads["client-2"]))
    attempt = opened(honest, store)
    listed(attempt, honest, store)
    with refused_with(Reason.BAD_CIPHERTEXT):
        submit(attempt, honest, "client-2")


@pytest.mark.parametrize("source", ["another client", "another round", "another key", "changed"])
def test_nothing_is_added_but_what_the_client_committed_to(
    attempt: Attempt, honest: HonestAttempt, federation: SmallFederation, store: Store, source: str
) -> None:
    listed(attempt, honest, store)
    payload = {
        "another client": honest.payloads["client-1"],
        "another round": HonestAttempt(federation, honest.description.signed_certificate).payloads["client-3"],
        "another key": HonestAttempt(federation, federation.deal()[0]).payloads["client-3"],
        "changed": honest.payloads["client-3"][:-1] + bytes([honest.payloads["client-3"][-1] ^ 1]),
    }[source]
    told = SubmissionHeader(honest.id, len(payload), digest(payload))
    with pytest.raises(Refused) as caught:
        attempt.submit(told, "client-3", payload, 1)
    assert caught.value.reason in {Reason.WRONG_DIGEST, Reason.BAD_CIPHERTEXT}  # below another n, it may be too large
    assert attempt.contributors() == []


def test_who_has_not_committed_uploads_nothing(attempt: Attempt, honest: HonestAttempt, store: Store) -> None:
    trust = honest.federation.verifier()
    for name in ("client-1", "client-2"):
        attempt.commit(name, honest.commitments[name], TIMINGS, trust)
    store.announce_list(honest.id, ())
    with refused_with(Reason.NOT_COMMITTED):
        submit(attempt, honest, "client-3")


def test_a_header_that_cannot_be_right_is_refused_before_the_payload_is_taken_in(
    attempt: Attempt, honest: HonestAttempt
) -> None:
    told = header(honest, "client-1")
    attempt.check_header(told)
    with refused_with(Reason.WRONG_LENGTH):
        attempt.check_header(replace(told, length=told.length + 1))
    with refused_with(Reason.ROUND_NOT_OPEN):
        attempt.check_header(replace(told, id=replace(told.id, attempt=2)))
    assert attempt.longest_update == len(honest.payloads["client-1"])


def test_an_update_of_another_attempt_is_not_stored(attempt: Attempt, honest: HonestAttempt, store: Store) -> None:
    listed(attempt, honest, store)
    told = header(honest, "client-1")
    other = replace(told, id=replace(told.id, attempt=2))
    with refused_with(Reason.ROUND_NOT_OPEN):
        attempt.submit(other, "client-1", honest.payloads["client-1"], 1)
    assert attempt.contributors() == []


def test_a_full_disk_adds_nothing_and_the_same_update_goes_through_later(
    attempt: Attempt, honest: HonestAttempt, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed(attempt, honest, store)
    empty = attempt.sum_digest()

    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "add_payload", full)
        with pytest.raises(StorageError):
            submit(attempt, honest, "client-1")
    assert attempt.sum_digest() == empty
    assert submit(attempt, honest, "client-1")
    assert attempt.sum_digest() == digest(honest.total(["client-1"]))


def test_after_a_restart_the_sum_is_what_it_was(attempt: Attempt, honest: HonestAttempt, store: Store) -> None:
    listed(attempt, honest, store)
    for name in ("client-1", "client-3"):
        submit(attempt, honest, name)
    again = Attempt(honest.signed, store)
    assert again.contributors() == ["client-1", "client-3"]
    assert again.sum_digest() == attempt.sum_digest()
    assert not submit(again, honest, "client-1")
    assert submit(again, honest, "client-2")
    assert again.sum_digest() == digest(honest.total())


# ------------------------------------------------------------------------------------------------ the sum


@pytest.fixture
def complete(attempt: Attempt, honest: HonestAttempt, store: Store) -> Attempt:
    """All three updates are there."""
    listed(attempt, honest, store)
    for name in honest.payloads:
        submit(attempt, honest, name)
    return attempt


def take(attempt: Attempt, holder: int, partial: bytes) -> bool:
    return attempt.take_partial(holder, partial, threshold=2, holders=3)


def test_two_shares_open_the_sum_and_one_does_not(complete: Attempt, honest: HonestAttempt, store: Store) -> None:
    assert not take(complete, 3, honest.partial(3))
    assert complete.opened is None
    assert not take(complete, 3, honest.partial(3)), "the same one twice is one"
    complete.open_seconds = 7.0
    assert take(complete, 1, honest.partial(1))
    assert complete.opened is not None
    assert complete.opened.plaintexts == honest.opened().plaintexts
    assert 7.0 <= complete.open_seconds < 8.0, "of the slowest holder, and of combining"
    last = store.last_attempt(RUN)
    assert last is not None
    assert (last.state, last.opened) == ("endorsing", complete.opened.to_bytes(honest.description.key))


def test_one_more_share_than_needed_changes_nothing(complete: Attempt, honest: HonestAttempt) -> None:
    for number in (1, 2):
        take(complete, number, honest.partial(number))
    opened = complete.opened
    assert take(complete, 3, bytes(complete.count))
    assert complete.opened is opened


def test_wrong_shares_that_were_never_checked_open_nothing(complete: Attempt, honest: HonestAttempt) -> None:
    take(complete, 1, honest.partial(1, ["client-1"]))
    for number, partial in ((2, honest.partial(2, ["client-2"])), (3, honest.partial(3))):
        with refused_with(Reason.WRONG_SHARE):
            take(complete, number, partial)
    assert complete.opened is None
    assert take(complete, 2, honest.partial(2)), "a holder may mend its answer"


def test_a_scaled_update_is_noticed_when_the_sum_is_opened_and_nothing_is_kept(
    federation: SmallFederation, store: Store
) -> None:
    honest = HonestAttempt(federation, federation.deal()[0])
    n, size = honest.description.key.modulus, 64
    numbers = split_payload(honest.payloads["client-3"], honest.description.encoding.plaintexts, size)
    honest.commit_to("client-3", join_payload([pow(c, 2, n * n) for c in numbers], size))
    attempt = opened(honest, store)
    listed(attempt, honest, store)
    for name in honest.payloads:
        submit(attempt, honest, name)
    take(attempt, 1, honest.partial(1))
    with refused_with(Reason.BAD_SUM, "a counter says 4 updates were added; expected 3"):
        take(attempt, 2, honest.partial(2))
    assert attempt.opened is None
    assert store.last_attempt(RUN).opened is None  # type: ignore[union-attr]


def test_a_sum_without_a_mean_is_refused_when_it_is_opened_and_not_when_the_model_is_made(
    complete: Attempt, honest: HonestAttempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_examples = CohortSum(3, np.zeros(5), examples=0, mean_loss=0.0, correct=0, count=0.0)
    monkeypatch.setattr(Attempt, "sums", lambda *_: [without_examples])
    take(complete, 1, honest.partial(1))
    with pytest.raises(Refused, match="none of its 3 clients has an example to count by") as caught:
        take(complete, 2, honest.partial(2))
    assert caught.value.reason is Reason.BAD_SUM
    assert complete.opened is None


def test_a_full_disk_keeps_the_shares_for_the_next_try(
    complete: Attempt, honest: HonestAttempt, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise StorageError("the disk is full")

    take(complete, 1, honest.partial(1))
    with monkeypatch.context() as patch:
        patch.setattr(store, "keep_opened", full)
        with pytest.raises(StorageError):
            take(complete, 2, honest.partial(2))
    assert complete.opened is None
    assert take(complete, 2, honest.partial(2))


def test_the_next_model_is_the_mean_of_the_contributors(complete: Attempt, honest: HonestAttempt) -> None:
    for number in (1, 2):
        take(complete, number, honest.partial(number))
    start = initial_model(SPAM, 0)[:5]
    model = complete.next_model()
    assert np.array_equal(model.vector[:5], start + np.array([1, 1, 1, 0, 0]) / 3)
    assert model.endorsed == digest(model_bytes(model.vector))
    assert complete.next_model() is model, "computed once"


def test_an_opened_sum_is_taken_up_after_a_restart(complete: Attempt, honest: HonestAttempt, store: Store) -> None:
    for number in (1, 2):
        take(complete, number, honest.partial(number))
    kept = store.last_attempt(RUN).opened  # type: ignore[union-attr]
    again = Attempt(honest.signed, store)
    again.restore_opened(kept)  # type: ignore[arg-type]
    for each in (again, complete):
        assert each.next_model().endorsed == digest(model_bytes(honest.next_model(honest.opened(), 3)))


def test_seconds_of_adding_are_counted(complete: Attempt) -> None:
    assert 0.0 < complete.add_seconds < 5.0
