"""A prepared process from which parties are forked: everything is imported once, and its memory is shared.

python -m simulation.fork_server LIFE ROOM        (started by simulation/processes.py only)

It reads one JSON line for each party to start and writes one when a party ends. Nothing of gRPC is made here, and there
are no threads, so that a fork is safe. LIFE is the reading end of a pipe that no one writes to: parties read from it,
and end when the simulation that holds the other end is gone, however that came about. ROOM is
filling: parties write their own command lines over that of this process.
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import atexit
import ctypes
import gc
import importlib
import json
import os
import runpy
import select
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from core.commands import command_of
from core.heap import return_freed_memory

if TYPE_CHECKING:
    from core.program import Program

GRACE_SECONDS = 5.0


def main() -> None:
    """Serve until standard input closes."""
    life = int(sys.argv[1])
    programs = importlib.import_module("simulation.rehearsal").rehearse()
    gc.collect()
    return_freed_memory()
    gc.freeze()  # the collector would write to what is shared
    reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # they are for the simulation, which ends its parties in order
    signal.set_wakeup_fd(writer)
    names: dict[int, str] = {}
    commands = os.fdopen(0, "rb", buffering=0, closefd=False)
    while True:
        ready = select.select([0, reader], [], [])[0]
        if reader in ready:
            os.read(reader, 4096)
        _report_ended(names)
        if 0 in ready:
            line = commands.readline()
            if not line:
                return
            command = json.loads(line)
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                _become(programs, command["arguments"], command["log"], life)
            names[pid] = command["name"]
            _say({"name": command["name"], "pid": pid})


def _report_ended(names: dict[int, str]) -> None:
    while names:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        _say({"name": names.pop(pid), "code": os.waitstatus_to_exitcode(status)})


def _say(event: dict[str, object]) -> None:
    """Tell the simulation; if that has gone already, standard input closes too, and this ends in order."""
    with suppress(BrokenPipeError):
        os.write(1, json.dumps(event, allow_nan=False).encode() + b"\n")


def _become(programs: Mapping[str, Program], arguments: list[str], log: str, life: int) -> NoReturn:
    """Turn this fork into a party with a session and a log of its own."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        for descriptor, source in ((0, life), (1, output), (2, output)):
            os.dup2(source, descriptor)
        os.closerange(3, 64)
        sys.stdout = os.fdopen(1, "w", buffering=1, encoding=sys.stdout.encoding, errors="replace", closefd=False)
        sys.stderr = os.fdopen(2, "w", buffering=1, encoding=sys.stderr.encoding, errors="replace", closefd=False)
        _show_as([sys.executable, "-m", *arguments])
        code = run_party(arguments, programs[arguments[0]])
        atexit._run_exitfuncs()  # what an interpreter does at its end, and os._exit does not
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _show_as(words: list[str]) -> None:
    """Let the system list this process by these words, as far as there is room for them."""
    after_name = Path("/proc/self/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    start, end = int(after_name[45]), int(after_name[46])  # where the command line lies: fields 48 and 49
    if room := end - start:
        shown = b"\0".join(map(os.fsencode, words))[: room - 1]
        ctypes.memmove(start, shown.ljust(room, b"\0"), room)


def run_party(arguments: list[str], program: Callable[..., object] | None = None) -> int:
    """Run `python -m ARGUMENTS` in this process; end it when standard input closes. Returns the exit code.

    `program` is what the module's command line is, if it is there already.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.argv = list(arguments)
    try:
        if program is None:
            runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)
        else:
            program(prog_name=command_of(arguments[0]))
    except SystemExit as end:
        if isinstance(end.code, int | None):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    return 0


def _end_with_parent() -> None:
    # Not sys.stdin: its lock, held by this thread, would abort the interpreter on its way out.
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(GRACE_SECONDS)
    os._exit(1)


if __name__ == "__main__":
    main()
