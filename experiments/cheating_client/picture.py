"""All lies as a picture: one a row; with every check, and without the one that stops it."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from book.pictures.style import new_figure
from experiments.cheating_client.lie import Gain
from experiments.cheating_client.suite import Trial
from experiments.cheating_server.picture import BAD, NOTHING, READ, REFUSED, ROW_INCHES, WIDTH, Cell, draw_matrix

HEADS = ("refused by", "the liar, and the round", "without the check")


def draw(trials: Sequence[Trial]) -> Figure:
    """Draw the table."""
    title = "What a dishonest client can try, and who stops it"
    figure = new_figure(WIDTH, ROW_INCHES * (len(trials) + 4), title)
    rows = [(f"{trial.row.number}  {trial.row.title}", _cells(trial)) for trial in trials]
    draw_matrix(figure.subplots(), "one of three clients", HEADS, rows)
    return figure


def _cells(trial: Trial) -> list[Cell]:
    found = trial.defended
    refusal = f"{found.refused_by.removeprefix('key ') or 'nobody'}: {trial.reason}"
    got = NOTHING if trial.row.gain is Gain.NOTHING else READ
    return [
        (refusal, REFUSED if trial.refused_as_named else BAD),
        (f"{trial.naming}; {trial.round}", REFUSED if trial.harmless else BAD),
        (trial.got, got if trial.control_works else BAD),
    ]
