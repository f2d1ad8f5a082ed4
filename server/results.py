"""The results of a run: a table for people, history.csv and history.jsonl for programs, model.npz, history.png,
and report.md, which says what each party could have seen."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table

from core.confusion import Confusion
from core.errors import StorageError
from core.federated import save_model
from core.finite_json import dumps, finite
from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from core.tasks.held_out import NOTABLE, counted
from core.tasks.task import Task
from server.settings import RunSettings

if TYPE_CHECKING:  # at run time only where pictures are drawn: importing matplotlib takes longer than most rounds
    from matplotlib.axes import Axes

ANSWERS = tuple(field.name for field in fields(Confusion))
APART = ("repeats", "repeats_correct", "wordless", "wordless_correct")
COUNTS = (*ANSWERS, *(f"cohort_{name}" for name in ANSWERS), *APART)
"""What accuracy, precision and false alarms are made of, the same on the cohort's own data, and what of the test data
is judged apart: further copies of a text, and texts without a word."""
COLUMNS = (
    "round",
    "contributors",
    "accuracy",
    "precision",
    "false_alarm_rate",
    "loss",
    "bytes_up_per_client",
    "train_s",
    "encrypt_s",
    "add_s",
    "decrypt_s",
    "round_s",
    "exposure",
    "insecure",
    *COUNTS,
)
FILES = ("history.csv", "history.jsonl", "report.md", "model.npz", "history.png")
Row = dict[str, int | float | str | None]
PRIVATE_COLUMNS = (*COLUMNS, "epsilon", "epsilon_models")
"""With privacy: epsilon spent against parties that see the contributors, and against those that see models only."""


def row(result: RoundResult, settings: RunSettings) -> Row:
    """Return one completed round by column. Seconds of training and encrypting are means per client.

    Precision and false-alarm rate are None where no yes/no question was asked. A loss that is not finite stays so here;
    in JSON it is null, in CSV an empty cell.
    """
    values: tuple[int | float | str | None, ...] = (
        result.round,
        result.contributors,
        round(result.accuracy, 6),
        round(result.answers.precision, 6) if result.asks_yes_or_no else None,
        round(result.answers.false_alarm_rate, 6) if result.asks_yes_or_no else None,
        round(result.loss, 6),
        round(result.bytes_up_per_client),
        round(result.train_seconds, 4),
        round(result.encrypt_seconds, 4),
        round(result.add_seconds, 4),
        round(result.decrypt_seconds, 4),
        round(result.seconds, 4),
        result.exposure,
        "; ".join(settings.insecurities),
        *(getattr(result, name) for name in COUNTS),
    )
    if settings.privacy is None:
        return dict(zip(COLUMNS, values, strict=True)) | result.more_columns
    values = (*values, round(result.epsilon, 6), round(result.epsilon_models, 6))
    return dict(zip(PRIVATE_COLUMNS, values, strict=True)) | result.more_columns


def table(results: Sequence[RoundResult], title: str, privacy: Privacy | None = None) -> Table:
    """Return the history as a table for people: one line a round, at most 80 columns wide."""
    binary = any(result.asks_yes_or_no for result in results)
    history = Table(
        title=title,
        caption=_caption(binary, privacy),
        box=box.SIMPLE_HEAD,
        padding=0,
        collapse_padding=True,
        pad_edge=False,
        show_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    for heading in _headings(binary, privacy is not None):
        history.add_column(heading, justify="right")
    for result in results:
        history.add_row(*_cells(result, binary, privacy is not None))
    return history


def _caption(binary: bool, privacy: Privacy | None) -> str:
    own_seconds = "to train and encrypt per client, " if privacy is None else ""
    parts = [f"KiB up per client; seconds {own_seconds}to add and decrypt for all"]
    if binary:
        parts.append("alarms: the false-alarm rate, the share of negatives (ham) called positive (spam)")
    if privacy is not None:
        parts.append(f"ε spent so far, for a delta of {privacy.delta:g}")
    return "; ".join(parts)


def _headings(binary: bool, private: bool) -> list[str]:
    answers = ["precision", "alarms"] if binary else []
    # With privacy clients do not tell how long they took.
    seconds = ["add", "decrypt", "ε"] if private else ["train", "encrypt", "add", "decrypt"]
    return ["round", "clients", "accuracy", *answers, "loss", "KiB", *seconds]


def _cells(result: RoundResult, binary: bool, private: bool) -> list[str]:
    answers = [f"{result.answers.precision:.2%}", f"{result.answers.false_alarm_rate:.2%}"] if binary else []
    own_seconds = [] if private else [f"{result.train_seconds:.2f}", f"{result.encrypt_seconds:.2f}"]
    epsilon = [f"{result.epsilon:.2f}"] if private else []
    return [
        str(result.round),
        str(result.contributors),
        f"{result.accuracy:.2%}",
        *answers,
        f"{result.loss:.3f}",
        f"{result.bytes_up_per_client / 1024:.1f}",
        *own_seconds,
        f"{result.add_seconds:.3f}",
        f"{result.decrypt_seconds:.2f}",
        *epsilon,
    ]


def judged_apart(result: RoundResult) -> str:
    """Say how repeats and texts without a word were judged, and what they would decide; empty if there are none."""
    groups = (
        (counted(result.repeats, "repeat"), result.repeats, result.repeats_correct),
        (f"{counted(result.wordless, 'text')} without a word", result.wordless, result.wordless_correct),
    )
    groups_in_words = [f"{what}, {correct / count:.2%} right" for what, count, correct in groups if count]
    if not groups_in_words:
        return ""
    sentence = f"judged apart: {'; '.join(groups_in_words)}"
    if abs(result.accuracy_of_all - result.accuracy) <= NOTABLE:
        return sentence
    return (
        f"{sentence}. Counted like the rest they would decide more than half a point: the accuracy would be "
        f"{result.accuracy_of_all:.2%} instead of {result.accuracy:.2%}"
    )


def make_results_folder(folder: Path) -> None:
    """Make the folder if it is not there. Raises StorageError if it cannot be one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"the results cannot be written to {folder}: {error.strerror}") from error


