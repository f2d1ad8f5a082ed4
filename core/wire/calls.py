"""What a party asks of the aggregator, as data, so that the protocol's rules need no connection.

A client or key holder is written as dialogues: generators that yield a Call, are sent its reply, and have a refusal
thrown into them. The holder of the connection carries each call: gRPC (core.wire.dialing), or a function call where all
parties are in one process (simulation.in_process).

    def fetch_model(values: int) -> Dialogue[Model]:
        header, payload = yield Download("FetchModel", pb.ModelRequest(), limit=8 * values)
        ...

    model = converse(fetch_model(8193), connection.carry)
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from core.errors import Refused
from core.server_rules import ServerModel, ServerRule
from core.wire import federation_pb2 as pb
from core.wire.streams import SHORT_BYTES, Model, model_of, pieces, read_chunks

T = TypeVar("T")
Uploaded = pb.SubmitRequest | pb.ReleaseRequest | pb.RosterOffer


@dataclass(frozen=True)
class Ask:
    """A call with one message up and one message down."""

    method: str
    message: Message


@dataclass(frozen=True)
class Upload:
    """A call with a header and a payload up, in pieces, and one message down. The repr shows no payload."""

    method: str
    header: Uploaded
    payload: bytes

    def __repr__(self) -> str:
        return f"Upload({self.method}, {len(self.payload)} bytes)"

    @property
    def single(self) -> Uploaded | None:
        """The one message with header and payload, if the payload is short."""
        if not 0 < len(self.payload) <= SHORT_BYTES:
            return None
        message = type(self.header)(whole=self.payload)
        message.MergeFrom(self.header)  # type: ignore[arg-type]  # it is of the same type
        return message

    def messages(self) -> Iterator[Uploaded]:
        """Yield the one message of a short payload; else the header, then the payload in pieces."""
        if (single := self.single) is not None:
            yield single
            return
        yield self.header
        for piece in pieces(self.payload):
            yield type(self.header)(data=piece)


@dataclass(frozen=True)
class Download:
    """A call with one message up and a payload of at most `limit` bytes down; the reply is its header and its bytes."""

    method: str
    message: Message
    limit: int


Call = Ask | Upload | Download
Dialogue = Generator[Call, Any, T]


class Conversation(Generic[T]):
    """A dialogue that is going on: `asking` is the call it waits for; None when it has ended with `result`.

    Raises whatever the dialogue raises, from the constructor on.
    """

    def __init__(self, dialogue: Dialogue[T]) -> None:
        self._dialogue = dialogue
        self.asking: Call | None = None
        self._result: T | None = None
        self._continue(lambda: next(dialogue))

    def reply(self, reply: object) -> None:
        """Hand in the reply to the call."""
        self._continue(lambda: self._dialogue.send(reply))

    def refuse(self, refusal: Refused) -> None:
        """Hand in the refusal of the call."""
        self._continue(lambda: self._dialogue.throw(refusal))

    @property
    def result(self) -> T:
        """What the dialogue came to."""
        assert self.asking is None
        return self._result  # type: ignore[return-value]  # None is a result too

    def _continue(self, resume: Callable[[], Call]) -> None:
        try:
            self.asking = resume()
        except StopIteration as end:
            self.asking, self._result = None, end.value


def converse(dialogue: Dialogue[T], carry: Callable[[Call], object]) -> T:
    """Carry a dialogue's calls until it ends, and return its result."""
    conversation = Conversation(dialogue)
    while conversation.asking is not None:
        try:
            reply = carry(conversation.asking)
        except Refused as refusal:
            conversation.refuse(refusal)
        else:
            conversation.reply(reply)
    return conversation.result


def fetch_model(values: int, round_number: int | None = None) -> Dialogue[Model]:
    """Ask for the global model after a round (without one, the newest), a vector of shape (values,)."""
    header, payload = yield Download("FetchModel", pb.ModelRequest(round=round_number), limit=8 * values)
    return model_of(header, payload, values)


def came_along(chunks: Iterable[pb.Chunk], call: Download) -> Dialogue[tuple[pb.PayloadHeader, bytes]]:
    """Return the payload that came along with a message, if one did, else ask for it.

    What came along is read as strictly as what is asked for. Raises Refused.
    """
    given = list(chunks)
    return read_chunks(given, call.limit) if given else (yield call)


def fetch_start(rule: ServerRule, values: int, round_number: int, given: Iterable[pb.Chunk] = ()) -> Dialogue[Model]:
    """Ask for what clients train from after a round: a vector of shape (rule.exchanged * values,).

    Args:
        given: what came along with the round, if it did.
    """
    request = pb.ModelRequest(round=round_number, with_state=rule.corrects_clients)
    call = Download("FetchModel", request, limit=8 * rule.exchanged * values)
    header, payload = yield from came_along(given, call)
    return model_of(header, payload, rule.exchanged * values)


def fetch_server_model(rule: ServerRule, values: int, round_number: int) -> Dialogue[ServerModel]:
    """Ask for the global model after a round, of `values` weights, with what the server's rule remembers."""
    length = values + rule.state_numbers(values)
    request = pb.ModelRequest(round=round_number, with_state=length > values)
    header, payload = yield Download("FetchModel", request, limit=8 * length)
    return ServerModel.from_vector(rule, model_of(header, payload, length).vector)
