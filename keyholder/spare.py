"""The next key, made while the one before is in use, so that no round waits for its key."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from core.secagg.decryption import generate_decryptor
from core.secagg.scheme import Decryptor


class SpareKey:
    """Keeps one key ahead, in memory only. Each key is handed out once.

    Args:
        make: makes a key of a scheme and a number of bits.
    """

    def __init__(self, make: Callable[[str, int], Decryptor] = generate_decryptor) -> None:
        self._make = make
        self._worker = ThreadPoolExecutor(1, "spare-key")
        self._kind: tuple[str, int] | None = None
        self._next: Future[Decryptor] | None = None

    def take(self, scheme: str, bits: int) -> Decryptor:
        """Return a fresh key, and begin to make the one after it."""
        if self._next is not None and self._kind == (scheme, bits):
            key = self._next.result()
        else:
            key = self._make(scheme, bits)
        self._kind = (scheme, bits)
        self._next = self._worker.submit(self._make, scheme, bits)
        return key
