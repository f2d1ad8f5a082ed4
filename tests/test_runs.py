"""The runs of a folder as programs read them: states, names, old and damaged folders."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from kept_runs import keep

from core.errors import DataError
from results.runs import find_run, list_runs, read_run
from simulation.processes import ROOT


def test_a_run_has_its_settings_its_state_and_its_rounds(tmp_path: Path) -> None:
    keep(tmp_path / "one", accuracies=(0.5, 0.75), rounds=4, state="interrupted", settings={"task": "spam", "seed": 3})
    run = read_run(tmp_path / "one")
    assert (run.name, run.state, run.task, run.rounds_done, run.rounds) == ("one", "interrupted", "spam", 2, 4)
    assert [row["accuracy"] for row in run.rows()] == [0.5, 0.75]
    assert run.summary()["accuracy"] == 0.75
    assert run.summary()["seed"] == 3


def test_a_run_that_says_running_is_interrupted_once_no_process_holds_its_folder(tmp_path: Path) -> None:
    folder = keep(tmp_path / "one", state="running")
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    assert read_run(folder).state == "running"
    os.close(descriptor)
    assert read_run(folder).state == "interrupted"


def test_runs_are_listed_by_their_start_and_other_folders_are_left_out(tmp_path: Path) -> None:
    keep(tmp_path / "b", started="2026-01-01T00:00:00Z")
    keep(tmp_path / "a", started="2026-01-02T00:00:00Z")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "faults.csv").write_text("")
    assert [run.name for run in list_runs(tmp_path)] == ["b", "a"]


def test_a_folder_without_run_json_has_what_its_report_and_history_say(tmp_path: Path) -> None:
    folder = keep(tmp_path / "old", accuracies=(0.5, 0.75))
    (folder / "run.json").unlink()
    (folder / "report.md").write_text("# Run 00ff: spam, 2 of 2 rounds\n\nall is well\n")
    assert (read_run(folder).state, read_run(folder).task, read_run(folder).rounds) == ("completed", "spam", 2)
    (folder / "report.md").write_text(
        "# spam, 2 of 9 rounds\n\n**The run ended early:** it was stopped after 2 of 9 rounds.\n"
    )
    assert (read_run(folder).state, read_run(folder).rounds_done, read_run(folder).rounds) == ("interrupted", 2, 9)
    (folder / "report.md").unlink()
    assert read_run(folder).state == "unknown"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"state": "sleeping"}', "\0" * 40])
def test_a_damaged_run_json_is_named_and_the_rest_is_read(tmp_path: Path, content: str) -> None:
    folder = keep(tmp_path / "one", accuracies=(0.5,))
    (folder / "run.json").write_text(content)
    run = read_run(folder)
    assert run.problems == (f"{folder / 'run.json'} is damaged: it is not the record of a run",)
    assert run.last_row["accuracy"] == 0.5


def test_a_damaged_line_of_the_history_is_named(tmp_path: Path) -> None:
    folder = keep(tmp_path / "one", accuracies=(0.5, 0.75))
    with (folder / "history.jsonl").open("a") as file:
        file.write('{"round": 3, "accu')
    run = read_run(folder)
    assert run.all_problems == (f"the last line of {folder / 'history.jsonl'} is not a round",)
    with pytest.raises(DataError, match=r"line 3 of .*history\.jsonl is not a round"):
        run.rows()


def test_a_run_is_found_by_folder_name_or_unique_beginning(tmp_path: Path) -> None:
    keep(tmp_path / "spam-1")
    keep(tmp_path / "spam-12")
    keep(tmp_path / "mnist-7")
    assert find_run("spam-1", tmp_path).name == "spam-1"
    assert find_run("mn", tmp_path).name == "mnist-7"
    assert find_run(str(tmp_path / "spam-12"), Path("elsewhere")).name == "spam-12"
    with pytest.raises(DataError, match=r"'spam' is the beginning of 2 runs .*: spam-1, spam-12; write more"):
        find_run("spam", tmp_path)
    with pytest.raises(DataError, match="there is no run 'chess'"):
        find_run("chess", tmp_path)


def test_200_runs_are_listed_in_half_a_second(tmp_path: Path) -> None:
    for number in range(200):
        keep(tmp_path / f"run-{number}", accuracies=(0.5,) * 20)
    started = time.perf_counter()
    assert len([run.summary() for run in list_runs(tmp_path)]) == 200
    assert time.perf_counter() - started < 0.5


def test_listing_imports_neither_numpy_nor_pictures() -> None:
    """What takes most of a second to import would be most of the time."""
    say = "import results.__main__, sys; print([name for name in ('numpy', 'matplotlib', 'structlog', 'grpc') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", say], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_record_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    folder = keep(tmp_path / "one")
    content: dict[str, Any] = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "message": "x" * (1 << 22)}))
    assert read_run(folder).problems