def write_results(
    folder: Path,
    settings: RunSettings,
    results: Sequence[RoundResult],
    task: Task,
    model: npt.NDArray[np.float64],
    report: str,
) -> None:
    """Write all five files. Raises StorageError if the folder cannot be written."""
    make_results_folder(folder)
    try:
        rows = [row(result, settings) for result in results]
        columns = COLUMNS if settings.privacy is None else PRIVATE_COLUMNS
        _write_csv(folder / "history.csv", rows, list(rows[0]) if rows else columns)
        _write_lines(folder / "history.jsonl", "".join(dumps(each) + "\n" for each in rows))
        (folder / "report.md").write_text(report, encoding="utf-8")
        save_model(folder / "model.npz", task, model)
        if results:
            draw_history(folder / "history.png", results, settings.insecurities)
    except OSError as error:
        raise StorageError(f"the results cannot be written to {folder}: {error}") from error


def draw_history(path: Path, results: Sequence[RoundResult], insecurities: Sequence[str] = ()) -> None:
    """Draw accuracy and seconds by round, stamped with what was switched off."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    binary = any(result.asks_yes_or_no for result in results)
    figure = Figure(figsize=(7, 8 if binary else 6), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, *alarms, time = figure.subplots(2 + binary, 1, sharex=True)
    numbers = [result.round for result in results]
    accuracy.plot(numbers, [100 * result.accuracy for result in results], "o-", color="#0072b2", label="accuracy")
    accuracy.set(ylabel="the global model, %", title="What each round learned, and what it cost")
    if binary:
        _draw_answers(accuracy, alarms[0], results)
    accuracy.legend(frameon=False)
    if insecurities:
        figure.suptitle(f"INSECURE: {'; '.join(insecurities)}", fontsize="small", wrap=True)
    accuracy.grid(alpha=0.3)
    _draw_seconds(time, results)
    figure.savefig(path, dpi=120)


def _draw_answers(accuracy: Axes, alarms: Axes, results: Sequence[RoundResult]) -> None:
    numbers = [result.round for result in results]
    precision = [100 * result.answers.precision for result in results]
    accuracy.plot(numbers, precision, "s--", color="#cc79a7", label="precision")
    alarms.plot(numbers, [100 * result.answers.false_alarm_rate for result in results], "^-", color="#d55e00")
    alarms.set(ylabel="false alarms, % of negatives")
    alarms.set_ylim(bottom=0)
    alarms.grid(alpha=0.3)


def _draw_seconds(time: Axes, results: Sequence[RoundResult]) -> None:
    numbers = [result.round for result in results]
    bottom = np.zeros(len(results))
    parts = ("train", "encrypt", "add", "decrypt")
    colours = ("#009e73", "#e69f00", "#56b4e9", "#d55e00")
    hatches = ("", "//", "..", "xx")
    for part, colour, hatch in zip(parts, colours, hatches, strict=True):
        seconds = np.array([getattr(result, f"{part}_seconds") for result in results])
        time.bar(numbers, seconds, bottom=bottom, color=colour, hatch=hatch, edgecolor="white", label=part, width=0.6)
        bottom += seconds
    time.set(xlabel="round", ylabel="seconds", xticks=numbers if len(numbers) <= 20 else numbers[:: len(numbers) // 10])
    time.set_ylim(0, max(bottom.max() * 1.25, 1e-3))
    time.legend(ncols=4, loc="upper center", frameon=False)
    time.grid(axis="y", alpha=0.3)


def _write_lines(path: Path, text: str) -> None:
    """Write the file whole or not at all, and not if it is unchanged: a reader may be following it."""
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)


def _write_csv(path: Path, rows: Sequence[Row], columns: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(finite(rows))
