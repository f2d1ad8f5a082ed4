"""One style for all pictures, and how they are saved."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from core.errors import StorageError

# Okabe and Ito (2008): distinguishable with every common kind of colour blindness.
BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK)
DASHES: Sequence[Any] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 2)), (0, (8, 3)))  # for grey print
MARKERS = "os^Dv*X"
GREY = "#666666"

# Lightness only ever rises, with zero a middle grey: signs stay apart in grey print, where the usual
# red-white-blue maps show plus and minus alike.
SIGNED = LinearSegmentedColormap.from_list("signed", ["#06234f", "#2b62a8", "#8f8f8f", "#f5bd5c", "#fff1c4"])
INK = mpl.colormaps["gray_r"]
SIZE = mpl.colormaps["cividis"]

DPI = 120
STYLE: dict[str, Any] = {
    "figure.dpi": DPI,
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.labelsize": 10,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
    "svg.fonttype": "path",  # the same letters wherever the file is opened
    "svg.hashsalt": "book.pictures",  # the same names inside the file every time
}


class Picture(Figure):
    """A figure that a notebook shows by itself, with no set-up and no pyplot."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=DPI)
        return content.getvalue()


@contextmanager
def style() -> Iterator[None]:
    """Draw with this module's settings, and leave matplotlib's own as they were. Also a decorator: `@style()`."""
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]  # its type lists every setting there is
        yield


@style()
def new_figure(width: float = 6.4, height: float = 4.0, title: str = "") -> Picture:
    """Return an empty figure, its size in inches; `figure.subplots(...)` gives it axes."""
    figure = Picture(figsize=(width, height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def bare(axes: Axes) -> Axes:
    """Take frame, ticks and grid away: for images and diagrams."""
    axes.grid(False)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def settle(figure: Figure) -> None:
    """Lay a figure out once and for all: laying it out again would move everything by a hair."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def save(figure: Figure, path: Path | str) -> tuple[Path, Path]:
    """Write a figure as `path`.png and `path`.svg, the same bytes every time; return both paths.

    What is added to the figure afterwards finds no new room: its layout is settled here.

    Raises StorageError if the place cannot be written.
    """
    place = Path(path)
    png, svg = place.with_name(f"{place.name}.png"), place.with_name(f"{place.name}.svg")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with style():
            settle(figure)
            figure.savefig(png, dpi=DPI, metadata={"Software": None})
            figure.savefig(svg, metadata={"Date": None, "Creator": None})
    except OSError as error:
        raise StorageError(f"the picture {place} cannot be written: {error.strerror or error}") from error
    return png, svg
