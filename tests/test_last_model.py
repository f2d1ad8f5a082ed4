"""The last global model is kept only if t key holders signed it, and it is the one that this run ended with."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from federations import RUN, VALUES, SmallFederation, small_federation
from refusals import refused_with

from client.session import ClientSession
from core.errors import Reason, RunFailedError
from core.protocol import AttemptId
from core.wire import federation_pb2 as pb
from core.wire.calls import converse
from core.wire.streams import FloatArray, Model, model_bytes, model_chunks, read_chunks

VECTOR = np.ones(VALUES)


federation = small_federation()


def kept(
    federation: SmallFederation,
    given: Model,
    monkeypatch: pytest.MonkeyPatch,
    *,
    trained: int = 2,
    completed: bool = True,
    joined: str = RUN,
) -> FloatArray | None:
    """Return what a client keeps that has joined RUN and trained up to that round, when this is the last model."""
    participant = federation.participant(1)
    if trained:
        header = SimpleNamespace(header=SimpleNamespace(id=AttemptId(RUN, trained, 1)))
        monkeypatch.setattr(type(participant), "last", header)
    session = ClientSession(participant, keep_model=True)
    chunks = model_chunks(model_bytes(given.vector), given.run, given.round, given.endorsements)
    reply = read_chunks(chunks, limit=8 * VALUES)
    for notice in (
        pb.Notice(welcome=pb.Welcome(run=joined, rounds=3)),
        pb.Notice(run_ended=pb.RunEnded(completed=completed, sentence="done")),
    ):
        converse(session.answer(notice), lambda _call: reply)
    return session.model


def model(federation: SmallFederation, round_number: int, run: str = RUN) -> Model:
    endorsements = federation.endorsements(round_number, VECTOR) if round_number else ()
    return Model(run, round_number, VECTOR, endorsements)


def test_the_model_that_the_run_ended_with_is_kept(
    federation: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    for round_number in (2, 3):
        found = kept(federation, model(federation, round_number), monkeypatch)
        np.testing.assert_array_equal(found, VECTOR)


def test_no_other_model_is_kept(federation: SmallFederation, monkeypatch: pytest.MonkeyPatch) -> None:
    good = model(federation, 3)
    for given, expected in (
        (Model(RUN, 0, VECTOR, ()), Reason.NO_MODEL),  # round 0 has no signatures
        (Model(RUN, 3, VECTOR, good.endorsements[:1]), Reason.MODEL_LINEAGE),
        (Model(RUN, 3, 2 * VECTOR, good.endorsements), Reason.MODEL_LINEAGE),
        (Model("f" * 16, 3, VECTOR, good.endorsements), Reason.MODEL_LINEAGE),
        (model(federation, 1), Reason.MODEL_LINEAGE),  # signed, and older than what it trained on
    ):
        with refused_with(expected):
            kept(federation, given, monkeypatch)


def test_the_model_of_another_run_is_not_kept_however_many_signed_it(
    federation: SmallFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    with refused_with(Reason.ANOTHER_RUN, "now leads the run ffff"):
        kept(federation, model(federation, 3), monkeypatch, joined="f" * 16)


def test_after_a_run_that_failed_nothing_is_kept(federation: SmallFederation, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunFailedError, match="done"):
        kept(federation, model(federation, 3), monkeypatch, completed=False)
