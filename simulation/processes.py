"""Start the parties as processes of their own, notice when one dies, and leave none behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import RunFailedError, StorageError
from core.threads import ONE_THREAD

START_SECONDS = 60.0
STOP_SECONDS = 20.0
"""Time for the parties to end in order; the aggregator writes the results of the rounds there were."""
TOLD = "the run ended:"
"""How clients and key holder begin their last sentence when the aggregator told them that the run failed."""
FULL_DISK_BYTES = 65536
_THE = {"server": "the aggregator", "dealer": "the dealer of the round keys"}

ROOT = Path(__file__).resolve().parent.parent
CHILD = "simulation.child"
"""The module that runs a party; benchmarks put one of their own here."""


@dataclass(frozen=True)
class Party:
    """A running process and the file that its output goes to."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_words(self) -> str:
        """Return what the party said last about why it ended: its own error sentence, or how the system ended it."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines() if self.log.exists() else []
        for line in reversed(lines):
            if line.startswith("error: "):
                return line.removeprefix("error: ")
        if shutil.disk_usage(self.log.parent).free < FULL_DISK_BYTES:
            return f"the disk of {self.log.parent} is full"
        code = self.process.returncode
        if code is not None and code < 0:
            return f"it was ended by signal {signal.Signals(-code).name}"
        return f"it ended with exit code {code}; its log is {self.log}"


async def died(party: Party) -> None:
    """Return when a party has ended by a fault of its own; never if in order, or because the run has failed."""
    code = await party.process.wait()
    if code == 0 or party.last_words().startswith(TOLD):
        await asyncio.Event().wait()


async def start(name: str, module: str, arguments: Sequence[str], logs: Path) -> Party:
    """Start `python -m module arguments` with its output in `logs`/name.log."""
    log = logs / f"{name}.log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        output = log.open("wb")
    except OSError as error:
        raise StorageError(f"the log {log} cannot be written: {error.strerror}") from error
    with output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # else a server.py in the current folder would be taken for ours
            "-m",
            CHILD,
            module,
            *arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1", "PYTHONPATH": _import_path()},
            start_new_session=True,  # Ctrl-C is for the simulation alone, which then ends its parties in order
        )
    return Party(name, process, log)


async def said(party: Party, prefix: str) -> str:
    """Wait until a party says a line that begins so, and give the rest of it.

    Raises RunFailedError if it ends before.
    """
    for _ in range(int(START_SECONDS / 0.05)):
        ended = party.process.returncode is not None
        for line in party.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith(prefix):
                return line.removeprefix(prefix).strip()
        if ended:
            raise RunFailedError(f"{_THE[party.name]} did not start: {party.last_words()}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(party.process.wait(), 0.05)
    raise RunFailedError(f"{_THE[party.name]} was not ready within {START_SECONDS:g} seconds; its log is {party.log}")


async def stop(parties: Iterable[Party]) -> None:
    """End every party that still runs: first politely, then for certain."""
    running = [party.process for party in parties if party.process.returncode is None]
    for process in running:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    ended = asyncio.gather(*(process.wait() for process in running))
    try:
        await asyncio.wait_for(asyncio.shield(ended), STOP_SECONDS)
    except TimeoutError:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await ended


def _import_path() -> str:
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
