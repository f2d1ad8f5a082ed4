"""A class in a room: a teacher and students at machines, each with a folder, who type what their sheet says."""

from __future__ import annotations

import shutil
import socket
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

from faults.terminal import Machines, Terminal

LIE = "2a"
"""What a student who cheats sends: a large change that the proof does not have (the study of cheating clients)."""
_CHEAT = f"""\
#!/bin/sh
exec python3 -m experiments.cheating_client {LIE} "$@"
"""
_KEYS = ("--identity", "me", "--passphrase-file", "passphrase")


@dataclass
class Room:
    """The machines of one class, and all terminals that were opened on them.

    Attributes:
        ports: of the server, of the registrar's service and of the page.
        made: the folder that `registrar class` makes.
    """

    folder: Path
    machines: Machines
    students: int
    rounds: int
    ports: tuple[int, int, int] = (50551, 50552, 8080)
    terminals: list[Terminal] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.made = self.folder / "class"

    @property
    def names(self) -> list[str]:
        """The students who have a zip."""
        return [f"student-{number}" for number in range(1, self.students + 1)]

    @property
    def page(self) -> str:
        """Where the page is, on the teacher's machine."""
        return f"127.0.0.1:{self.ports[2]}"

    def home(self, machine: str) -> Path:
        """Return the folder of the person at a machine."""
        home = self.folder / machine
        (home / "bin").mkdir(parents=True, exist_ok=True)
        return home

    def type(self, machine: str, *words: str | Path, folder: Path | None = None) -> Terminal:
        """Let somebody type a command on a machine, in a folder of theirs."""
        home = self.home(machine)
        self.terminals.append(Terminal(self.machines, machine, words, folder or home, home / "bin"))
        return self.terminals[-1]

    def done(self, machine: str, *words: str | Path, folder: Path | None = None) -> str:
        """Let somebody type a command that is to end well, and return what it says."""
        terminal = self.type(machine, *words, folder=folder)
        code = terminal.end(60)
        said = "".join(terminal.said)
        assert code == 0, f"{' '.join(map(str, words))} ended with {code}: {said}"
        return said

    # -------------------------------------------------------------------------------- the teacher

    def make(self) -> None:
        """Make the class."""
        here = self.machines.address("teacher")
        self.registrar(
            "class", str(self.students), "--folder", self.made, "--address", f"{here}:{self.ports[0]}",
            "--registration", f"{here}:{self.ports[1]}", "--rounds", str(self.rounds), "--page", self.page,
        )  # fmt: skip

    def registrar(self, *words: str | Path) -> str:
        """Let the teacher type a command of the registrar's, and return what it says."""
        return self.done("teacher", sys.executable, "-m", "registrar", *words)

    def teach(self, *words: str) -> Terminal:
        """Let the teacher start everything but the students."""
        return self.type("teacher", "sh", self.made / "start-teacher.sh", *words)

    def revoke(self, name: str) -> None:
        """Let the teacher revoke the keys of a laptop that is lost."""
        self.registrar("revoke", self.made, name)
        shutil.copy(self.made / "registrar" / "roster.json", self.made / "parties" / "server")

    # -------------------------------------------------------------------------------- students

    def come(self, name: str) -> Terminal:
        """Let a student unpack their zip and start what is in it."""
        with zipfile.ZipFile(self.made / "zips" / f"{name}.zip") as zipped:
            zipped.extractall(self.home(name))
        return self.start(name)

    def start(self, name: str) -> Terminal:
        """Let a student start once more."""
        return self.type(name, "sh", "start.sh", folder=self.home(name) / name)

    def change_program(self, name: str) -> None:
        """Let a student put another client in the place of the real one."""
        program = self.home(name) / "bin" / "grokfed-client"
        program.write_text(_CHEAT)
        program.chmod(0o755)

    def find_laptop(self, name: str, finder: str) -> Terminal:
        """Let somebody start a student's laptop that they have found."""
        shutil.copytree(self.home(name) / name, self.home(finder) / name)
        return self.type(finder, "sh", "start.sh", folder=self.home(finder) / name)

    def throw_rubbish(self, thrower: str) -> None:
        """Let somebody send random bytes to both open ports."""
        here = self.machines.address("teacher")
        for port in self.ports[:2]:
            code = (
                f"import os, socket; s = socket.create_connection(('{here}', {port}), 10)\n"
                "try: s.sendall(os.urandom(100_000)); s.recv(1)\nexcept OSError: pass"
            )
            self.done(thrower, sys.executable, "-c", code)

    def join_without_zip(self, name: str) -> Terminal:
        """Let somebody join who was not expected, by an invitation of their own."""
        service = f"{self.machines.address('teacher')}:{self.ports[1]}"
        self.registrar("invite", name, "--federation", self.made, "--registration", service)
        shutil.copy(self.made / "invitations" / f"{name}.invitation", self.home(name))
        client = (sys.executable, "-m", "client")
        self.done(name, *client, "enroll", *_KEYS, "--invitation", f"{name}.invitation")
        return self.type(name, *client, *_KEYS, "--mail", "generated")

    def close(self) -> None:
        """Leave no process behind."""
        for terminal in self.terminals:
            terminal.close()


def free_ports() -> tuple[int, int, int]:
    """Return ports of this machine that nobody uses at the moment."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    try:
        first, second, third = (each.getsockname()[1] for each in sockets)
    finally:
        for each in sockets:
            each.close()
    return first, second, third
