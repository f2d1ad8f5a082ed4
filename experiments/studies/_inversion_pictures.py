"""The pictures of image-inversion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from book.pictures.style import COLOURS, DASHES, GREY, INK, MARKERS, bare, new_figure, style
from book.run import Run
from core.data.mnist import SIDE
from experiments.arrays import FloatArray
from experiments.study import Row


@style()
def draw_grid(run: Run, lines: Mapping[str, FloatArray]) -> None:
    """Draw a row of pictures for each kind of update, shape (pictures, 784) each."""
    columns = len(next(iter(lines.values())))
    figure = new_figure(7.2, 0.72 * len(lines), title="Eight pictures, and what updates tell of them")
    grid = figure.subplots(len(lines), 1, gridspec_kw={"hspace": 0.02})
    for axes, (name, found) in zip(grid, lines.items(), strict=True):
        strip = np.hstack([np.pad(picture.reshape(SIDE, SIDE), 2) for picture in found.clip(0, 1)])
        bare(axes).imshow(strip, cmap=INK, vmin=0, vmax=1, aspect="equal", interpolation="nearest")
        axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
        axes.set_xlim(-0.5, columns * (SIDE + 4) - 0.5)
    run.save("recovered", figure)


@style()
def draw_shares(run: Run, rows: Sequence[Row]) -> None:
    """Draw the share recovered against the number of pictures in one step."""
    figure = new_figure(title="The more pictures in one step, the fewer come back")
    axes = figure.subplots()
    plain = [
        row
        for row in rows
        if row["defence"] == "none" and row["clients"] == 1 and "SGD, 1 step of" in str(row["training"])
    ]
    for number, network in enumerate(dict.fromkeys(str(row["network"]) for row in plain)):
        line = sorted(
            (int(row["pictures"]), float(row["share above 40 dB"])) for row in plain if row["network"] == network
        )
        axes.plot(
            *zip(*line, strict=True),
            color=COLOURS[number],
            linestyle=DASHES[number],
            marker=MARKERS[number],
            label=network,
        )
    sums = [(int(row["clients"]), float(row["share above 40 dB"])) for row in rows if int(row["clients"]) > 1]
    axes.plot(
        *zip(*sorted(sums), strict=True),
        "x",
        color=GREY,
        markersize=8,
        label="784-100-10, sum of clients with one each",
    )
    axes.set_xscale("log", base=2)
    axes.set_xticks([1, 2, 4, 8, 16, 32, 64], ["1", "2", "4", "8", "16", "32", "64"])
    axes.set(
        xlabel="pictures behind what is seen (one step of SGD)",
        ylabel="share recovered above 40 dB (1 = all)",
        ylim=(-0.03, 1.05),
    )
    axes.legend()
    run.save("shares", figure)
