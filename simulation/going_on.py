"""Go on with an interrupted federation of processes: its parties start again from their own folders.

What the parties had completed counts. An attempt that clients were still committing or uploading to is given up, for
clients do not keep what they committed to; the next attempt draws the same clients, so the model stays the same.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from core.errors import SettingsError, StorageError
from server.records import FILE as DATABASE
from server.recovery import INTERRUPTED
from server.store import Store
from simulation.federation import Federation

ENDING_SECONDS = 30.0
"""How long processes of the interrupted simulation may take to end."""
WITH_CLIENTS = ("committing", "closing", "uploading")


def go_on(federation: Federation) -> Federation:
    """Return the federation as one that goes on from what its folder holds; as it is if no party has started yet.

    Raises StorageError if a process of the interrupted simulation still runs, SettingsError if its run has ended.
    """
    out = federation.out
    if not (out / "federation").exists():
        return federation
    wait_for_parties(out)
    if not (out / "server" / DATABASE).exists():
        return replace(federation, goes_on=True)
    store = Store(out / "server")
    try:
        return replace(federation, goes_on=True, rounds_before=give_up_waiting(store, out))
    finally:
        store.close()


def give_up_waiting(store: Store, out: Path) -> int:
    """Give up an attempt that waits for clients, and return how many rounds are completed.

    Raises SettingsError if there are runs in the aggregator's folder in `out`, and none could go on.
    """
    unfinished = store.unfinished_run()
    if unfinished is None:
        if store.has_runs():
            raise SettingsError(f"the aggregator's database in {out / 'server'} has no run that could go on")
        return 0
    attempt = store.last_attempt(unfinished.run)
    if attempt is not None and attempt.state in WITH_CLIENTS:
        store.abandon_attempt(attempt.id, INTERRUPTED)
    return len(store.history(unfinished.run))


def ending_of(folder: Path) -> tuple[str, str]:
    """Return how the aggregator's run in a simulation's folder stands, and its closing message.

    That is running, completed or failed; running too if it has not begun.
    """
    if not (folder / "server" / DATABASE).exists():
        return "running", ""
    wait_for_parties(folder)
    store = Store(folder / "server")
    try:
        return store.last_ending() or ("running", "")
    finally:
        store.close()


def wait_for_parties(folder: Path) -> None:
    """Wait until no process of a simulation that was killed holds its files any more. Raises StorageError."""
    until = time.monotonic() + ENDING_SECONDS
    for lock in sorted(_locks(folder)):
        while _is_held(lock):
            if time.monotonic() > until:
                raise StorageError(f"{lock.parent} is in use by a process of the interrupted simulation; end it first")
            time.sleep(0.1)


def _locks(folder: Path) -> Iterator[Path]:
    yield from folder.glob("*/lock")
    yield from (folder / "federation").glob("**/lock")


def _is_held(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
