"""Noise made ahead, in a thread, while a client trains or waits: what is left of encrypting is a multiplication."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from gmpy2 import mpz

from core.secagg.noise import Noise, Piece

BATCH = 32


class NoisePool:
    """Holds noise in memory until it is drawn, each piece once; what is missing is made when it is wanted.

    A copy of the pool in a forked process would hand the same noise out again, so it refuses to work there. It is
    never written anywhere, so a restart begins with none.

    Args:
        make_source: makes the source of the noise, in the pool's own thread: preparing it may take a while.
        size: how many pieces to make ahead.
    """

    def __init__(self, make_source: Callable[[], Noise], size: int) -> None:
        self._make_source = make_source
        self._to_make = size
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._ready: deque[Piece] = deque()
        self._source: Noise | None = None
        self._source_lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._fill, name="noise", daemon=True)
        self._thread.start()

    def draw(self, count: int) -> list[mpz]:
        """Return the powers of `count` pieces; see draw_known()."""
        return [power for power, _ in self.draw_known(count)]

    def draw_known(self, count: int) -> list[Piece]:
        """Return `count` pieces: those in stock, and freshly made ones for the rest.

        Raises RuntimeError in another process than the one that made the pool.
        """
        if os.getpid() != self._process:
            raise RuntimeError("a pool of noise cannot be used in a forked process: both would use the same noise")
        drawn: list[Piece] = []
        while len(drawn) < count:
            try:
                drawn.append(self._ready.popleft())
            except IndexError:
                share = min(BATCH, count - len(drawn))
                self._claim(share)
                drawn += self._get_source().draw_known(share)
        return drawn

    def power_of_roots(self, known: Sequence[int], exponents: Sequence[int]) -> mpz:
        """Return the product of root^exponent mod n, for pieces that this pool has handed out."""
        return self._get_source().power_of_roots(known, exponents)

    def wait(self) -> None:
        """Wait until the pool is full."""
        self._thread.join()

    def close(self) -> None:
        """Stop filling, and forget what was not drawn."""
        self._closed.set()
        self._thread.join()
        self._ready.clear()

    def _fill(self) -> None:
        source = self._get_source()
        while not self._closed.is_set() and (share := self._claim(BATCH)):
            self._ready.extend(source.draw_known(share))

    def _claim(self, most: int) -> int:
        """Reserve some of what is still to be made, so that no other thread makes it too; return how much."""
        with self._lock:
            share = min(most, self._to_make)
            self._to_make -= share
            return share

    def _get_source(self) -> Noise:
        with self._source_lock:
            if self._source is None:
                self._source = self._make_source()
            return self._source
