"""The pictures of membership: curves on logarithmic axes, where few false alarms can be seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from book.pictures.style import COLOURS, DASHES, GREY, new_figure, style
from book.run import Run
from experiments.arrays import FloatArray
from experiments.attacks.roc import roc_curve

Groups = Sequence[tuple[FloatArray, FloatArray]]
"""Scores of members and of others, of each repetition."""
RATES = np.geomspace(1e-4, 1, 81)


@style()
def draw_attacks(run: Run, attacks: Mapping[str, Groups]) -> None:
    """Draw one curve for each attack, without defence."""
    figure = new_figure(5.4, 4.6, title="Who is sure of a few members, undefended")
    axes = figure.subplots()
    _curves(axes, attacks)
    run.save("attacks", figure)


@style()
def draw_defences(run: Run, defences: Mapping[str, Groups]) -> None:
    """Draw one curve for each defence, under the strongest attack."""
    figure = new_figure(5.4, 4.6, title="LiRA, online, against noise on clipped updates")
    axes = figure.subplots()
    _curves(axes, defences)
    run.save("defences", figure)


def _curves(axes: Axes, by_name: Mapping[str, Groups]) -> None:
    for number, (name, groups) in enumerate(by_name.items()):
        shares = np.mean([_shares(*group) for group in groups], axis=0)
        axes.loglog(RATES, np.maximum(shares, 1e-9), color=COLOURS[number], linestyle=DASHES[number], label=name)
    axes.loglog(RATES, RATES, color=GREY, linewidth=0.8, label="guessing")
    axes.set(xlabel="false alarms (share of others)", ylabel="members found (share)", xlim=(1e-4, 1), ylim=(1e-4, 1.2))
    axes.legend(loc="lower right", fontsize=8)


def _shares(members: FloatArray, others: FloatArray) -> FloatArray:
    """Return the share of members found at each of RATES."""
    false, true = roc_curve(members, others)
    found: FloatArray = true[np.searchsorted(false, RATES, side="right") - 1]
    return found
