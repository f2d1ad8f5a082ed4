"""What a party in this process has been told and has not read yet: a stream that can be read without waiting."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

from server.audience import Outbox

M = TypeVar("M")


class Inbox(Outbox[M], Generic[M]):
    """The aggregator's end of a stream, whose other end is read by hand."""

    ended: bool = False  # set by hand, where Outbox has a property

    def __init__(self, instance: bytes) -> None:
        super().__init__(instance)
        self.unread: deque[M] = deque()

    def push(self, message: M) -> None:
        self.unread.append(message)

    def close(self) -> None:
        self.ended = True

    @property
    def silent(self) -> bool:
        """Whether there is nothing to read, not even the end."""
        return not self.unread and not self.ended
