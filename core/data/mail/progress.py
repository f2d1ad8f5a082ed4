"""Print progress while a large mailbox is read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

EVERY_SECONDS = 5.0


def to_standard_error(line: str) -> None:
    """Show a line to a person; what a program prints is for other programs."""
    print(line, file=sys.stderr, flush=True)


@dataclass
class Progress:
    """Counts mails and bytes, and says so every few seconds.

    Args:
        what: names the mailbox.
        say: takes a line.
        clock: gives seconds.
    """

    what: str
    say: Callable[[str], None] = to_standard_error
    clock: Callable[[], float] = time.monotonic
    mails: int = 0
    bytes: int = 0

    def __post_init__(self) -> None:
        self._said = self.clock()

    def read(self, count: int) -> None:
        """Take note of bytes read."""
        self.bytes += count
        self._say()

    def mail(self) -> None:
        """Take note of a mail."""
        self.mails += 1
        self._say()

    def _say(self) -> None:
        now = self.clock()
        if now - self._said >= EVERY_SECONDS:
            self._said = now
            self.say(f"reading {self.what}: {self.mails:,} mails, {self.bytes / 1e6:,.0f} MB so far")


class Silence(Progress):
    """Counts and says nothing."""

    def _say(self) -> None:
        pass
