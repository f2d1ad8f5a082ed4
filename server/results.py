"""The results of a run: a table for people, history.csv and history.jsonl for programs, model.npz, history.png,
and report.md, which says what each party could have seen."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich import box
from rich.table import Table

from core.errors import StorageError
from core.federated import save_model
from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from core.tasks.task import Task
from server.settings import RunSettings

COLUMNS = (
    "round",
    "contributors",
    "accuracy",
    "loss",
    "bytes_up_per_client",
    "train_s",
    "encrypt_s",
    "add_s",
    "decrypt_s",
    "round_s",
    "exposure",
    "insecure",
)
FILES = ("history.csv", "history.jsonl", "report.md", "model.npz", "history.png")
PRIVATE_COLUMNS = (*COLUMNS, "epsilon", "epsilon_models")
"""With privacy: epsilon spent against parties that see the contributors, and against those that see models only."""


def row(result: RoundResult, settings: RunSettings) -> dict[str, int | float | str]:
    """Return one completed round by column. Seconds of training and encrypting are means per client."""
    values: tuple[int | float | str, ...] = (
        result.round,
        result.contributors,
        round(result.accuracy, 6),
        round(result.loss, 6),
        round(result.bytes_up_per_client),
        round(result.train_seconds, 4),
        round(result.encrypt_seconds, 4),
        round(result.add_seconds, 4),
        round(result.decrypt_seconds, 4),
        round(result.seconds, 4),
        result.exposure,
        "; ".join(settings.insecurities),
    )
    if settings.privacy is None:
        return dict(zip(COLUMNS, values, strict=True))
    values = (*values, round(result.epsilon, 6), round(result.epsilon_models, 6))
    return dict(zip(PRIVATE_COLUMNS, values, strict=True))


def table(results: Sequence[RoundResult], title: str, privacy: Privacy | None = None) -> Table:
    """Return the history as a table for people: one line a round."""
    caption = "KiB up per client; seconds to train and encrypt per client, to add and decrypt for all"
    if privacy is not None:
        caption += f"; ε spent so far, for a delta of {privacy.delta:g}"
    history = Table(
        title=title,
        caption=caption,
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        title_justify="left",
        caption_justify="left",
    )
    headings = ("round", "clients", "accuracy", "loss", "KiB", "train", "encrypt", "add", "decrypt")
    for heading in headings if privacy is None else (*headings, "ε"):
        history.add_column(heading, justify="right")
    for result in results:
        history.add_row(
            str(result.round),
            str(result.contributors),
            f"{result.accuracy:.2%}",
            f"{result.loss:.4f}",
            f"{result.bytes_up_per_client / 1024:.1f}",
            *((f"{result.train_seconds:.2f}", f"{result.encrypt_seconds:.2f}") if privacy is None else ("", "")),
            f"{result.add_seconds:.3f}",
            f"{result.decrypt_seconds:.2f}",
            *([] if privacy is None else [f"{result.epsilon:.2f}"]),
        )
    return history


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
        _write_csv(folder / "history.csv", rows, COLUMNS if settings.privacy is None else PRIVATE_COLUMNS)
        _write_lines(folder / "history.jsonl", "".join(json.dumps(each) + "\n" for each in rows))
        (folder / "report.md").write_text(report, encoding="utf-8")
        save_model(folder / "model.npz", task, model)
        if results:
            draw_history(folder / "history.png", results, settings.insecurities)
    except OSError as error:
        raise StorageError(f"the results cannot be written to {folder}: {error}") from error


def draw_history(path: Path, results: Sequence[RoundResult], insecurities: Sequence[str] = ()) -> None:
    """Draw accuracy and seconds by round, stamped with what was switched off."""
    # Only here: importing matplotlib takes longer than most rounds.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, time = figure.subplots(2, 1, sharex=True)
    numbers = [result.round for result in results]
    accuracy.plot(numbers, [100 * result.accuracy for result in results], "o-", color="#0072b2")
    accuracy.set(ylabel="accuracy of the global model, %", title="What each round learned, and what it cost")
    if insecurities:
        figure.suptitle(f"INSECURE: {'; '.join(insecurities)}", fontsize="small", wrap=True)
    accuracy.grid(alpha=0.3)
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
    figure.savefig(path, dpi=120)


def _write_lines(path: Path, text: str) -> None:
    """Write the file whole or not at all, and not if it is the same already: somebody may be following it."""
    if not path.exists() or path.read_text(encoding="utf-8", errors="replace") != text:
        beside = path.with_name(f".{path.name}.partial")
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)


def _write_csv(path: Path, rows: Sequence[dict[str, int | float | str]], columns: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
