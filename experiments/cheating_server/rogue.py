"""The dishonest aggregator's side of the wire: it sends anything to any party, and keeps what it hears.

It keeps to none of the rules of an aggregator; it only speaks the protocol's messages. Every answer of a party, and
every refusal, comes out of `hear`.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc

from core.identity.certificates import peer_from_uris
from core.identity.party import PartyIdentity
from core.protocol import HolderSignature, digest
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.streams import model_bytes, model_chunks, payload_chunks
from experiments.arrays import FloatArray
from experiments.cheating_server.honest import Ended

ANSWER_SECONDS = 60.0
THREADS = 32
_OPTIONS = (("grpc.so_reuseport", 0),)


class PartyRefusedError(Exception):
    """An honest party refused.

    Attributes:
        party: who.
        reason: the name of the check.
    """

    def __init__(self, party: str, reason: str, message: str) -> None:
        super().__init__(f"{party} refuses ({reason}): {message}")
        self.party, self.reason, self.message = party, reason, message


@dataclass(frozen=True)
class Answer:
    """Something a party sent.

    Attributes:
        kind: here, serve, roster, commitment, update, keys, list, request, share, model, declined.
        content: the message; bytes for an update and a share.
    """

    party: str
    kind: str
    content: Any


@dataclass
class Served:
    """What callers may fetch, by kind; a function depends on the caller.

    Attributes:
        models: by round.
        endorsements: of those models, by round.
        updates: by client.
        opened: the opened sum, as bytes.
        roster: a roster file.
    """

    models: dict[int, Callable[[str], FloatArray]] = field(default_factory=dict)
    endorsements: dict[int, tuple[HolderSignature, ...]] = field(default_factory=dict)
    updates: dict[str, bytes] = field(default_factory=dict)
    opened: bytes = b""
    roster: bytes = b""


class Rogue:
    """Listens on a port of the loopback with the aggregator's own certificate."""

    def __init__(self, identity: PartyIdentity, run: str) -> None:
        self.identity = identity
        self.run = run
        self.served = Served()
        self._answers: queue.Queue[Answer | Ended] = queue.Queue()
        self._streams: dict[str, queue.Queue[Any]] = {}
        self._server = grpc.server(ThreadPoolExecutor(THREADS), options=_OPTIONS)
        rpc.add_FederationServicer_to_server(_Clients(self), self._server)
        rpc.add_KeyHoldingServicer_to_server(_Holders(self), self._server)
        rpc.add_MembershipServicer_to_server(_Rosters(self), self._server)
        credentials = grpc.ssl_server_credentials(
            [(identity.tls_key_pem, identity.certificate_pem)],
            root_certificates=identity.authority_pem,
            require_client_auth=True,
        )
        self._port = self._server.add_secure_port("127.0.0.1:0", credentials)
        self._server.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def push(self, party: str, message: object) -> None:
        """Send a notice to a client, or a task to a key holder."""
        self._streams[party].put(message)

    def vouched(self, about: str, vouch: pb.SignedVouch) -> None:
        """Tell an honest key holder what another one knows of it."""
        if about in self._streams:
            self.push(about, pb.HolderTask(vouched=vouch))

    def record(self, answer: Answer | Ended) -> None:
        """Record what a party sent, or that it ended, for `hear`."""
        self._answers.put(answer)

    def hear(self, kind: str, parties: Iterable[str]) -> dict[str, Any]:
        """Return what each of the parties answers, by name.

        Raises PartyRefusedError for the first that declines, or ends with an error instead.
        """
        waiting, found = set(parties), {}
        while waiting:
            answer = self._answers.get(timeout=ANSWER_SECONDS)
            if isinstance(answer, Ended) and answer.error is None:
                continue  # it was told that the run is over
            if isinstance(answer, Ended):
                raise PartyRefusedError(answer.party, answer.reason, str(answer.error))
            if answer.kind == "declined":
                raise PartyRefusedError(answer.party, answer.content.reason, answer.content.sentence)
            if answer.kind == kind and answer.party in waiting:
                waiting.remove(answer.party)
                found[answer.party] = answer.content
        return found

    def dismiss(self, party: str) -> None:
        """Tell one party that the run is over, and wait until its program has ended."""
        self.push(party, _ended(party))
        self.push(party, None)
        while True:
            answer = self._answers.get(timeout=ANSWER_SECONDS)
            if isinstance(answer, Ended) and answer.party == party:
                return

    def end(self) -> None:
        """Tell all parties that the run is over."""
        self.end_for(self._streams)

    def end_for(self, parties: Iterable[str]) -> None:
        """Tell these parties that the run is over, so that their programs end."""
        ended = pb.RunEnded(completed=True, sentence="that was all")
        for party in parties:
            client = party.startswith("client")
            self.push(party, pb.Notice(run_ended=ended) if client else pb.HolderTask(run_ended=ended))
            self.push(party, None)

    def close(self) -> None:
        self._server.stop(grace=1.0).wait()

    def stream_of(self, context: Any) -> tuple[str, Iterator[Any]]:
        """Return the caller's name, and what is pushed to it until None is."""
        party, pushed = caller(context), queue.Queue[Any]()
        self._streams[party] = pushed
        context.add_callback(lambda: pushed.put(None))
        return party, iter(pushed.get, None)


