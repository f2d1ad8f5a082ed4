"""What a client says next, for each notice, reply and refusal; and what it does not say when something does not hold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from federations import RUN, VALUES, HonestAttempt, SmallFederation, small_federation
from refusals import refused_with

from client.connection import run_session
from client.session import ClientSession
from core.errors import GrokfedError, Reason, Refused
from core.identity import signing
from core.protocol import ClosedList, HolderSignature, Signed, digest
from core.wire import federation_pb2 as pb
from core.wire.calls import Call, Upload, converse
from core.wire.holder_messages import list_statement, list_to_wire, model_statement
from core.wire.messages import round_to_wire, signed_commitment_from_wire
from core.wire.streams import model_bytes, model_chunks, read_chunks

FloatArray = npt.NDArray[np.float64]
ENDED = pb.Notice(run_ended=pb.RunEnded(completed=True, sentence="all rounds are completed"))


class Conducted:
    """A session whose calls are noted and answered: with a model, with nothing, or with the refusal set for a method."""

    def __init__(self, federation: SmallFederation, attempt: HonestAttempt, *, keep_model: bool = False) -> None:
        self.session = ClientSession(federation.participant(1), keep_model=keep_model)
        self.attempt = attempt
        self.model = attempt.model
        self.last: tuple[str, int, tuple[HolderSignature, ...]] = (attempt.id.run, 0, ())
        self.refusals: dict[str, Reason] = {}
        self.calls: list[Call] = []

    def hear(self, notice: pb.Notice) -> list[Any]:
        """Let the session answer a notice, and return the calls it made."""
        self.calls.clear()
        converse(self.session.answer(notice), self._carry)
        return list(self.calls)

    def _carry(self, call: Call) -> object:
        self.calls.append(call)
        if call.method in self.refusals:
            raise Refused(self.refusals[call.method], "refused by the test")
        if call.method == "FetchModel":
            return read_chunks(model_chunks(model_bytes(self.model), *self.last), limit=8 * VALUES)
        return pb.Receipt()

    # -------------------------------------------------------------------------------- what it receives

    def opened(self, signed: Signed | None = None, *, committed: bool = False) -> pb.Notice:
        return pb.Notice(
            round_opened=pb.RoundOpened(round=round_to_wire(signed or self.attempt.signed), committed=committed)
        )

    def closed(self, *commitments: Signed, holders: int = 2) -> pb.Notice:
        """The list of the other clients' commitments and these, signed by this number of holders."""
        listed = [self.attempt.commitments["client-2"], self.attempt.commitments["client-3"], *commitments]
        digests = tuple(digest(each.body) for each in listed)
        id, federation = self.attempt.id, self.attempt.federation
        statement = list_statement(self.attempt.digest, digests)
        signatures = federation.signatures(signing.LIST, statement, federation.holders[:holders])
        closed = ClosedList(id.round, id.attempt, self.attempt.digest, digests, signatures)
        return pb.Notice(list_closed=list_to_wire(closed))

    @property
    def commitment(self) -> Signed:
        assert self.session.participant.last is not None
        return self.session.participant.last.commitment


federation = small_federation()


@pytest.fixture(scope="module")
def attempt(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal(scheme="plain")[0])


@pytest.fixture
def client(federation: SmallFederation, attempt: HonestAttempt) -> Conducted:
    return Conducted(federation, attempt)


def methods(calls: list[Call]) -> list[str]:
    return [call.method for call in calls]


# ------------------------------------------------------------------------------------------------ a round


def test_a_round_is_answered_with_a_commitment_and_with_no_upload(client: Conducted) -> None:
    fetch, commit = client.hear(client.opened())
    assert (fetch.method, fetch.message.round, fetch.limit) == ("FetchModel", 0, 8 * VALUES)
    assert (commit.method, signed_commitment_from_wire(commit.message.commitment)) == ("Commit", client.commitment)


def test_a_model_that_comes_along_with_the_round_is_not_fetched(client: Conducted) -> None:
    opened = client.opened()
    opened.round_opened.start.extend(model_chunks(model_bytes(client.model), *client.last))
    assert methods(client.hear(opened)) == ["Commit"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda model: model + 1, Reason.WRONG_DIGEST),
        (lambda model: np.append(model, 0.0), Reason.WRONG_LENGTH),
        (lambda model: model[:-1], Reason.MALFORMED),
    ],
)
def test_a_model_that_comes_along_is_checked_like_one_that_is_fetched(
    client: Conducted, change: Callable[[FloatArray], FloatArray], reason: Reason
) -> None:
    opened = client.opened()
    opened.round_opened.start.extend(model_chunks(model_bytes(change(client.model)), *client.last))
    with refused_with(reason):
        client.hear(opened)
    assert not client.calls


def test_a_list_with_its_commitment_is_answered_with_what_was_committed_to(client: Conducted) -> None:
    client.hear(client.opened())
    (upload,) = client.hear(client.closed(client.commitment))
    assert isinstance(upload, Upload)
    assert (upload.method, digest(upload.payload)) == ("Submit", upload.header.header.sha256)
    assert upload.payload == client.session.participant.last.payload  # type: ignore[union-attr]


def test_a_round_that_is_announced_again_gets_the_same_bytes_again(client: Conducted) -> None:
    _, commit = client.hear(client.opened())
    assert client.hear(client.opened(committed=True))[1] == commit
    (upload,) = client.hear(client.closed(client.commitment))
    assert client.hear(client.closed(client.commitment)) == [upload]


def test_a_client_that_is_started_again_leaves_out_the_round_it_has_committed_in(client: Conducted) -> None:
    assert client.hear(client.opened(committed=True)) == []
    other = client.attempt.commitments["client-1"]
    assert client.hear(client.closed(other)) == [], "it has nothing to upload"


