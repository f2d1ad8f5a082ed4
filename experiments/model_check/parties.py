"""The product's own client and key holder sessions, taken to a state by replaying the messages that led there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from google.protobuf.message import Message

from client.participant import Participant, Submission
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.errors import Reason, Refused
from core.identity.party import PartyIdentity
from core.protocol import KeyCertificate, RoundDescription, Signed, digest
from core.secagg.key_share import KeyShare
from core.secagg.share_proof import Statement
from core.share_files import ShareFile
from core.wire import federation_pb2 as pb
from core.wire.calls import Call, Download, Upload, converse
from core.wire.holder_messages import (
    holder_signature_from_wire,
    start_to_wire,
)
from core.wire.messages import signed_commitment_from_wire
from core.wire.streams import MODEL_DTYPE, model_bytes
from experiments.arrays import FloatArray
from experiments.cheating_server.lenient import ledger_without, verifier_without
from experiments.cheating_server.stage import TASK
from experiments.model_check.scene import CLIENTS, RUN, Scene
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.session import HolderSession
from keyholder.shares import Shares


@dataclass(frozen=True)
class Sent:
    """A message of the aggregator to one honest party.

    Attributes:
        kind: round, closed (to clients); list, request, lend (to key holders).
        subject: what it is about, in words that are the same for all parties.
        content: the message itself.
        payloads: what the aggregator gives the party when it fetches a client's ciphertexts.
    """

    party: str
    kind: str
    subject: str
    content: Message
    payloads: Mapping[str, bytes] = field(default_factory=dict)

    @cached_property
    def key(self) -> tuple[str, str, bytes]:
        """What tells it from other messages."""
        return self.party, self.kind, self.content.SerializeToString(deterministic=True)


@dataclass(frozen=True)
class Said:
    """What a party sent to the aggregator.

    Attributes:
        kind: commitment, update, list, request or share.
        content: the bytes or signature itself.
    """

    kind: str
    subject: str
    content: Any = field(compare=False, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other things that the same party says."""
        return self.kind, self.subject


@dataclass(frozen=True)
class Local:
    """The state of one party; two ways that lead to the same memory and the same words are the same state.

    Attributes:
        memory: what is in its ledger (of a client: what it committed to last), in words that no party's name is in.
        said: what the aggregator has from it.
        path: the messages that led here.
    """

    memory: tuple[str, ...] = ()
    said: tuple[Said, ...] = ()
    path: tuple[Sent, ...] = field(default=(), compare=False, repr=False)

    @cached_property
    def key(self) -> tuple[Any, ...]:
        """The state without anything that is another one's in the same state."""
        return self.memory, tuple(sorted(each.key for each in self.said))


class Parties:
    """All honest parties of a scene.

    Attributes:
        executed: how many messages were given to real sessions, replays included.
        refusals: how often each check has refused.
    """

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._submissions: dict[tuple[str, bytes], Submission] = {}
        self._steps: dict[tuple[Any, ...], Local | None] = {}
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._parked: dict[tuple[str, tuple[Any, ...]], _Client | _Holder] = {}
        self._first_tasks = _vouching(scene)
        self.executed = 0
        self.refusals: Counter[Reason] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        """The clients and then the key holders."""
        return (*CLIENTS, *self._scene.holders)

    def step(self, local: Local, sent: Sent) -> Local | None:
        """Return the party's state after a message; None if it refuses it, or nothing changes."""
        key = (self._numbers.setdefault(local.key, len(self._numbers)), sent.key)
        if key not in self._steps:
            self._steps[key] = self._executed(local, sent)
        return self._steps[key]

    def _executed(self, local: Local, sent: Sent) -> Local | None:
        party = self._parked.pop((sent.party, local.key), None) or self._replayed(sent.party, local)
        new = self._deliver(party, sent)
        known = {each.key for each in local.said}
        said = (*local.said, *(each for each in new if each.key not in known))
        after = Local(party.memory, said, (*local.path, sent))
        self._parked[sent.party, after.key] = party
        return None if after.key == local.key else after

    def _replayed(self, name: str, local: Local) -> _Client | _Holder:
        party = self._new(name)
        for sent in local.path:
            self._deliver(party, sent)
        return party

    def _new(self, name: str) -> _Client | _Holder:
        if name in CLIENTS:
            return _Client(self._scene, name, self._submissions)
        return _Holder(self._scene, name, self._first_tasks[name])

    def _deliver(self, party: _Client | _Holder, sent: Sent) -> list[Said]:
        self.executed += 1
        try:
            return party.deliver(sent)
        except Refused as refusal:
            self.refusals[refusal.reason] += 1
            return []


# --- Clients ---


class _Client:
    def __init__(self, scene: Scene, name: str, made: dict[tuple[str, bytes], Submission]) -> None:
        self._scene = scene
        self._participant = _ReplayedParticipant(scene, name, made)
        self._session = ClientSession(self._participant)
        self._participant.enrolled(RUN)

    @property
    def memory(self) -> tuple[str, ...]:
        """Which attempt it has committed to last."""
        last = self._participant.last
        return () if last is None else (str(last.description.id),)

    def deliver(self, sent: Sent) -> list[Said]:
        said: list[Said] = []

        def carry(call: Call) -> object:
            if isinstance(call, Download):
                start = self._scene.stage.start
                return pb.PayloadHeader(dtype=MODEL_DTYPE, shape=[len(start)], run=RUN), model_bytes(start)
            if isinstance(call, Upload):
                said.append(Said("update", sent.subject.partition(",")[0], call.payload))
            elif call.method == "Commit":
                said.append(Said("commitment", sent.subject, _commitment(call.message)))
            return None

        assert isinstance(sent.content, pb.Notice)
        converse(self._session.answer(sent.content), carry)
        return said