def _ended(party: str) -> object:
    ended = pb.RunEnded(completed=True, sentence="that was all")
    return pb.Notice(run_ended=ended) if party.startswith("client") else pb.HolderTask(run_ended=ended)


def _payload(parts: Iterable[pb.SubmitRequest | pb.ReleaseRequest]) -> bytes:
    """Return what comes up in pieces, or with its header."""
    return b"".join(part.whole + part.data for part in parts)


def caller(context: Any) -> str:
    """Return the name in the caller's certificate. Every connection is mutual TLS, so there is one."""
    names = context.auth_context().get("x509_subject_alternative_name", ())
    return peer_from_uris(names).name


class _Clients(rpc.FederationServicer):
    def __init__(self, rogue: Rogue) -> None:
        self._rogue = rogue

    def Join(self, request: pb.JoinRequest, context: Any) -> Iterator[pb.Notice]:
        party, pushed = self._rogue.stream_of(context)
        yield pb.Notice(welcome=pb.Welcome(run=self._rogue.run, rounds=9))
        self._rogue.record(Answer(party, "here", request))
        yield from pushed

    def FetchModel(self, request: pb.ModelRequest, context: Any) -> Iterator[pb.Chunk]:
        served, number = self._rogue.served, request.round
        vector = served.models[number](caller(context))
        yield from model_chunks(model_bytes(vector), self._rogue.run, number, served.endorsements.get(number, ()))

    def Commit(self, request: pb.CommitRequest, context: Any) -> pb.Receipt:
        self._rogue.record(Answer(caller(context), "commitment", request.commitment))
        return pb.Receipt()

    def Submit(self, request_iterator: Iterator[pb.SubmitRequest], context: Any) -> pb.Receipt:
        payload = _payload(request_iterator)
        self._rogue.record(Answer(caller(context), "update", payload))
        return pb.Receipt(sha256=digest(payload))


class _Rosters(rpc.MembershipServicer):
    def __init__(self, rogue: Rogue) -> None:
        self._rogue = rogue

    def FetchRoster(self, request: pb.RosterRequest, context: Any) -> Iterator[pb.Chunk]:
        self._rogue.record(Answer(caller(context), "roster", request))
        yield from payload_chunks(self._rogue.served.roster)

    def OfferRoster(self, request_iterator: Iterator[pb.RosterOffer], context: Any) -> pb.Accepted:
        return pb.Accepted()


class _Holders(rpc.KeyHoldingServicer):
    def __init__(self, rogue: Rogue) -> None:
        self._rogue = rogue

    def Attend(self, request: pb.AttendRequest, context: Any) -> Iterator[pb.HolderTask]:
        party, pushed = self._rogue.stream_of(context)
        self._rogue.record(Answer(party, "here", request))
        yield from pushed

    def VouchFor(self, request: pb.Vouching, context: Any) -> pb.Accepted:
        self._rogue.vouched(request.about, request.vouch)
        return pb.Accepted()

    def Serve(self, request: pb.ServeRequest, context: Any) -> pb.Accepted:
        return self._take(context, "serve", request)

    def OfferKeys(self, request: pb.KeyOffer, context: Any) -> pb.Accepted:
        return self._take(context, "keys", request)

    def SignList(self, request: pb.ListSignature, context: Any) -> pb.Accepted:
        return self._take(context, "list", request)

    def FetchSubmissions(self, request: pb.SubmissionsRequest, context: Any) -> Iterator[pb.Chunk]:
        updates = [self._rogue.served.updates[client] for client in request.clients]
        yield from payload_chunks(b"".join(updates), pb.PayloadHeader(parts=map(len, updates)))

    def SignRequest(self, request: pb.RequestSignature, context: Any) -> pb.Accepted:
        return self._take(context, "request", request)

    def Release(self, request_iterator: Iterator[pb.ReleaseRequest], context: Any) -> pb.Accepted:
        return self._take(context, "share", _payload(request_iterator))

    def FetchOpenedSum(self, request: pb.OpenedSumRequest, context: Any) -> Iterator[pb.Chunk]:
        yield from payload_chunks(self._rogue.served.opened)

    def EndorseModel(self, request: pb.ModelEndorsement, context: Any) -> pb.Accepted:
        return self._take(context, "model", request)

    def DeclineTask(self, request: pb.Decline, context: Any) -> pb.Accepted:
        return self._take(context, "declined", request)

    def _take(self, context: Any, kind: str, content: object) -> pb.Accepted:
        self._rogue.record(Answer(caller(context), kind, content))
        return pb.Accepted()
