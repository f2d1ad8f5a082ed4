"""A class in a room: a federation whose students each get one zip, and a sheet that says what to type.

A zip holds an invitation and start scripts. A student's keys are made at the first start, on the student's own machine.
"""

from __future__ import annotations

import shlex
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from core.commands import command_of
from core.errors import SettingsError, StorageError
from core.identity.files import PUBLIC, read_file, write_file
from core.identity.invitation import ENDING
from core.identity.party import check_address
from core.who_reads import DEFAULT_HOLDERS, DEFAULT_MIN_COHORT, DEFAULT_THRESHOLD
from registrar.federation import Names, Terms, make_invitations
from registrar.folder import Founding, make_folder
from registrar.publishing import INVITED
from results.page import DEFAULT_LISTEN

ZIPS, SHEET, TEACHER = "zips", "CLASS.txt", "start-teacher.sh"
STUDENT, OBSERVER = "student", "teacher"
EXECUTABLE = 0o755
LARGEST_INVITATION = 1 << 16
MOST_STUDENTS = 200
KEYS_A_ROUND = 2
KEYS_AT_FIRST = 2

_START = """\
#!/bin/sh
# Starts {name} of the class's federation. The first start makes your own keys, in the folder "me" next to this file.
# Pass a mailbox to train on your own mail, which stays on this machine:   ./start.sh ~/archive.mbox
cd "$(dirname "$0")" || exit 1
client() {{
    if command -v grokfed-client > /dev/null; then grokfed-client "$@"; else python3 -m client "$@"; fi
}}
keys="--identity me --passphrase-file passphrase --patience 600"
client enroll --if-missing $keys --invitation {name}.invitation || exit 1
client $keys --mail "${{1:-generated}}"
"""
_START_WINDOWS = """\
@echo off
rem Starts {name} of the class's federation. The first start makes your own keys, in the folder "me" next to this file.
cd /d "%~dp0"
set "MAIL=%~1"
if "%MAIL%"=="" set "MAIL=generated"
set KEYS=--identity me --passphrase-file passphrase --patience 600
grokfed-client enroll --if-missing %KEYS% --invitation {name}.invitation
if errorlevel 1 goto end
grokfed-client %KEYS% --mail "%MAIL%"
:end
pause
"""
_READ_ME = """\
You are {name} of a federation that learns to filter spam without collecting anyone's mail.

1. Install grokfed, as your teacher says (Python 3.11 or newer).
2. Unpack this zip, and start start.sh (Linux), start.command (macOS) or start.bat (Windows).
3. Look at your teacher's screen: your lane says what your machine does.

The first start makes your own keys here; nobody else ever has them. Keep this zip to yourself: until you have started,
anyone with it can take your place. If you close the window, start again: you go on in the next round.
"""
_TEACHER = """\
#!/bin/sh
# Starts everything but the students: the registrar's service, the server, the key holders, the page. Ctrl-C ends all.
cd "$(dirname "$0")" || exit 1
run() {{
    program=$1; shift
    if command -v "grokfed-$program" > /dev/null; then exec "grokfed-$program" "$@"; fi
    exec python3 -m "$program" "$@"
}}
deal() {{  # so many round keys, of which each key holder gets its shares, and no copy stays here
    (run registrar deal . --keys "$1") >> logs/registrar.log 2>&1 || return 1
    for each in {holders}; do mv for-holders/$each/shares/* parties/$each/shares/ || return 1; done
}}
trap 'trap - INT TERM EXIT; kill 0' INT TERM EXIT
mkdir -p parties logs
(run registrar serve --federation . --listen {serve}) > logs/registrar.log 2>&1 &
echo "students can start; this machine needs a few seconds more"
for party in {parties}; do
    case $party in server) program=server;; {observer}) program=dashboard;; *) program=keyholder;; esac
    (run $program enroll --if-missing --identity parties/$party --invitation invitations/$party.invitation \\
        --patience 120) >> logs/$party.log 2>&1 &
    enrolling="$enrolling $!"
done
for each in $enrolling; do wait "$each" || {{ echo "a party could not enrol; see logs"; exit 1; }}; done
(run dashboard --runs . --identity parties/{observer} --server {address} --listen {page}) &
missing=$(({keys} - $(ls parties/{holder}/shares | wc -l)))
# The first rounds need a few keys, and the students are waiting; the other keys are made while those train.
if [ $missing -gt {few} ]; then now={few}; else now=$missing; fi
[ $now -le 0 ] || deal $now || {{ echo "no round keys could be made; see logs/registrar.log"; exit 1; }}
(run server --identity parties/server --listen {listen} --state state --out results --clients {students} \\
    --min-cohort {min_cohort} --rounds {rounds} --test generated --gather-seconds 15 "$@") > logs/server.log 2>&1 &
server=$!
for holder in {holders}; do
    (run keyholder --identity parties/$holder --state ledgers/$holder --patience 600) > logs/$holder.log 2>&1 &
done
[ $missing -le $now ] || deal $((missing - now)) || echo "not all round keys could be made; see logs/registrar.log"
if wait $server; then
    echo "the run is over; its results are in results, and the page stays until Ctrl-C"
else
    tail -n 1 logs/server.log
    echo "the run ended early; see logs/server.log. The page stays until Ctrl-C"
fi
wait
"""


