"""The next key, made while the one before is in use, so that no round waits for its key."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future

from core.secagg.decryption import generate_decryptor
from core.secagg.scheme import Decryptor


class SpareKey:
    """Keeps one key ahead, in memory only. Each key is handed out once.

    Args:
        make: makes a key of a scheme and a number of bits.
    """

    def __init__(self, make: Callable[[str, int], Decryptor] = generate_decryptor) -> None:
        self._make = make
        self._kind: tuple[str, int] | None = None
        self._next: Future[Decryptor] | None = None

    def take(self, scheme: str, bits: int) -> Decryptor:
        """Return a fresh key, and begin to make the one after it."""
        spare, self._next = self._next, None  # whatever comes of it, it is not handed out twice
        key = spare.result() if spare is not None and self._kind == (scheme, bits) else self._make(scheme, bits)
        self._kind, self._next = (scheme, bits), Future()
        # A daemon: whoever stops the holder does not wait for a key that nobody will use.
        threading.Thread(target=self._fulfil, args=(self._next, scheme, bits), name="spare-key", daemon=True).start()
        return key

    def _fulfil(self, promise: Future[Decryptor], scheme: str, bits: int) -> None:
        try:
            promise.set_result(self._make(scheme, bits))
        except Exception as error:  # whoever asks for the key hears of it
            promise.set_exception(error)
