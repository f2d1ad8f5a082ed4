"""Start a simulation from the page's form, and stop it: the command that a person would type, with bounded values."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections import deque
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from core.errors import SettingsError
from core.finite_json import dumps
from core.settings.setting import Bounds, Setting, Settings
from core.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
MOST_AT_A_TIME = 2
MOST_LINES, LONGEST_LINE = 200, 2000
DRY_SECONDS = 60.0
SCHEMES = ("paillier", "damgard-jurik", "plain")
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

IN_WORDS = {int: "a whole number", float: "a number", str: "a text"}


@dataclass(frozen=True, kw_only=True)
class Wanted(Settings):
    """The few settings that matter for a first run. Raises SettingsError when made with others."""

    task: Annotated[str, Setting("What to learn.")] = "spam"
    clients: Annotated[int, Setting("How many clients.", "clients", Bounds(at_least=2, at_most=100))] = 5
    rounds: Annotated[int, Setting("How many rounds.", "rounds", Bounds(at_least=1, at_most=100))] = 5
    scheme: Annotated[str, Setting("How updates are encrypted.")] = "paillier"
    key_bits: Annotated[int, Setting("Size of a round's key.", "bits", Bounds(at_least=2048, at_most=4096))] = 2048
    noise: Annotated[float, Setting("Noise multiplier; 0 for none.", "", Bounds(at_least=0, at_most=20))] = 0.0
    seed: Annotated[int, Setting("Of all that is random in learning.", "", Bounds(at_least=0, at_most=2**31))] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, value, known in (("task", self.task, tuple(TASKS)), ("scheme", self.scheme, SCHEMES)):
            if value not in known:
                raise SettingsError(f"--{name} is {value[:40]!r}; known are {', '.join(known)}")

    @property
    def arguments(self) -> list[str]:
        """The options of `python -m simulation`."""
        noise = ["--clip-norm", "1", "--noise-multiplier", f"{self.noise:g}", "--delta", "1e-5"] if self.noise else []
        return [
            "--task", self.task, "--clients", str(self.clients), "--rounds", str(self.rounds), "--scheme", self.scheme,
            "--key-bits", str(self.key_bits), "--seed", str(self.seed), *noise,
        ]  # fmt: skip


def wanted_from(content: object) -> Wanted:
    """Read a form. Raises SettingsError for a field that is unknown or of another type."""
    if not isinstance(content, dict):
        raise SettingsError('the form is not an object; expected one such as {"clients": 5, "rounds": 5}')
    kinds = {each.name: type(each.default) for each in fields(Wanted)}
    for name, value in content.items():
        if name not in kinds:
            raise SettingsError(f"the form has a field {str(name)[:40]!r}; known are {', '.join(kinds)}")
        good = isinstance(value, int | float) if kinds[name] is float else isinstance(value, kinds[name])
        if not good or isinstance(value, bool):
            shown = str(value) if isinstance(value, float) else dumps(value)
            raise SettingsError(f"the form's {name} is {shown[:40]}; expected {IN_WORDS[kinds[name]]}")
    return Wanted(**content)


@dataclass
class Started:
    """A simulation that was started here."""

    name: str
    process: asyncio.subprocess.Process
    lines: deque[str] = field(default_factory=lambda: deque(maxlen=MOST_LINES))
    reading: asyncio.Task[None] | None = None

    def said(self) -> dict[str, Any]:
        """Return how it goes."""
        return {
            "id": self.name,
            "running": self.process.returncode is None,
            "exit_code": self.process.returncode,
            "lines": list(self.lines)[-12:],
        }


class Starter:
    """Starts and stops simulations in the folder of runs."""

    def __init__(self, runs: Path) -> None:
        self._runs = runs
        self._all: dict[str, Started] = {}

    def said(self) -> list[dict[str, Any]]:
        """Return all that were started here, the newest first."""
        return [each.said() for each in reversed(self._all.values())]

    async def start(self, wanted: Wanted) -> Started:
        """Start one. Raises SettingsError if enough are running."""
        running = [each.name for each in self._all.values() if each.process.returncode is None]
        if len(running) >= MOST_AT_A_TIME:
            raise SettingsError(f"{' and '.join(running)} are running; stop one of them first")
        name = self._free_name(f"{wanted.task}-{time.strftime('%Y%m%d-%H%M%S')}")
        process = await _spawn(*wanted.arguments, "--out", str(self._runs / name))
        started = self._all[name] = Started(name, process)
        started.reading = asyncio.create_task(_read(started))
        return started

    def stop(self, name: str) -> bool:
        """Ask a simulation that was started here to end in order; return whether there is one."""
        started = self._all.get(name)
        if started is None or started.process.returncode is not None:
            return False
        started.process.send_signal(signal.SIGINT)
        return True

    async def close(self) -> None:
        """End all of them in order."""
        running = [each for each in self._all.values() if self.stop(each.name)]
        await asyncio.gather(*(each.process.wait() for each in running))

    def _free_name(self, name: str) -> str:
        names = [name, *(f"{name}-{number}" for number in range(2, 1000))]
        return next(each for each in names if each not in self._all and not (self._runs / each).exists())


async def dry_run(wanted: Wanted) -> dict[str, Any]:
    """Return what a run would cost by `python -m simulation --dry-run --json`, where that is known."""
    process = await _spawn(*wanted.arguments, "--dry-run", "--json")
    try:
        async with asyncio.timeout(DRY_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        return {"available": False, "why": f"no answer within {DRY_SECONDS:g} seconds"}
    text = output.decode("utf-8", "replace")
    with contextlib.suppress(ValueError):
        figures = json.loads(text)
        if process.returncode == 0 and isinstance(figures, dict):
            return {"available": True, "figures": figures}
    errors = [line.removeprefix("error: ") for line in text.splitlines() if line.startswith("error: ")]
    return {"available": False, "why": errors[-1] if errors else "this version makes no dry runs"}


async def _spawn(*arguments: str) -> asyncio.subprocess.Process:
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return await asyncio.create_subprocess_exec(
        # -P: else a server.py in the current folder would be taken for ours
        sys.executable, "-P", "-m", "simulation", *arguments,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        limit=LONGEST_LINE * 100, start_new_session=True,
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", "GROKFED_PARENT": str(os.getpid())},
    )  # fmt: skip


async def _read(started: Started) -> None:
    assert started.process.stdout is not None
    with contextlib.suppress(ValueError):  # a line without an end
        async for line in started.process.stdout:
            started.lines.append(line.decode("utf-8", "replace").rstrip()[:LONGEST_LINE])
    await started.process.wait()
