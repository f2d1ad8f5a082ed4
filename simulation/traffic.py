"""Messages of an in-process federation, to be printed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message

from core.errors import Refused
from core.wire.calls import Ask, Download, Upload


@dataclass(frozen=True)
class Traffic:
    """One message: when it was sent (seconds of the federation's clock), by whom, to whom, and what it is.

    `content` is a call of a party, what the aggregator pushed, or the reply or refusal of a call.
    """

    seconds: float
    sender: str
    receiver: str
    content: Any

    def __str__(self) -> str:
        return f"{self.seconds:7.2f} s  {self.sender:>11} -> {self.receiver:11}  {described(self.content)}"


def described(content: object) -> str:
    """Name a message and its size."""
    match content:
        case Ask(method=method, message=message):
            return f"{method}, {message.ByteSize()} bytes"
        case Upload(method=method, payload=payload):
            return f"{method}, {len(payload)} bytes"
        case Download(method=method):
            return method
        case Refused() as refusal:
            return f"refused: {refusal.reason.value}"
        case (Message(), bytes() as payload):
            return f"payload, {len(payload)} bytes"
        case Message():
            return f"{_kind(content)}, {content.ByteSize()} bytes"
    return type(content).__name__


def _kind(message: Message) -> str:
    pushed = [message.WhichOneof(choice.name) for choice in message.DESCRIPTOR.oneofs]
    name = next((kind for kind in pushed if kind), None)
    return type(message).__name__ if name is None else "".join(word.capitalize() for word in name.split("_"))