def test_other_notices_ask_for_nothing(client: Conducted) -> None:
    for notice in (
        pb.Notice(),
        pb.Notice(welcome=pb.Welcome(run=client.attempt.id.run, rounds=1)),
        pb.Notice(round_closed=pb.RoundClosed(round=1, attempt=1, completed=True)),
        pb.Notice(round_closed=pb.RoundClosed(round=1, attempt=1, sentence="too few")),
    ):
        assert client.hear(notice) == []
    assert client.session.ending is None


# ------------------------------------------------------------------------------------------------ what does not hold


def test_a_round_that_the_aggregator_did_not_sign_is_answered_with_nothing(client: Conducted) -> None:
    with refused_with(Reason.DESCRIPTION_SIGNATURE):
        client.hear(client.opened(replace(client.attempt.signed, signature=bytes(64))))
    assert client.calls == []


def test_a_model_that_the_round_does_not_name_is_not_trained_on(client: Conducted) -> None:
    client.model = client.model + 1.0
    with refused_with(Reason.WRONG_DIGEST):
        client.hear(client.opened())
    assert methods(client.calls) == ["FetchModel"]
    assert client.session.participant.last is None


def test_a_client_that_is_handed_a_list_without_its_commitment_uploads_nothing(client: Conducted) -> None:
    client.hear(client.opened())
    for others in ((), (client.attempt.commitments["client-1"],)):
        with refused_with(Reason.NOT_IN_LIST):
            client.hear(client.closed(*others))
        assert client.calls == []


def test_a_client_that_is_handed_a_list_that_one_holder_signed_uploads_nothing(client: Conducted) -> None:
    client.hear(client.opened())
    with refused_with(Reason.LIST_SIGNATURES):
        client.hear(client.closed(client.commitment, holders=1))
    assert client.calls == []


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("reason", [Reason.ROUND_NOT_OPEN, Reason.DUPLICATE])
def test_a_round_that_goes_on_without_this_client_ends_nothing(client: Conducted, reason: Reason) -> None:
    client.refusals = {"Commit": reason, "Submit": reason}
    assert methods(client.hear(client.opened())) == ["FetchModel", "Commit"]
    assert methods(client.hear(client.closed(client.commitment))) == ["Submit"]
    client.hear(ENDED)
    assert "its data was not used" in str(client.session.ending)


@pytest.mark.parametrize("method", ["FetchModel", "Commit"])
def test_any_other_refusal_ends_the_session(client: Conducted, method: str) -> None:
    client.refusals = {method: Reason.REVOKED}
    with refused_with(Reason.REVOKED):
        client.hear(client.opened())
    assert methods(client.calls)[-1] == method


# ------------------------------------------------------------------------------------------------ the end


def test_the_ending_says_whether_an_update_of_this_client_was_taken(client: Conducted) -> None:
    client.hear(client.opened())
    client.hear(client.closed(client.commitment))
    assert client.session.ending is None
    client.hear(ENDED)
    assert client.session.ending == "all rounds are completed"


@pytest.fixture
def keeper(federation: SmallFederation, attempt: HonestAttempt) -> Conducted:
    """A client that keeps the last model, and has uploaded its update of round 1."""
    keeper = Conducted(federation, attempt, keep_model=True)
    keeper.hear(pb.Notice(welcome=pb.Welcome(run=RUN, rounds=3)))
    keeper.hear(keeper.opened())
    keeper.hear(keeper.closed(keeper.commitment))
    return keeper


def test_the_last_model_is_kept_if_enough_key_holders_signed_it(keeper: Conducted, federation: SmallFederation) -> None:
    keeper.last = (RUN, 1, federation.endorsements(1, keeper.model))
    keeper.hear(ENDED)
    assert keeper.session.model is not None
    assert keeper.session.model.tolist() == keeper.model.tolist()


@pytest.mark.parametrize(
    ("number", "holders", "reason"),
    [(1, 1, Reason.MODEL_LINEAGE), (2, 1, Reason.MODEL_LINEAGE), (0, 0, Reason.NO_MODEL)],
    ids=["signed by one holder", "a later one that one signed", "of no round"],
)
def test_a_last_model_that_is_not_the_runs_is_not_kept(
    keeper: Conducted, federation: SmallFederation, number: int, holders: int, reason: Reason
) -> None:
    keeper.last = (RUN, number, federation.endorsements(number, keeper.model, holders))
    with refused_with(reason):
        keeper.hear(ENDED)
    assert keeper.session.model is None


def test_a_signed_model_of_another_run_is_not_kept(keeper: Conducted, federation: SmallFederation) -> None:
    other = "fedcba9876543210"
    statement = model_statement(federation.roster.federation, other, 1, digest(model_bytes(keeper.model)))
    keeper.last = (other, 1, federation.signatures(signing.MODEL, statement, federation.holders))
    with refused_with(Reason.MODEL_LINEAGE):
        keeper.hear(ENDED)
    assert keeper.session.model is None


def test_a_stream_that_ends_before_the_run_is_an_error(client: Conducted) -> None:
    connection: Any = SimpleNamespace(address="nowhere:1", subscribe=lambda _call: iter([client.opened()]))
    connection.carry = client._carry
    with pytest.raises(GrokfedError, match="nowhere:1 closed the connection before the run ended"):
        run_session(connection, client.session)
    assert methods(client.calls) == ["FetchModel", "Commit"]


def test_a_session_reconnects_as_the_same_process_and_another_session_does_not(
    federation: SmallFederation, client: Conducted
) -> None:
    subscription = client.session.subscription()
    assert client.session.subscription() == subscription
    assert ClientSession(federation.participant(1)).subscription() != subscription
