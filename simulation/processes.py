"""Start the parties as processes of their own, notice when one dies, and leave none behind."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from core.errors import RunFailedError, StorageError
from core.threads import ONE_THREAD

START_SECONDS = 60.0
STOP_SECONDS = 20.0
"""Time for the parties to end in order; the aggregator writes the results of the rounds there were."""
TOLD = "the run ended:"
"""The start of the last sentence of clients and key holders when the aggregator says that the run failed."""
FULL_DISK_BYTES = 65536
_THE = {"server": "the aggregator", "dealer": "the dealer of the round keys"}

ROOT = Path(__file__).resolve().parent.parent
COMMAND_ROOM = 4000
"""Bytes for the command line that a party shows instead of that of the process it was forked from."""
ONE_HEAP = {"MALLOC_ARENA_MAX": "1"}
"""For glibc: else each of the seven threads that a party has with gRPC gets a heap of its own, most of it empty."""
_FORKS = sys.platform == "linux"
PREFIX: tuple[str, ...] = ()
"""Put before the arguments of each party; benchmarks put a module of their own here, which runs the rest."""


class Process(Protocol):
    """A running process."""

    @property
    def returncode(self) -> int | None:
        """Its exit code once it has ended; minus the number of the signal, if one ended it."""

    async def wait(self) -> int:
        """Return the exit code when it has ended."""

    def terminate(self) -> None:
        """Ask it to end in order."""

    def kill(self) -> None:
        """End it for certain."""


@dataclass(frozen=True)
class Party:
    """A running process and the file that its output goes to."""

    name: str
    process: Process
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


class Starter(Protocol):
    """A way to start parties."""

    async def start(self, name: str, arguments: Sequence[str], log: Path) -> Process:
        """Start `python -m ARGUMENTS` with its output in a log. Raises OSError if the log cannot be written."""


class Spawner:
    """Starts each party as a new interpreter, where a system has no safe fork."""

    async def start(self, name: str, arguments: Sequence[str], log: Path) -> Process:  # noqa: ARG002
        """Start `python -m ARGUMENTS` with its output in a log. Raises OSError if the log cannot be written."""
        with log.open("wb") as output:
            return await asyncio.create_subprocess_exec(
                *_interpreter("simulation.child"),
                *arguments,
                stdin=asyncio.subprocess.PIPE,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                env=_environment(),
                start_new_session=True,  # Ctrl-C is for the simulation alone, which then ends its parties in order
            )


class Forked:
    """A party that the fork server has started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.ended = asyncio.Event()

    async def wait(self) -> int:
        """Return its exit code when it has ended; minus the number of the signal, if one ended it."""
        await self.ended.wait()
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """Ask it to end in order."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it for certain."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)


class ForkProcess:
    """The process that parties are forked from, started at once, and the pipe that they end with."""

    def __init__(self) -> None:
        reader, self._life = os.pipe()
        try:
            self.process = subprocess.Popen(
                [*_interpreter("simulation.fork_server"), str(reader), "-" * COMMAND_ROOM],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=_environment(),
                pass_fds=(reader,),
                start_new_session=True,
            )
        finally:
            os.close(reader)

    def end(self) -> None:
        """Let it and its parties end."""
        os.close(self._life)
        assert self.process.stdin is not None
        self.process.stdin.close()


_AHEAD: list[ForkProcess] = []


def start_ahead() -> None:
    """Start what the first ForkServer of this process will need, so that it gets ready in the meantime."""
    if _FORKS and not PREFIX:
        _AHEAD.append(ForkProcess())
        atexit.register(_end_unused)


def _end_unused() -> None:
    for unused in _AHEAD:
        unused.process.kill()
        unused.end()
        unused.process.wait()


class ForkServer:
    """Starts parties as forks of one prepared process (simulation/fork_server.py): half the time, half the memory.

    Use it as `async with ForkServer() as starter`.
    """

    def __init__(self) -> None:
        self._parties: dict[str, Forked] = {}
        self._starting: dict[str, asyncio.Future[Forked]] = {}
        self._said = asyncio.StreamReader()

    async def __aenter__(self) -> ForkServer:
        self._forks = _AHEAD.pop() if _AHEAD else ForkProcess()
        loop = asyncio.get_running_loop()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self._said), self._forks.process.stdout)
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forks.end()
        await self._listening
        await asyncio.to_thread(self._forks.process.wait)

    async def start(self, name: str, arguments: Sequence[str], log: Path) -> Process:
        """Start `python -m ARGUMENTS` with its output in a log.

        Raises OSError if the log cannot be written, RunFailedError if the process that parties are forked from is gone.
        """
        log.open("wb").close()
        command = {"name": name, "arguments": list(arguments), "log": str(log)}
        assert self._forks.process.stdin is not None
        try:
            self._forks.process.stdin.write(json.dumps(command, allow_nan=False).encode() + b"\n")
        except BrokenPipeError:
            raise _no_longer_starting() from None
        self._starting[name] = asyncio.get_running_loop().create_future()
        return await self._starting[name]

    async def _listen(self) -> None:
        """Note what the fork server says of its parties; if it dies, they do too, and nothing more is heard of them."""
        async for line in self._said:
            event = json.loads(line)
            if "pid" in event:
                party = self._parties[event["name"]] = Forked(event["pid"])
                waiting = self._starting.pop(event["name"])
                if waiting.cancelled():  # Ctrl-C came in between, and nobody else knows of this party
                    party.terminate()
                else:
                    waiting.set_result(party)
            else:
                self._end(event["name"], event["code"])
        for waiting in (each for each in self._starting.values() if not each.cancelled()):
            waiting.set_exception(_no_longer_starting())
        for name in self._parties:
            self._end(name, -signal.SIGKILL)

    def _end(self, name: str, code: int) -> None:
        party = self._parties[name]
        if party.returncode is None:
            party.returncode = code
            party.ended.set()


def _no_longer_starting() -> RunFailedError:
    return RunFailedError("the process that starts parties has ended")


def starter() -> contextlib.AbstractAsyncContextManager[Starter]:
    """Return the fastest safe way to start parties on this system."""
    forks = _FORKS and not PREFIX  # a benchmark's module must run before anything is imported
    return ForkServer() if forks else contextlib.nullcontext(Spawner())


def _interpreter(module: str) -> tuple[str, ...]:
    # -P: else a server.py in the current folder would be taken for ours
    return (sys.executable, "-P", "-m", module)


def _environment() -> dict[str, str]:
    return {**ONE_HEAP, **os.environ, **ONE_THREAD, "PYTHONUNBUFFERED": "1", "PYTHONPATH": import_path()}


async def start(by: Starter, name: str, arguments: Sequence[str], logs: Path) -> Party:
    """Start `python -m ARGUMENTS` with its output in `logs`/name.log."""
    log = logs / f"{name}.log"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        process = await by.start(name, [*PREFIX, *arguments], log)
    except OSError as error:
        raise StorageError(f"the log {log} cannot be written: {error.strerror}") from error
    return Party(name, process, log)


async def died(party: Party) -> None:
    """Return when a party has ended by its own fault; never if it ended normally or because the run has failed."""
    code = await party.process.wait()
    if code == 0 or party.last_words().startswith(TOLD):
        await asyncio.Event().wait()


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


def import_path() -> str:
    """Return the PYTHONPATH of processes that import this package."""
    return os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
