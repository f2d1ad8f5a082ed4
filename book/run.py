"""The settings of an experiment, and where it puts its pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from book.finding import Finding

T = TypeVar("T")


@dataclass(frozen=True)
class Run:
    """One run of an experiment.

    Attributes:
        out: the folder for tables and pictures.
        data: the folder with the public files; None to make data up.
        quick: whether to do little, in seconds.
        seed: same seed and data, same findings.
        say: writes a line for the user.
        progress: shows what is being done, until the next call.
    """

    out: Path
    data: Path | None = None
    quick: bool = False
    seed: int = 1
    say: Callable[[str], None] = field(default=print)
    progress: Callable[[str], None] = field(default=lambda _text: None)

    @property
    def comparable(self) -> bool:
        """Whether findings may be held against goals that were set on the book's data."""
        return self.data is not None and not self.quick

    def rng(self, *stream: int) -> np.random.Generator:
        """Make a generator for one use: different numbers draw independently."""
        return np.random.default_rng([self.seed, *stream])

    def pick(self, full: T, quick: T) -> T:
        """Choose how much to do."""
        return quick if self.quick else full

    def save(self, name: str, figure: Figure) -> None:
        """Write a picture as PNG and SVG. Raises StorageError if the folder cannot be written."""
        from book.pictures.style import save  # only here: matplotlib takes longer to import than most chapters run

        save(figure, self.out / name)


@dataclass(frozen=True)
class Chapter:
    """The experiments of one chapter of the book.

    Attributes:
        number: of the chapter.
        title: what it is about, in our words.
        run: yields each finding as soon as it is there.
    """

    number: int
    title: str
    run: Callable[[Run], Iterator[Finding]]
