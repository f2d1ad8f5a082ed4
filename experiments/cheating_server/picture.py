"""The matrix as a picture: an attack a row; with every check, and without the one that stops it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from book.pictures.style import GREEN, ORANGE, VERMILLION, bare, new_figure
from experiments.cheating_server.report import Report, outcome_cell, sharing
from experiments.cheating_server.stage import Profile
from experiments.cheating_server.suite import Outcome

REFUSED, READ, BAD, NOTHING = f"{GREEN}55", f"{ORANGE}88", f"{VERMILLION}aa", "#eeeeee"
WIDTH, LABELS = 10.0, 3.1
"""Of the picture in inches, and of the labels' part of it."""
ROW_INCHES = 0.235

Cell = tuple[str, str]
"""Text and colour."""


def draw(report: Report, profiles: Sequence[Profile]) -> Figure:
    """Draw both matrices, one above the other."""
    first = [
        (f"{attack.number}  {attack.title}", [cell for profile in profiles for cell in _cells(report, attack, profile)])
        for attack in report.attacks
    ]
    second = [
        (
            f"{conspiracy.number}  {conspiracy.title}",
            [_held(found.outcome) for found in report.experiences if found.conspiracy == conspiracy],
        )
        for conspiracy in dict.fromkeys(found.conspiracy for found in report.experiences)
    ]
    rows = len(first) + len(second) + 7
    figure = new_figure(WIDTH, ROW_INCHES * rows, "What a dishonest aggregator can try, and who stops it")
    parts = figure.subplots(2, 1, height_ratios=[len(first) + 2, len(second) + 2])
    heads = [head for profile in profiles for head in (f"{sharing(profile)}: refused by", "without the check")]
    draw_matrix(parts[0], "alone, or with clients", heads, first)
    heads = [sharing(profile) for profile in report.profiles]
    draw_matrix(parts[1], "with one key holder and one client", heads, second)
    return figure


def _cells(report: Report, attack: object, profile: Profile) -> list[Cell]:
    trial = next((t for t in report.trials if (t.attack, t.profile) == (attack, profile)), None)
    if trial is None:
        return [("means nothing here", NOTHING), ("", NOTHING)]
    refusal = f"{trial.attack.by.value.removeprefix('key ')}: {trial.defended.reason}"
    held = (refusal, REFUSED) if trial.refused_as_named else (outcome_cell(trial.defended), BAD)
    loot = trial.control.loot
    read = (loot.brief, READ) if loot and trial.control_works else ("nothing", BAD)
    return [held, read]


def _held(outcome: Outcome) -> Cell:
    loot = outcome.loot
    if loot is None:
        return f"holder: {outcome.reason}", REFUSED
    return f"SUCCEEDS: {loot.right} of {loot.weights}", BAD


def draw_matrix(axes: Axes, title: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[Cell]]]) -> None:
    """Draw a table of coloured cells, with a label before each row."""
    bare(axes)
    each = (WIDTH - LABELS) / len(heads)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(len(rows), -1.2)
    axes.text(0, -0.5, title, weight="bold", va="center", fontsize=8)
    for place, head in enumerate(heads):
        axes.text(LABELS + (place + 0.5) * each, -0.5, head, ha="center", va="center", fontsize=8, weight="bold")
    for height, (label, cells) in enumerate(rows):
        axes.text(0, height + 0.5, label, va="center", fontsize=7.5)
        for place, (text, colour) in enumerate(cells):
            left = LABELS + place * each
            axes.add_patch(Rectangle((left, height + 0.06), each * 0.98, 0.88, facecolor=colour, edgecolor="none"))
            axes.text(left + each * 0.49, height + 0.5, text, ha="center", va="center", fontsize=7)
