"""A class in a room: each student's zip holds that student's invitation and scripts that start, and nothing else."""

from __future__ import annotations

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


@pytest.mark.parametrize("page", ["8080", "nowhere", "a b:1"])
def test_a_page_that_is_no_address_is_refused(page: str) -> None:
    with pytest.raises(SettingsError, match="the page's address is"):
        ClassRoom(5, "a:1", "a:2", 1, page)


@pytest.mark.parametrize("students", [0, 4, 201])
def test_a_class_whose_sums_would_not_be_opened_is_refused(students: int) -> None:
    assert ClassRoom(5, "a:1", "a:2", 1).students == 5
    with pytest.raises(SettingsError, match=f"the class has {students} students; expected 5 to 200"):
        ClassRoom(students, "a:1", "a:2", 1)
