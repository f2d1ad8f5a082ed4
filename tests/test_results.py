"""What a run leaves behind of its answers: table, history, picture and report."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from kept_runs import keep
from rich.console import Console

from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from core.tasks import TASKS
from results.exporting import export_csv
from results.runs import read_run
from results.tables import write_table
from server.recorder import Recorder
from server.report import _answers
from server.results import draw_history, row, table, write_results
from server.settings import RunSettings

PLAIN = RoundResult(12, 100, 0.98, 0.1, 170_000.0, 11.0, 12.0, 0.5, 10.25, 0.8, 0.2, true_negatives=980)
PLAIN = replace(PLAIN, false_positives=20)
SPAM = replace(PLAIN, true_positives=480, false_positives=10, false_negatives=10, true_negatives=500)


def printed(results: list[RoundResult], privacy: Privacy | None = None) -> list[str]:
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(table(results, "title", privacy))
    return console.export_text().splitlines()


def test_a_table_of_yes_and_no_has_precision_and_false_alarms_and_fits_80_columns() -> None:
    """490 called spam, 480 of them rightly; 10 of 510 ham called spam."""
    _, headings, _, first, *_ = printed([SPAM])
    assert " ".join(headings.split()) == "round clients accuracy precision alarms loss KiB train encrypt add decrypt"
    assert " ".join(first.split()) == "12 100 98.00% 97.96% 1.96% 0.100 166.0 11.00 12.00 0.500 10.25"
    privacy = Privacy(clip_norm=1.0, noise_multiplier=1.0, delta=1e-5, max_colluders=0)
    assert printed([SPAM], privacy)[1].split()[-3:] == ["add", "decrypt", "ε"]


def test_a_task_without_yes_or_no_has_no_precision(tmp_path: Path) -> None:
    assert "precision" not in " ".join(printed([PLAIN]))
    found = row(PLAIN, RunSettings())
    assert (found["precision"], found["false_alarm_rate"], found["true_negatives"]) == (None, None, 980)
    model = np.zeros(5_386)
    write_results(tmp_path, RunSettings(), [PLAIN], TASKS["mnist-cnn"], model, "words")
    (written,) = csv.DictReader((tmp_path / "history.csv").read_text().splitlines())
    assert (written["accuracy"], written["precision"]) == ("0.98", "")
    assert '"precision": null' in (tmp_path / "history.jsonl").read_text()


def test_the_picture_of_yes_and_no_has_a_panel_more(tmp_path: Path) -> None:
    sizes = []
    for name, result in (("plain.png", PLAIN), ("spam.png", SPAM)):
        draw_history(tmp_path / name, [result, replace(result, round=13)])
        sizes.append(int.from_bytes((tmp_path / name).read_bytes()[20:24], "big"))
    assert sizes == [720, 960]  # 6 and 8 inches of 120 points: the height in a PNG's header


def test_the_report_says_in_words_what_was_called_spam_wrongly() -> None:
    assert _answers([]) == _answers([PLAIN]) == []
    (sentence,) = _answers([SPAM])
    assert sentence == (
        "The last model: 98.00% right; of 490 called positive 10 wrongly (precision 97.96%), which is 1.96% of the 510 "
        "negatives (false alarms); 10 of 490 positives missed."
    )
    assert _answers([replace(SPAM, repeats=10, repeats_correct=9)])[1].startswith("Each distinct text was judged once;")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_the_loss_of_a_model_that_diverged_is_null_in_json_and_empty_in_csv(tmp_path: Path, loss: float) -> None:
    result = replace(SPAM, loss=loss)
    Recorder(tmp_path / "live", RunSettings(), []).add(result)
    write_results(tmp_path / "end", RunSettings(), [result], TASKS["spam"], np.zeros(8193), "words")
    for folder in ("live", "end"):
        lines = (tmp_path / folder / "history.jsonl").read_text()
        assert json.loads(lines, parse_constant=pytest.fail)["loss"] is None
    (line,) = csv.DictReader((tmp_path / "end" / "history.csv").read_text().splitlines())
    assert (line["loss"], line["accuracy"]) == ("", "0.98")


@pytest.mark.parametrize("written", ["NaN", "Infinity", "-Infinity", "null"])
def test_programs_that_read_a_run_meet_no_number_that_is_not_finite(tmp_path: Path, written: str) -> None:
    folder = keep(tmp_path / "run")
    history, row = folder / "history.jsonl", {"round": 1, "accuracy": 0.5, "loss": "LOSS"}
    history.write_text(json.dumps(row).replace('"LOSS"', written) + "\n")
    run = read_run(folder)
    assert (run.rows()[0]["loss"], run.summary()["loss"]) == (None, None)
    export_csv(tmp_path / "runs.csv", [run])
    assert next(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))["loss"] == ""
    history.rename(folder / "history.old")
    (folder / "history.csv").write_text(f"round,loss\n1,{written.replace('null', '')}\n")
    assert read_run(folder).rows() == [{"round": 1, "loss": None}]


def test_a_table_of_runs_has_an_empty_cell_for_what_is_not_finite(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", [{"clients": 5, "loss": math.inf}])
    assert (tmp_path / "table.csv").read_text() == "clients,loss\n5,\n"