@dataclass(frozen=True)
class ClassRoom:
    """What a class is made for.

    Attributes:
        address: where the teacher's server will be, HOST:PORT; students' machines must reach it.
        registration: where the registrar's service will be.
        page: where the dashboard will be, on the teacher's machine.
    """

    students: int
    address: str
    registration: str
    rounds: int
    page: str = DEFAULT_LISTEN

    def __post_init__(self) -> None:
        places = {"--address": self.address, "--registration": self.registration, "--page": self.page}
        for address, what in (
            (self.address, "the server's address"),
            (self.registration, "the registrar's address"),
            (self.page, "the page's address"),
        ):
            check_address(address, what)
        options = {int(address.rpartition(":")[2]): option for option, address in places.items()}
        for option, address in places.items():
            if (other := options[int(address.rpartition(":")[2])]) != option:
                raise SettingsError(
                    f"{option} is {address} and {other} is {places[other]}; all are on this machine, so give each a "
                    "port of its own"
                )
        if not DEFAULT_MIN_COHORT <= self.students <= MOST_STUDENTS:
            why = f"no party opens a sum of fewer than {DEFAULT_MIN_COHORT}"
            if self.students > MOST_STUDENTS:
                why = "it has a zip, a lane on the page and an update a round for each; make two classes"
            raise SettingsError(
                f"the class has {self.students} students; expected {DEFAULT_MIN_COHORT} to {MOST_STUDENTS}: {why}"
            )

    @property
    def fewer(self) -> int:
        """The students to begin with when some do not come: three quarters of them, or as many as open a sum."""
        return max(DEFAULT_MIN_COHORT, 3 * self.students // 4)


def make_class(folder: Path, room: ClassRoom, expires: int, now: datetime) -> tuple[Path, ...]:
    """Make a federation for a class, a zip for each student, the teacher's script and the sheet; return the zips.

    Raises SettingsError for a folder that is not empty, or numbers that cannot work; StorageError.
    """
    names = Names(client=STUDENT, observer=OBSERVER)
    make_invitations(
        folder, clients=room.students, founding=Founding(DEFAULT_THRESHOLD, DEFAULT_HOLDERS), address=room.address,
        terms=Terms(room.registration, expires), names=names, now=now,
    )  # fmt: skip
    make_folder(folder / ZIPS)
    zips = tuple(_zip(folder, f"{STUDENT}-{number}") for number in range(1, room.students + 1))
    write_file(folder / TEACHER, _teacher(room).encode(), EXECUTABLE)
    write_file(folder / SHEET, _sheet(folder, room, zips).encode(), PUBLIC)
    return zips


def _zip(folder: Path, name: str) -> Path:
    """Write a student's zip, and leave no other copy of the invitation behind."""
    invitation = folder / INVITED / f"{name}{ENDING}"
    path = folder / ZIPS / f"{name}.zip"
    start = _START.format(name=name)
    content = (
        (f"{name}{ENDING}", read_file(invitation, LARGEST_INVITATION), 0o600),
        ("start.sh", start.encode(), EXECUTABLE),
        ("start.command", start.encode(), EXECUTABLE),
        ("start.bat", _START_WINDOWS.format(name=name).replace("\n", "\r\n").encode(), 0o644),
        ("READ-ME.txt", _READ_ME.format(name=name).encode(), 0o644),
    )
    try:
        path.touch(mode=0o600)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
            for inside, data, mode in content:
                entry = zipfile.ZipInfo(f"{name}/{inside}", (2026, 1, 1, 0, 0, 0))
                entry.external_attr = mode << 16
                file.writestr(entry, data)
        invitation.unlink()
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error
    return path


def _teacher(room: ClassRoom) -> str:
    holders = " ".join(f"keyholder-{number}" for number in range(1, DEFAULT_HOLDERS + 1))
    return _TEACHER.format(
        serve=f"0.0.0.0:{room.registration.rpartition(':')[2]}", listen=f"0.0.0.0:{room.address.rpartition(':')[2]}",
        address=shlex.quote(room.address), page=shlex.quote(room.page), parties=f"server {holders} {OBSERVER}",
        observer=OBSERVER,
        students=room.students, min_cohort=DEFAULT_MIN_COHORT, rounds=room.rounds, keys=KEYS_A_ROUND * room.rounds,
        few=KEYS_AT_FIRST, holders=holders, holder=holders.split()[0],
    )  # fmt: skip


def _with_fewer(room: ClassRoom, there: str) -> str:
    """Say how to begin although some students are missing."""
    fewer = room.fewer
    if fewer == room.students:
        return f"With fewer it cannot begin: no party opens a sum of fewer than {DEFAULT_MIN_COHORT}."
    command = f"{there}/{TEACHER} --clients {fewer}"
    return f"With fewer, end it and start it with what there is, such as:\n                {command}"


def _sheet(folder: Path, room: ClassRoom, zips: Sequence[Path]) -> str:
    registrar, keys = command_of("registrar"), "--identity me --passphrase-file passphrase"
    there = shlex.quote(str(folder))
    return f"""\
A CLASS OF {room.students}

BEFORE THE LESSON
  All machines need grokfed. The students' machines must reach {room.address} and {room.registration}.
  Give each student one zip of {ZIPS}/, {zips[0].name} to {zips[-1].name}, in private.

IN THE LESSON
  You type      {there}/{TEACHER}
  and show      http://{room.page}
  A student unpacks the zip and starts start.sh, start.command or start.bat.
  The first round begins when all {room.students} are here. {_with_fewer(room, there)}

WHO COMES LATE starts the same script and takes part from the next round.
WHO IS NEW gets an invitation of their own, in private:
                {registrar} invite zoe --federation {there} --registration {shlex.quote(room.registration)}
  and types     grokfed-client enroll {keys} --invitation zoe.invitation
                grokfed-client {keys} --mail generated
WHO LEAVES in the middle is shown as gone. The run goes on as long as {DEFAULT_MIN_COHORT} are left.
A LAPTOP THAT IS LOST has keys that must not be believed any more. The owner is then new, under another name.
                {registrar} revoke {there} {STUDENT}-5
                cp {there}/registrar/roster.json {there}/parties/server/
WHO CHEATS is refused, and the lane says by which check. Nobody can send for another, twice, or what was not committed
to. The run goes on without that update.

This machine runs the server and all key holders, so you could read every student's update. In a real federation
different people run them.
"""
