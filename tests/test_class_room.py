"""A class in a room: each student's zip holds that student's invitation and scripts that start, and nothing else."""

from __future__ import annotations

import errno
import re
import subprocess
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core.errors import SettingsError
from core.identity.invitation import read_invitation
from core.identity.members import Role
from registrar.__main__ import app
from registrar.class_room import ClassRoom
from registrar.own_address import own_host

DEAL = """\
if [ "$1" = deal ]; then
    for each in 1 2 3 4; do
        mkdir -p for-holders/keyholder-$each/shares
        for key in $(seq "$4"); do touch for-holders/keyholder-$each/shares/new-$4-$key; done
    done
fi
"""
"""What the registrar's program leaves behind, as far as the script needs it."""
FILES = ("student-{n}.invitation", "start.sh", "start.command", "start.bat", "READ-ME.txt")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("class") / "class"
    typed = ["class", "20", "--folder", str(folder), "--address", "192.0.2.10:50551", "--rounds", "3"]
    result = CliRunner().invoke(app, typed)
    assert (result.exit_code, result.output.startswith("20 zips are in ")) == (0, True), result.output
    return folder


def test_there_is_one_zip_a_student_with_an_invitation_of_its_own(made: Path, tmp_path: Path) -> None:
    zips = sorted((made / "zips").iterdir())
    assert len(zips) == 20
    invited = set()
    for path in zips:
        name = path.stem
        assert path.stat().st_mode & 0o777 == 0o600
        with zipfile.ZipFile(path) as file:
            assert file.namelist() == [f"{name}/{each.format(n=name.partition('-')[2])}" for each in FILES]
            file.extract(f"{name}/{name}.invitation", tmp_path)
        invitation = read_invitation(tmp_path / name / f"{name}.invitation")
        assert (invitation.role, invitation.name, invitation.address) == (Role.CLIENT, name, "192.0.2.10:50552")
        assert invitation.expires > datetime.now(UTC).timestamp()
        invited.add(invitation.id)
    assert len(invited) == 20


def test_no_second_copy_of_a_students_invitation_is_left(made: Path) -> None:
    left = {path.name for path in (made / "invitations").iterdir()}
    assert left == {"server.invitation", "teacher.invitation", *(f"keyholder-{n}.invitation" for n in (1, 2, 3, 4))}


def test_the_scripts_can_be_started_and_are_shell(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(made / "zips" / "student-7.zip") as file:
        assert file.getinfo("student-7/start.sh").external_attr >> 16 & 0o111
        assert file.read("student-7/start.sh") == file.read("student-7/start.command")
        assert b"\r\n" in file.read("student-7/start.bat")
        (tmp_path / "start.sh").write_bytes(file.read("student-7/start.sh"))
    assert (made / "start-teacher.sh").stat().st_mode & 0o111
    for script in (tmp_path / "start.sh", made / "start-teacher.sh"):
        subprocess.run(["sh", "-n", script], check=True)


def test_a_students_script_enrols_and_starts_what_is_installed(made: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(made / "zips" / "student-2.zip") as file:
        file.extractall(tmp_path)
    command = tmp_path / "grokfed-client"
    command.write_text('#!/bin/sh\necho "$PWD: $@" >> "$CALLS"\n')
    command.chmod(0o755)
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(calls)}
    subprocess.run(["sh", tmp_path / "student-2" / "start.sh", "/mail/a b.mbox"], env=environment, cwd="/", check=True)
    keys = "--identity me --passphrase-file passphrase --patience 600"
    assert calls.read_text().splitlines() == [
        f"{tmp_path}/student-2: enroll --if-missing {keys} --invitation student-2.invitation",
        f"{tmp_path}/student-2: {keys} --mail /mail/a b.mbox",
    ]


def test_the_sheet_names_the_addresses_and_the_commands(made: Path) -> None:
    sheet = (made / "CLASS.txt").read_text()
    for words in (
        "A CLASS OF 20",
        "192.0.2.10:50551",
        "192.0.2.10:50552",
        "start-teacher.sh",
        "http://127.0.0.1:8080",
        "revoke",
    ):
        assert words in sheet


def test_a_revoked_laptop_is_refused_by_the_teachers_server_because_the_sheet_says_where_the_roster_goes(
    made: Path,
) -> None:
    sheet = (made / "CLASS.txt").read_text()
    assert f"cp {made}/registrar/roster.json {made}/parties/server/" in sheet
    assert "--identity parties/server " in (made / "start-teacher.sh").read_text()


def test_the_teachers_script_keeps_no_copy_of_the_round_keys_shares(made: Path, tmp_path: Path) -> None:
    script = (made / "start-teacher.sh").read_text()
    assert "mv for-holders/$each/shares/* parties/$each/shares/" in script
    assert "cp " not in script


@pytest.mark.parametrize(("there", "dealt"), [(0, ["2", "4"]), (5, ["1"]), (6, [])])
def test_the_teachers_script_deals_what_is_missing_and_the_first_keys_first(
    made: Path, tmp_path: Path, there: int, dealt: list[str]
) -> None:
    for number in (1, 2, 3, 4):
        (tmp_path / "parties" / f"keyholder-{number}" / "shares").mkdir(parents=True)
        for serial in range(there):
            (tmp_path / "parties" / f"keyholder-{number}" / "shares" / f"{serial}.share").touch()
    for program in ("registrar", "server", "keyholder", "dashboard"):
        command = tmp_path / f"grokfed-{program}"
        command.write_text('#!/bin/sh\necho "$0 $*" | sed "s:.*/::" >> "$CALLS"\n' + DEAL * (program == "registrar"))
        command.chmod(0o755)
    script = tmp_path / "start-teacher.sh"
    script.write_bytes((made / "start-teacher.sh").read_bytes())
    calls = tmp_path / "calls"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "CALLS": str(calls)}
    subprocess.run(["sh", script], env=environment, check=False, start_new_session=True, capture_output=True)
    said = re.findall(r"grokfed-registrar deal . --keys (\d+)", calls.read_text())
    assert said == dealt
    shares = tmp_path / "parties" / "keyholder-1" / "shares"
    assert len(list(shares.iterdir())) == max(there, 6)


