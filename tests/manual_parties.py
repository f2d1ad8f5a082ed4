"""The product's sessions inside the test's own process, over real connections, moved on by hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from parties import Parties
from recomputation import SPAM, VALUES, spam_of

from client.participant import Participant, Submission
from client.session import ClientSession, commit_call, submit_call
from core.clock import SYSTEM_CLOCK
from core.identity.party import load_identity
from core.policy import Policy
from core.protocol import RoundDescription
from core.wire import federation_pb2 as pb
from core.wire.calls import Ask, Call, Conversation, converse, fetch_model
from core.wire.dialing import AggregatorConnection
from core.wire.messages import round_from_wire
from core.wire.streams import Model
from keyholder.connection import run_session
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.session import HolderSession

AGREEABLE = Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=True, insecure_unbounded=True, allow_plain=True)
SECONDS = 30.0
"""Longest wait for something that is bound to come."""


class ManualClient:
    """The product's client session, taken from one notice to the next when the test says so."""

    def __init__(self, address: str, folder: Path) -> None:
        self.identity = load_identity(folder)
        self.connection = AggregatorConnection(address, patience=60, identity=self.identity)
        self.participant = Participant(self.identity, SPAM, AGREEABLE, spam_of, SYSTEM_CLOCK)
        self.session = ClientSession(self.participant)
        self.subscription = self.session.subscription()
        self.notices: Iterator[pb.Notice] = iter(())
        self._reply: Any = None

    def join(self) -> ManualClient:
        self.notices = self.connection.subscribe(self.subscription)
        self.answer("welcome")
        return self

    def next(self, kind: str) -> Any:
        """Return what the aggregator pushes next, which must be of this kind."""
        notice = next(self.notices)
        while notice.WhichOneof("notice") is None:  # of a newer roster
            converse(self.session.answer(notice), self.connection.carry)
            notice = next(self.notices)
        assert notice.WhichOneof("notice") == kind, notice
        return getattr(notice, kind)

    def until(self, kind: str) -> Any:
        """Return the next of this kind, past what is repeated after a reconnection."""
        return next(getattr(notice, kind) for notice in self.notices if notice.WhichOneof("notice") == kind)

    def answer(self, kind: str, *, skip: bool = False) -> Any:
        """Answer the next notice, which must be of this kind (or is waited for), and return the last reply."""
        message = self.until(kind) if skip else self.next(kind)
        converse(self.session.answer(pb.Notice(**{kind: message})), self._carry)
        return self._reply

    def _carry(self, call: Call) -> Any:
        self._reply = self.connection.carry(call)
        return self._reply

    def model(self, round_number: int | None = None) -> Model:
        return converse(fetch_model(VALUES, round_number), self.connection.carry)

    def round(self) -> RoundDescription:
        """Wait for a round to be opened and check it."""
        return self.participant.verify(round_from_wire(self.next("round_opened").round))

    def train(self) -> Submission:
        """Wait for a round, train and encrypt, and do not commit yet."""
        conversation = Conversation(self.session.answer(pb.Notice(round_opened=self.next("round_opened"))))
        while conversation.asking is not None and conversation.asking.method != "Commit":
            conversation.reply(self.connection.carry(conversation.asking))
        return self.submission

    @property
    def submission(self) -> Submission:
        assert self.participant.last is not None
        return self.participant.last

    def send_commitment(self, submission: Submission) -> pb.Receipt:
        return self.connection.carry(commit_call(submission))  # type: ignore[no-any-return]

    def commit(self) -> Submission:
        """Wait for a round, answer it, and commit to the answer."""
        self.answer("round_opened")
        return self.submission

    def send(self, submission: Submission) -> pb.Receipt:
        return self.connection.carry(submit_call(submission))  # type: ignore[no-any-return]

    def upload(self) -> pb.Receipt:
        """Wait for the signed list, check it, and upload."""
        return self.answer("list_closed", skip=True)  # type: ignore[no-any-return]

    def end(self) -> pb.RunEnded:
        """Wait for the end of the round and the run, and hang up."""
        assert self.until("round_closed").completed
        ended: pb.RunEnded = self.next("run_ended")
        self.close()
        return ended

    def close(self) -> None:
        self.connection.channel.close()


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


class _GatedConnection(AggregatorConnection):
    gate: Gate

    def subscribe(self, call: Ask) -> Iterator[Any]:
        for message in super().subscribe(call):
            self.gate.pass_through(message.WhichOneof("task"))
            yield message


class ManualHolder:
    """A key holder in a thread, which waits before it answers a task of one of the kinds `held`."""

    def __init__(self, address: str, folder: Path, state: Path, rule: DifferenceRule, *held: str) -> None:
        self.gate = Gate(*held)
        self.outcome: str | Exception = ""
        identity = load_identity(folder)
        self._connection = _GatedConnection(address, 60, identity)
        self._connection.gate = self.gate
        self.ledger = Ledger(state)
        self._session = HolderSession(KeyHolder(identity, AGREEABLE, self.ledger, rule, SYSTEM_CLOCK))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self.outcome = run_session(self._connection, self._session)
        except Exception as error:  # the test's thread is told, and asks if it matters
            self.outcome = error
        self._connection.channel.close()

    def end(self) -> str | Exception:
        """Wait until it has served the run to its end."""
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()
        return self.outcome

    def close(self) -> None:
        self.gate.let_go()
        self._connection.channel.close()
        self._thread.join(SECONDS)
        self.ledger.close()


class ManualParties:
    """All of one test's parties that are in its own process."""

    def __init__(self, parties: Parties) -> None:
        self.rule = DifferenceRule.ENFORCE
        """The holders' difference rule."""
        self._parties = parties
        self._made: list[ManualClient | ManualHolder] = []

    def client(self, address: str, number: int) -> ManualClient:
        made = ManualClient(address, self._parties.federation / f"client-{number}")
        self._made.append(made)
        return made

    def clients(self, address: str, *numbers: int) -> list[ManualClient]:
        """Clients that have joined."""
        return [self.client(address, number).join() for number in numbers]

    def holder(self, address: str, number: int, *held: str) -> ManualHolder:
        name = f"keyholder-{number}"
        made = ManualHolder(address, self._parties.federation / name, self._parties.folder / name, self.rule, *held)
        self._made.append(made)
        return made

    def holders(self, address: str, *held: str) -> list[ManualHolder]:
        """All that the federation has."""
        return [self.holder(address, number, *held) for number in range(1, self._parties.shape.holders + 1)]

    def close(self) -> None:
        for party in self._made:
            party.close()


def play(clients: Sequence[ManualClient]) -> None:
    """One whole round: all commit, then all upload."""
    for client in clients:
        client.commit()
    for client in clients:
        client.upload()
