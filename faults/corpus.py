"""Well-formed messages of a run in progress, one for every call, from which malformed ones are made."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from client.session import submit_call
from core.protocol import AttemptId, LedgerState, Signed, digest
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import ledger_to_wire
from core.wire.messages import signed_commitment_to_wire, signed_key_to_wire
from faults.world import World
from server import states

CLIENT_CALLS = ("Join", "FetchModel", "Commit", "Submit", "FetchRoster", "OfferRoster")
HOLDER_CALLS = (
    "Attend", "VouchFor", "Serve", "OfferKeys", "SignList", "FetchSubmissions", "SignRequest", "Release", "FetchOpenedSum", "EndorseModel", "DeclineTask",
)  # fmt: skip
STREAMS_IN = ("Submit", "Release", "OfferRoster")


@dataclass(frozen=True)
class GoodCall:
    """One call: who may make it, and its messages (one, unless it is a stream)."""

    name: str
    caller: str
    messages: tuple[Message, ...]


def good_calls(world: World) -> list[GoodCall]:
    """Return one of each kind for every party that can make it, about the attempt that is going on (or waited for)."""
    phase = world.phase
    number, attempt = (phase.round, phase.attempt) if isinstance(phase, states.Attempted) else (1, 1)
    id = AttemptId(world.run_id, number, attempt)
    calls = [call for name in world.clients for call in _of_client(world, name, id)]
    calls += [call for name in world.holders for call in _of_holder(world, name, id)]
    return [*calls, GoodCall("Watch", "client/client-1", (pb.WatchRequest(),))]


def _of_client(world: World, name: str, id: AttemptId) -> list[GoodCall]:
    caller = f"client/{name}"
    calls = [
        GoodCall("Join", caller, (world.clients[name].session.subscription().message,)),
        GoodCall("FetchModel", caller, (pb.ModelRequest(round=id.round - 1),)),
        GoodCall("FetchRoster", caller, (pb.RosterRequest(),)),
        GoodCall("OfferRoster", caller, _roster_offer(world)),
    ]
    for submission in world.given[name][-1:]:
        commit = pb.CommitRequest(commitment=signed_commitment_to_wire(submission.commitment), train_seconds=0.5)
        header, half = submit_call(submission).header, len(submission.payload) // 2
        pieces = (pb.SubmitRequest(data=submission.payload[:half]), pb.SubmitRequest(data=submission.payload[half:]))
        calls += [GoodCall("Commit", caller, (commit,)), GoodCall("Submit", caller, (header, *pieces))]
    return calls


def _roster_offer(world: World) -> tuple[Message, ...]:
    """Return an offer of the roster that the aggregator has, as if it were newer."""
    raw = world.aggregator.run.context.identity.roster.raw
    header = pb.RosterHeader(version=1000, length=len(raw), sha256=digest(raw))
    return pb.RosterOffer(header=header), pb.RosterOffer(data=raw)


def _of_holder(world: World, name: str, id: AttemptId) -> list[GoodCall]:
    session, caller = world.holders[name].session, f"keyholder/{name}"
    keys = session.holder.unused_keys(world.settings.scheme, world.settings.key_bits)[:3]
    named: dict[str, Any] = {"run": id.run, "round": id.round, "attempt": id.attempt}
    answer = secrets.token_bytes(_answer_bytes(world, id))
    header = pb.ReleaseHeader(**named, length=len(answer), sha256=digest(answer))
    state = ledger_to_wire(LedgerState(session.holder.ledger.head, session.holder.life))
    signed = {**named, "signature": secrets.token_bytes(64), "ledger": state}
    about, vouch = session.holder.vouch_for(_other_start(world, name))
    vouched = pb.SignedVouch(holder=name, vouch=vouch.body, signature=vouch.signature)
    make: dict[str, Callable[[], Message]] = {
        "Attend": lambda: session.subscription().message,
        "OfferKeys": lambda: pb.KeyOffer(**named, keys=map(signed_key_to_wire, keys)),
        "VouchFor": lambda: pb.Vouching(about=about, vouch=vouched),
        "Serve": lambda: pb.ServeRequest(),
        "SignList": lambda: pb.ListSignature(**signed),
        "SignRequest": lambda: pb.RequestSignature(**signed, seconds=0.1, exposure="too similar"),
        "FetchSubmissions": lambda: pb.SubmissionsRequest(**named, clients=["client-1"]),
        "FetchOpenedSum": lambda: pb.OpenedSumRequest(**named),
        "EndorseModel": lambda: pb.ModelEndorsement(**signed),
        "DeclineTask": lambda: pb.Decline(**named, reason="too_similar", sentence="too similar"),
    }
    if not session.agreement.complete:  # the aggregator would ask what this holder then declines
        del make["Serve"]
    calls = [GoodCall(call, caller, (made(),)) for call, made in make.items()]
    return [*calls, GoodCall("Release", caller, (pb.ReleaseRequest(header=header), pb.ReleaseRequest(data=answer)))]


def _other_start(world: World, name: str) -> Signed:
    """Return what another key holder said when it started."""
    other = next(holder for holder in world.holders if holder != name)
    return world.holders[other].session.agreement.start


def _answer_bytes(world: World, id: AttemptId) -> int:
    """Return the length that a share of the opening has, if this sum is being opened."""
    attempt = world.aggregator.run.attempt_in(states.Releasing, id)
    return 96 if attempt is None else attempt.answer_bytes