@pytest.mark.parametrize(
    "wrong",
    ["8080", "nowhere", "a b:1", "$(id):50551", "`id`:1", "a;id:1", "a&id:1", "%PATH%:1", "a:0", "a:65536", "a:1$(id)",
     "-a:1", "a..b:1", "[::1:1", "[::1%eth0]:1", "'a':1", "a\n:1", "a:١"],
)  # fmt: skip
def test_what_is_no_address_is_refused_wherever_it_would_go_into_a_script(wrong: str) -> None:
    for places, what in (
        ((wrong, "a:2", "a:3"), "the server's address"),
        (("a:1", wrong, "a:3"), "the registrar's address"),
        (("a:1", "a:2", wrong), "the page's address"),
    ):
        with pytest.raises(SettingsError, match=f"{what} is .*expected HOST:PORT"):
            ClassRoom(5, *places[:2], 1, places[2])


@pytest.mark.parametrize("host", ["192.0.2.10", "teacher.example.org", "teacher_1", "[2001:db8::1]", "localhost"])
def test_a_host_that_students_can_reach_is_taken(host: str) -> None:
    assert ClassRoom(5, f"{host}:50551", f"{host}:50552", 1).address == f"{host}:50551"


@pytest.mark.parametrize(
    ("places", "options"),
    [
        (("a:1", "a:2", "127.0.0.1:1"), "--address is a:1 and --page"),
        (("a:1", "a:2", "127.0.0.1:2"), "--registration is a:2 and --page"),
        (("a:1", "a:1", "a:3"), "--address is a:1 and --registration"),
    ],
)
def test_two_programs_at_one_port_are_refused(places: tuple[str, str, str], options: str) -> None:
    with pytest.raises(SettingsError, match=f"{options} is .*give each a port of its own"):
        ClassRoom(5, *places[:2], 1, places[2])


def test_without_an_address_it_is_this_machines_and_the_command_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registrar.__main__.own_host", lambda: "192.0.2.7")
    result = CliRunner().invoke(app, ["class", "5", "--folder", str(tmp_path / "class")])
    assert result.exit_code == 0, result.output
    assert "students will reach this machine at 192.0.2.7:50551" in result.output
    assert "make the class again with --address HOST:PORT" in result.output
    assert "--server 192.0.2.7:50551 " in (tmp_path / "class" / "start-teacher.sh").read_text()


def test_a_machine_without_a_network_needs_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registrar.own_address.ELSEWHERE", ("127.0.0.1", 9))
    with pytest.raises(SettingsError, match=r"no address .* \(only 127.0.0.1\); pass --address HOST:PORT"):
        own_host()
    monkeypatch.setattr("socket.socket.connect", _without_network)
    with pytest.raises(SettingsError, match=r"no address .* \(Network is unreachable\); pass --address"):
        own_host()


def _without_network(_: object, address: object) -> None:
    raise OSError(errno.ENETUNREACH, "Network is unreachable", str(address))


@pytest.mark.parametrize(
    ("students", "said"), [(20, "--clients 15\n"), (6, "--clients 5\n"), (5, "With fewer it cannot begin")]
)
def test_the_sheet_says_with_how_many_of_the_students_it_can_begin(tmp_path: Path, students: int, said: str) -> None:
    typed = ["class", str(students), "--folder", str(tmp_path / "class"), "--address", "192.0.2.10:50551"]
    assert CliRunner().invoke(app, typed).exit_code == 0
    sheet = (tmp_path / "class" / "CLASS.txt").read_text()
    assert said in sheet
    assert sheet.count("--clients") == (students > 5)


@pytest.mark.parametrize(
    ("students", "why"), [(0, "no party opens"), (4, "no party opens a sum of fewer than 5"), (201, "make two classes")]
)
def test_a_class_that_is_too_small_or_too_large_is_refused_for_its_reason(students: int, why: str) -> None:
    assert ClassRoom(5, "a:1", "a:2", 1).students == 5
    with pytest.raises(SettingsError, match=f"the class has {students} students; expected 5 to 200: .*{why}"):
        ClassRoom(students, "a:1", "a:2", 1)
