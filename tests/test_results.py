"""What a run leaves behind of its answers: table, history, picture and report."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console

from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from core.tasks import TASKS
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
