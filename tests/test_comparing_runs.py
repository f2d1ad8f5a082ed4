"""`python -m results`: list, show, diff, plot, table and export, on folders with numbers that can be checked by hand."""

from __future__ import annotations

import csv
import json
import re
import sqlite3
import struct
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from kept_runs import keep
from parties import run_here

from core.errors import DataError, SettingsError
from results.comparing import compare, group_by, series
from results.events import FILE, crc32c, masked
from results.repeating import repeat
from results.runs import list_runs, read_run
from results.tables import columns_of, table_of


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of five clients with two seeds, and one of ten."""
    folder = tmp_path / "runs"
    keep(folder / "a", accuracies=(0.5, 0.6), settings={"clients": 5, "seed": 0})
    keep(folder / "b", accuracies=(0.5, 0.8), settings={"clients": 5, "seed": 1}, model_sha256="01")
    keep(folder / "c", accuracies=(0.9, 0.9), settings={"clients": 10, "seed": 0})
    return folder


def test_list_shows_a_line_a_run_and_json_has_its_keys(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    code, said = run_here(capsys, "results", "list", "--runs", runs)
    assert code == 0
    assert [line.split()[0] for line in said.splitlines()] == ["run", "a", "b", "c"]
    code, said = run_here(capsys, "results", "list", "--runs", runs, "--json")
    assert [each["accuracy"] for each in json.loads(said)] == [0.6, 0.8, 0.9]


def test_show_says_settings_machine_and_rounds(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    _, said = run_here(capsys, "results", "show", "a", "--runs", runs)
    assert "--clients 5" in said
    assert "computed on 2 x one" in said
    _, said = run_here(capsys, "results", "show", "a", "--runs", runs, "--json")
    shown = json.loads(said)
    assert [row["round"] for row in shown["rows"]] == [1, 2]
    assert shown["record"]["settings"]["clients"] == 5


def test_what_two_runs_differ_in(runs: Path) -> None:
    found = compare(read_run(runs / "a"), read_run(runs / "b"))
    assert found.settings == {"seed": [0, 1]}
    assert found.made == {}
    assert found.outcomes["accuracy"] == [0.6, 0.8]
    assert found.same_model is False
    assert compare(read_run(runs / "a"), read_run(runs / "c")).same_model is True


def test_an_option_left_out_counts_with_the_value_that_the_run_used(tmp_path: Path) -> None:
    used = {"scheme": "plain", "rules": {"min_cohort": 5, "threshold": 3}, "server_rule": {"learning_rate": 1.0}}
    training = {"learning-rate": 0.1, "local-epochs": 2}
    said = {"clients": 5, "scheme": "plain", "min-cohort": 5, "threshold": 3, "server-learning-rate": 1.0, "groups": 2}
    left_out = {**dict.fromkeys(said), "groups": 2, "robust": None, "learning-rate": None, "local-epochs": None}
    keep(tmp_path / "a", settings=left_out, run_settings=used, training=training, clients=5)
    keep(tmp_path / "b", settings={**said, **training, "robust": "median"}, run_settings=used, clients=5)
    keep(tmp_path / "c", settings={**left_out, "clients": 10}, run_settings=used, training=training, clients=10)
    a, b, c = list_runs(tmp_path)
    assert compare(a, b).settings == {}
    assert compare(a, c).settings == {"clients": [5, 10]}
    names = [*said, *training, "robust"]
    assert [(group.values["clients"], len(group.runs)) for group in group_by([a, b, c], names)] == [(5, 2), (10, 1)]


def test_another_version_processor_or_digest_is_named(tmp_path: Path) -> None:
    one = keep(tmp_path / "one", data={"data": {"path": "/x", "sha256": "aa"}})
    other = keep(
        tmp_path / "other", versions={"python": "3.11", "numpy": "2.1"}, data={"data": {"path": "/y", "sha256": "bb"}}
    )
    made = compare(read_run(one), read_run(other)).made
    assert made == {"versions.numpy": ["2.0", "2.1"], "data.data": ["aa", "bb"]}


def test_seconds_and_bytes_are_sums_since_the_start(runs: Path) -> None:
    rows = read_run(runs / "a").rows()
    assert series("seconds", rows) == [2.0, 4.0]
    assert series("bytes", rows) == [3000.0, 6000.0]
    assert series("accuracy", rows) == [0.5, 0.6]
    with pytest.raises(DataError, match="only runs with privacy"):
        series("epsilon", rows)
    with pytest.raises(DataError, match="no numbers 'colour'"):
        series("colour", rows)


def test_a_table_has_means_and_half_intervals_over_the_runs_of_a_group(runs: Path) -> None:
    """0.6 and 0.8: mean 0.7, standard deviation 0.1414, half 12.706 * 0.1414 / sqrt 2 = 1.2706."""
    rows = table_of(group_by(list_runs(runs), ["clients"]), ["accuracy", "megabytes"])
    assert [(row["clients"], row["runs"]) for row in rows] == [(5, 2), (10, 1)]
    assert rows[0]["accuracy"] == pytest.approx(0.7)
    assert rows[0]["accuracy_half"] == pytest.approx(1.2706, abs=1e-4)
    assert rows[0]["megabytes"] == pytest.approx(0.006)
    assert (rows[1]["accuracy"], rows[1]["accuracy_half"]) == (0.9, None)
    with pytest.raises(SettingsError, match="--group-by is 'colour', which no run has"):
        group_by(list_runs(runs), ["colour"])


def test_a_picture_is_drawn_and_its_points_are_in_the_json(
    capsys: pytest.CaptureFixture[str], runs: Path, tmp_path: Path
) -> None:
    picture = tmp_path / "curves.png"
    arguments = ("plot", "--runs", runs, "--group-by", "clients", "--x", "bytes", "--out", picture, "--json")
    code, said = run_here(capsys, "results", *arguments)
    assert code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    five, ten = json.loads(said)["curves"]
    assert five["name"] == "clients 5"
    assert five["x"] == pytest.approx([0.003, 0.006])
    assert five["y"] == pytest.approx([0.5, 0.7])
    assert five["half"] == pytest.approx([0.0, 1.2706], abs=1e-4)
    assert ten["half"] == [None, None]


def test_runs_are_exported_as_csv_and_sqlite(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, database = tmp_path / "all.csv", tmp_path / "all.db"
    code, _ = run_here(capsys, "results", "export", "--runs", runs, "--csv", table, "--sqlite", database)
    assert code == 0
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [(row["run"], row["round"], row["accuracy"], row["setting:clients"]) for row in rows[:3]] == [
        ("a", "1", "0.5", "5"), ("a", "2", "0.6", "5"), ("b", "1", "0.5", "5"),
    ]  # fmt: skip
    with closing(sqlite3.connect(database)) as db:
        query = "SELECT max(accuracy) FROM rounds JOIN settings USING (run) WHERE option = 'clients' AND value = 5"
        assert db.execute(query).fetchone() == (0.8,)
        assert db.execute("SELECT count(*) FROM runs").fetchone() == (3,)


def test_no_file_is_written_over(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("mine.csv", "mine.db", "mine.svg")
    for name in names:
        (tmp_path / name).write_text("mine")
    places = ("--csv", tmp_path / "mine.csv", "--sqlite", tmp_path / "mine.db", "--tensorboard", tmp_path / "events")
    for number in (2, 3):
        code, said = run_here(capsys, "results", "export", "--runs", runs, *places)
        assert (code, f"mine-{number}.csv" in said, f"mine-{number}.db" in said) == (0, True, True)
        code, said = run_here(capsys, "results", "plot", "--runs", runs, "--out", tmp_path / "mine.svg")
        assert (code, said.strip()) == (0, f"3 curves in {tmp_path / f'mine-{number}.svg'}")
    assert [(tmp_path / name).read_text() for name in names] == ["mine"] * 3
    assert sorted(each.name for each in (tmp_path / "events").iterdir()) == ["a", "a-2", "b", "b-2", "c", "c-2"]
    assert run_here(capsys, "results", "export", "--runs", runs, "--csv", "/dev/null")[0] == 0


def test_columns_of_a_table_may_have_spaces_between_them(runs: Path) -> None:
    assert columns_of(list_runs(runs), "loss, megabytes,,cpu_seconds") == ["loss", "megabytes", "cpu_seconds"]


def test_event_files_are_records_with_the_checksums_of_tensorboard(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C
    run_here(capsys, "results", "export", "a", "--runs", runs, "--tensorboard", tmp_path / "events")
    contents = list(_records((tmp_path / "events" / "a" / FILE).read_bytes()))
    assert len(contents) == 3, "the version, and two rounds"
    assert b"brain.Event:2" in contents[0]
    assert b"\x0a\x08accuracy\x15" + struct.pack("<f", 0.6) in contents[2]
    assert contents[2][9:11] == b"\x10\x02", "the step is the round"


def _records(raw: bytes) -> list[bytes]:
    """The contents of a file of records; every checksum holds."""
    found = []
    while raw:
        (length,) = struct.unpack("<Q", raw[:8])
        content = raw[12 : 12 + length]
        assert struct.unpack("<I", raw[8:12]) == (masked(crc32c(raw[:8])),)
        assert struct.unpack("<I", raw[12 + length : 16 + length]) == (masked(crc32c(content)),)
        found.append(content)
        raw = raw[16 + length :]
    return found


class Repeated:
    """Stands for the process that runs simulations: the second run is there already."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, _working_folder: Path) -> Repeated:
        return self

    def __enter__(self) -> Repeated:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(self, _way: str, _settings: Mapping[str, Any]) -> Path:
        return self.folder


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("my task.py:NAME", r"^the task my task.py:NAME is your own code, which may not be deterministic: "
         r".* check-task 'my task.py:NAME' looks for that$"),
        ("spam", "^nothing that is recorded differs, which is a fault of ours$"),
    ],
)  # fmt: skip
def test_what_is_said_when_a_run_repeated_here_ends_with_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, reason: str
) -> None:
    run = read_run(keep(tmp_path / "a", settings={"task": task}))
    for digest, reasons in (("01", 1), ("00", 0)):
        again = keep(tmp_path / digest, settings={"task": task}, model_sha256=digest)
        monkeypatch.setattr("results.repeating.Orders", Repeated(again))
        found = repeat(run)
        assert found.same == (not reasons)
        assert len(found.as_json()["reasons"]) == reasons
        if reasons:
            assert re.search(reason, found.reasons[0])
            assert found.sentence == f"other bytes than the model of {tmp_path / 'a'}: {found.reasons[0]}"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("show", "chess"), "there is no run 'chess'"),
        (("diff", "a", "chess"), "there is no run 'chess'"),
        (("plot", "--x", "colour"), "--x is 'colour'; expected round, seconds, bytes, epsilon"),
        (("plot", "--x", "epsilon"), "only runs with privacy"),
        (("table", "--group-by", "colour"), "--group-by is 'colour'"),
        (("table", "--columns", "loss,nope"), "--columns is 'nope', which no run has; known are megabytes, "),
        (("plot", "--out", "p.gif"), "--out is 'p.gif'; expected a name that ends in .png, .svg, .pdf"),
        (("plot", "--out", "plot"), "--out is 'plot'; expected a name that ends in"),
        (("export",), "pass --csv, --sqlite or --tensorboard"),
        (("export", "--csv", "/dev/null/x"), "/dev/null/x cannot be written"),
        (("repeat", "old"), "it has no run.json"),
        (("repeat", "half"), "it is interrupted, and only completed runs have a model"),
    ],
)
def test_mistakes_are_one_sentence(
    capsys: pytest.CaptureFixture[str], runs: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    keep(runs / "half", state="interrupted")
    (keep(runs / "old") / "run.json").unlink()
    command, *rest = arguments
    code, said = run_here(capsys, "results", command, *rest, "--runs", runs)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


def test_a_damaged_folder_does_not_hide_the_others(capsys: pytest.CaptureFixture[str], runs: Path) -> None:
    (runs / "b" / "run.json").write_text("{")
    code, said = run_here(capsys, "results", "list", "--runs", runs)
    assert code == 0
    assert f"{runs / 'b' / 'run.json'} is damaged" in said
    assert {"a", "b", "c"} <= {line.split()[0] for line in said.splitlines()}
