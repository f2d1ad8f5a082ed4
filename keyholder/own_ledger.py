"""Which ledger belongs to a key holder: a small file in its identity folder says so, and a lock keeps a second one out.

The ledger itself is in the state folder, and a holder that is started with another state folder, or with an empty one,
would begin a new ledger without knowing what it has signed. So it is refused, unless a new ledger is asked for.
"""

from __future__ import annotations

import fcntl
import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from core.errors import DataError, SettingsError, StorageError
from core.identity import strict_json
from core.identity.files import SECRET, read_file, write_file
from core.identity.party import PartyIdentity
from keyholder.ledger import FILE, LEDGER_ENTRIES, Ledger, LedgerId

OWN_LEDGER = "ledger.json"
LOCK = "ledger.lock"
_FIELDS = {"ledger": str, "base": int, "folder": str}


class OwnLedger:
    """The ledger of the key holder `identity` in the folder `state`, for this process alone.

    Args:
        new: begin a new ledger, in the place of the one that belongs to the holder; what is in `state` is set aside.

    Attributes:
        begun: whether a new ledger was begun in the place of one that is lost.

    Raises StorageError if another process runs as this holder, or the disk is in the way; SettingsError if the ledger
    in `state` is missing or another one.
    """

    def __init__(self, identity: PartyIdentity, state: Path, *, new: bool = False) -> None:
        self._lock = _lock(identity)
        try:
            self.ledger, self.begun = _opened(identity, state, new)
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> OwnLedger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the ledger, and let go of the lock."""
        self.ledger.close()
        self._lock.close()


def _opened(identity: PartyIdentity, state: Path, new: bool) -> tuple[Ledger, bool]:
    card = identity.folder / OWN_LEDGER
    known = _read(card) if card.exists() else None
    there = (state / FILE).exists()
    if known is None:
        return _kept(Ledger(state), card, state), False
    if new:
        _set_aside(state)
        lost = LedgerId(bytes.fromhex(known["ledger"]), known["base"])
        return _kept(Ledger(state, LedgerId.new(lost.base // LEDGER_ENTRIES + 1)), card, state), True
    if not there:
        raise SettingsError(
            f"the ledger of {identity.name} is not in {state}; it was last in {known['folder']}: start where it is, or "
            "give its folder with --state; if it is lost, start once with --new-ledger"
        )
    ledger = Ledger(state)
    if ledger.id.id.hex() != known["ledger"]:
        ledger.close()
        raise SettingsError(
            f"the ledger in {state} is not that of {identity.name}, which was last in {known['folder']}: give its "
            "folder with --state; if it is lost, start once with --new-ledger"
        )
    return _kept(ledger, card, state), False


def _set_aside(state: Path) -> None:
    """Rename the files of a ledger that is not to be used any more."""
    mark = secrets.token_hex(4)
    for end in ("", "-wal", "-shm"):
        with suppress(FileNotFoundError):
            (state / f"{FILE}{end}").rename(state / f"old-{mark}-{FILE}{end}")


def _kept(ledger: Ledger, card: Path, state: Path) -> Ledger:
    """Write down which ledger it is and where, before anything is signed with it."""
    content = {"ledger": ledger.id.id.hex(), "base": ledger.id.base, "folder": str(state.resolve())}
    try:
        if not card.exists() or _read(card) != content:
            write_file(card, json.dumps(content, indent=2, allow_nan=False).encode() + b"\n", SECRET)
    except BaseException:
        ledger.close()
        raise
    return ledger


def _read(card: Path) -> dict[str, Any]:
    content = strict_json.fields(strict_json.parse(read_file(card, 1 << 16), str(card)), str(card), _FIELDS)
    if len(strict_json.from_hex(content["ledger"], f"the ledger in {card}")) != 16 or content["base"] < 0:
        raise DataError(f"{card} does not name a ledger")
    return content


def _lock(identity: PartyIdentity) -> TextIO:
    """Keep a second process of the same key holder out, wherever its state is."""
    try:
        lock = (identity.folder / LOCK).open("w")
    except OSError as error:
        raise StorageError(f"{identity.folder / LOCK} cannot be written: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.close()
        raise StorageError(
            f"another process runs as {identity.name} with the identity {identity.folder}; stop it first"
        ) from error
    return lock
