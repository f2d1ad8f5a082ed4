"""Parties inside the test's own process, over real connections, that wait where the test wants them to."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from parties import Parties
from recomputation import SPAM, VALUES, spam_of

from client.participant import Participant, Submission
from core.console import today
from core.identity.party import load_identity
from core.policy import Policy
from core.protocol import RoundDescription, Signed
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import Line
from core.wire.messages import list_from_wire, round_from_wire, signed_commitment_to_wire, submission_header_to_wire
from core.wire.streams import Model, pieces, read_model
from keyholder.connection import HolderConnection
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger

M = TypeVar("M")
AGREEABLE = Policy(insecure_demo_keys=True, allow_plain=True)
SECONDS = 30.0
"""Longest wait for something that is bound to come."""


class HandClient:
    """A client that does one thing at a time, when the test says so."""

    def __init__(self, address: str, folder: Path) -> None:
        self.identity = load_identity(folder)
        self.line = Line(address, patience=20, identity=self.identity)
        self.stub = rpc.FederationStub(self.line.channel)
        self.participant = Participant(self.identity, SPAM, AGREEABLE, spam_of, today)
        self.request = pb.JoinRequest(
            task="spam", task_digest=self.participant.task_digest, instance=secrets.token_bytes(16)
        )
        self.notices: Iterator[pb.Notice] = iter(())

    def join(self) -> HandClient:
        self.notices = self.line.follow(lambda: self.stub.Join(self.request, timeout=2 * SECONDS))
        self.participant.enrolled(self.next("welcome").run)
        return self

    def next(self, kind: str) -> Any:
        """What the aggregator pushes next, which must be of this kind."""
        notice = next(self.notices)
        assert notice.WhichOneof("notice") == kind, notice
        return getattr(notice, kind)

    def until(self, kind: str) -> Any:
        """The next of this kind, past what is told again to who comes back."""
        return next(getattr(notice, kind) for notice in self.notices if notice.WhichOneof("notice") == kind)

    def round(self) -> tuple[RoundDescription, Signed]:
        """Wait for a round to be opened and check it."""
        signed = round_from_wire(self.next("round_opened").round)
        return self.participant.verify(signed, VALUES), signed

    def model(self, round_number: int | None = None) -> Model:
        request = pb.ModelRequest(round=round_number)
        return self.line.call(lambda: read_model(self.stub.FetchModel(request, timeout=SECONDS), VALUES))

    def answer(self) -> Submission:
        """Wait for a round, train and encrypt, and keep it to oneself."""
        description, signed = self.round()
        model = self.model(description.id.round - 1)
        self.participant.verify_model(description, model.vector, model.endorsements)
        return self.participant.answer(description, signed, model.vector)

    def send_commitment(self, submission: Submission) -> pb.Receipt:
        request = pb.CommitRequest(commitment=signed_commitment_to_wire(submission.commitment))
        return self.line.call(lambda: self.stub.Commit(request, timeout=SECONDS))

    def commit(self) -> Submission:
        """Wait for a round, answer it, and commit to the answer."""
        submission = self.answer()
        self.send_commitment(submission)
        return submission

    def send(self, submission: Submission) -> pb.Receipt:
        def requests() -> Iterator[pb.SubmitRequest]:
            yield pb.SubmitRequest(header=submission_header_to_wire(submission.header))
            for piece in pieces(submission.payload):
                yield pb.SubmitRequest(data=piece)

        return self.line.call(lambda: self.stub.Submit(requests(), timeout=SECONDS))

    def upload(self) -> pb.Receipt:
        """Wait for the signed list, check it, and upload."""
        submission = self.participant.last
        assert submission is not None
        self.participant.verify_list(list_from_wire(self.until("list_closed")), submission)
        return self.send(submission)

    def end(self) -> pb.RunEnded:
        """Wait for the end of the round and the run, and hang up."""
        assert self.until("round_closed").completed
        ended: pb.RunEnded = self.next("run_ended")
        self.close()
        return ended

    def close(self) -> None:
        self.line.channel.close()


class Gate:
    """Lets what is pushed to a party through, but for the kinds that are held until the test lets them go."""

    def __init__(self, *held: str) -> None:
        self._held = set(held)
        self._came: set[str] = set()
        self._changed = threading.Condition()

    def pass_through(self, kind: str) -> None:
        with self._changed:
            self._came.add(kind)
            self._changed.notify_all()
            self._changed.wait_for(lambda: kind not in self._held)

    def wait_for(self, kind: str) -> None:
        """Return when something of this kind has come."""
        with self._changed:
            assert self._changed.wait_for(lambda: kind in self._came, SECONDS), f"{kind} never came"

    def let_go(self) -> None:
        with self._changed:
            self._held.clear()
            self._changed.notify_all()


class _GatedLine(Line):
    gate: Gate

    def follow(self, open_stream: Callable[[], Any]) -> Iterator[Any]:
        for message in super().follow(open_stream):
            self.gate.pass_through(message.WhichOneof("task"))
            yield message


class HandHolder:
    """A key holder in a thread, which waits before it answers a task of one of the kinds `held`."""

    def __init__(self, address: str, folder: Path, state: Path, rule: DifferenceRule, *held: str) -> None:
        self.gate = Gate(*held)
        self.outcome: str | Exception = ""
        identity = load_identity(folder)
        self._line = _GatedLine(address, 20, identity)
        self._line.gate = self.gate
        self.ledger = Ledger(state)
        holder = KeyHolder(identity, AGREEABLE, self.ledger, rule, today)
        self._connection = HolderConnection(self._line, holder)
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self.outcome = self._connection.serve()
        except Exception as error:  # the test's thread is told, and asks if it matters
            self.outcome = error
        self._line.channel.close()

    def end(self) -> str | Exception:
        """Wait until it has served the run to its end."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return self.outcome

    def close(self) -> None:
        self.gate.let_go()
        self._line.channel.close()
        self._thread.join(SECONDS)
        self.ledger.close()


class Hands:
    """All of one test's parties that are in its own process."""

    def __init__(self, parties: Parties) -> None:
        self.rule = DifferenceRule.ENFORCE
        """The holders' difference rule."""
        self._parties = parties
        self._made: list[HandClient | HandHolder] = []

    def client(self, address: str, number: int) -> HandClient:
        made = HandClient(address, self._parties.federation / f"client-{number}")
        self._made.append(made)
        return made

    def clients(self, address: str, *numbers: int) -> list[HandClient]:
        """Clients that have joined."""
        return [self.client(address, number).join() for number in numbers]

    def holder(self, address: str, number: int, *held: str) -> HandHolder:
        name = f"keyholder-{number}"
        made = HandHolder(address, self._parties.federation / name, self._parties.folder / name, self.rule, *held)
        self._made.append(made)
        return made

    def holders(self, address: str, *held: str) -> list[HandHolder]:
        """All that the federation has."""
        return [self.holder(address, number, *held) for number in range(1, self._parties.shape.holders + 1)]

    def close(self) -> None:
        for party in self._made:
            party.close()


def play(clients: Sequence[HandClient]) -> None:
    """One whole round: all commit, then all upload."""
    for client in clients:
        client.commit()
    for client in clients:
        client.upload()