def _commitment(message: Any) -> Signed:
    return signed_commitment_from_wire(message.commitment)


class _ReplayedParticipant(Participant):
    """Trains and encrypts once for each round description, so that a replay gives the same bytes."""

    def __init__(self, scene: Scene, name: str, made: dict[tuple[str, bytes], Submission]) -> None:
        super().__init__(
            scene.stage.identities[name],
            TASK,
            scene.policy,
            lambda _seed, _number: scene.stage.mailbox(name),
            SYSTEM_CLOCK,
            verifier=verifier_without(scene.case.without),
        )
        self._made = made

    def answer(self, description: RoundDescription, signed: Signed, model: FloatArray) -> Submission:
        about = (self.name, digest(signed.body))
        if about not in self._made:
            self._made[about] = super().answer(description, signed, model)
        self._last = self._made[about]
        self._used_keys.add(description.signed_certificate.body)
        return self._last


# --- Key holders ---


class _Holder:
    """A key holder that has taken the tasks of its start, and serves if these are all."""

    def __init__(self, scene: Scene, name: str, first_tasks: Sequence[pb.HolderTask] = ()) -> None:
        self._name, identity = name, scene.stage.identities[name]
        ledger, verifier = ledger_without(scene.case.without, None), verifier_without(scene.case.without)
        self.holder = KeyHolder(identity, scene.policy, ledger, DifferenceRule.ENFORCE, SYSTEM_CLOCK, verifier)
        self.holder.shares = _KeptShares(identity)
        self.holder.life = scene.lives[name]
        self.session = HolderSession(self.holder)
        for task in first_tasks:
            self.deliver(Sent(name, "start", "", task))

    @property
    def memory(self) -> tuple[str, ...]:
        """The ledger's entries, but for its start."""
        return tuple(f"{kind} {content}" for _, kind, content in self.holder.ledger.entries() if kind != "start")

    def deliver(self, sent: Sent) -> list[Said]:
        said: list[Said] = []
        refused: list[Refused] = []
        answers: dict[str, Callable[[Any], Said]] = {
            "SignList": lambda message: self._signed("list", sent, message),
            "SignRequest": lambda message: self._signed("request", sent, message),
        }

        def carry(call: Call) -> object:
            if isinstance(call, Download):
                assert isinstance(call.message, pb.SubmissionsRequest)
                payloads = [sent.payloads[client] for client in call.message.clients]
                return pb.PayloadHeader(parts=map(len, payloads)), b"".join(payloads)
            if isinstance(call, Upload):
                said.append(Said("share", sent.subject, call.payload))
            elif isinstance(call.message, pb.Decline):
                refused.append(Refused(Reason(call.message.reason), call.message.sentence))
            elif call.method in answers:
                said.append(answers[call.method](call.message))
            return None

        assert isinstance(sent.content, pb.HolderTask)
        converse(self.session.answer(sent.content), carry)
        if refused:
            raise refused[0]
        return said

    def _signed(self, kind: str, sent: Sent, message: Any) -> Said:
        return Said(
            kind, sent.subject, holder_signature_from_wire(self._name, message.signature, message.ledger)
        )  # fmt: skip


class _KeptShares(Shares):
    """Shares that are destroyed for this replay only; the files stay for the next."""

    def __init__(self, identity: PartyIdentity) -> None:
        super().__init__(identity)
        self._gone: set[int] = set()

    def dealt(self) -> list[ShareFile]:
        return [key for key in super().dealt() if key.certificate.serial not in self._gone]

    def open(self, certificate: KeyCertificate) -> KeyShare:
        share = super().open(certificate)
        return _KeptShare(share.holder, share.threshold, share.holders, share.public_key, share.exponent)

    def destroy(self, serial: int) -> None:
        self._gone.add(serial)


class _KeptShare(KeyShare):
    """A share that computes each answer once, for all replays."""

    def answer(self, statement: Statement) -> bytes:
        return _answered(self, statement)


@cache
def _answered(share: KeyShare, statement: Statement) -> bytes:
    return KeyShare.answer(share, statement)


def _vouching(scene: Scene) -> dict[str, list[pb.HolderTask]]:
    """Return what each honest key holder is sent until it serves: the others' starts, and their vouches for its own."""
    parties = {name: _Holder(scene, name) for name in scene.holders}
    starts = {name: party.session.agreement.start for name, party in parties.items()}
    tasks: dict[str, list[pb.HolderTask]] = {}
    for name, party in parties.items():
        others = [start for other, start in starts.items() if other != name]
        tasks[name] = [pb.HolderTask(vouch=start_to_wire(each)) for each in (*others, *scene.conspirators.starts())]
        vouches = [(other, parties[other].holder.vouch_for(starts[name])[1]) for other in parties if other != name]
        for other, vouch in (*vouches, *scene.conspirators.vouches(party.session.agreement.start)):
            signed = pb.SignedVouch(holder=other, vouch=vouch.body, signature=vouch.signature)
            tasks[name].append(pb.HolderTask(vouched=signed))
    return tasks
