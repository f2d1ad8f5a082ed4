"""The small tables of the first chapters, to check by hand."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


class Baseball(NamedTuple):
    """Four games of a team (chapters 3 and 5), one entry a game in each column, shape (4,).

    Attributes:
        toes: the players' average number of toes.
        wins: share of games won so far.
        fans: in millions.
        won, hurt, sad: the targets: whether the game was won, and shares of players hurt and sad.
    """

    toes: FloatArray
    wins: FloatArray
    fans: FloatArray
    won: FloatArray
    hurt: FloatArray
    sad: FloatArray

    @property
    def inputs(self) -> FloatArray:
        """Toes, wins and fans of each game, shape (4, 3)."""
        return np.stack([self.toes, self.wins, self.fans], axis=1)

    @property
    def targets(self) -> FloatArray:
        """Hurt, won and sad of each game, shape (4, 3)."""
        return np.stack([self.hurt, self.won, self.sad], axis=1)


def baseball() -> Baseball:
    """Return the games, as fresh arrays."""
    return Baseball(
        toes=np.array([8.5, 9.5, 9.9, 9.0]),
        wins=np.array([0.65, 0.8, 0.8, 0.9]),
        fans=np.array([1.2, 1.3, 0.5, 1.0]),
        won=np.array([1.0, 1.0, 0.0, 1.0]),
        hurt=np.array([0.1, 0.0, 0.0, 0.1]),
        sad=np.array([0.1, 0.0, 0.1, 0.2]),
    )


def streetlights() -> tuple[FloatArray, FloatArray]:
    """Return which of three lamps are lit, shape (6, 3), and whether people walk then, shape (6, 1) (chapters 2, 6)."""
    lamps = [[1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 1, 1], [0, 1, 1], [1, 0, 1]]
    return np.array(lamps, float), np.array([[0], [1], [0], [1], [1], [0]], float)


def streetlights_deep() -> tuple[FloatArray, FloatArray]:
    """Return the first four rows with other answers, which no single layer can learn (chapter 6): (4, 3) and (4, 1)."""
    return streetlights()[0][:4], np.array([[1], [1], [0], [0]], float)


def crowds() -> FloatArray:
    """Return seven matches: whether at home, and how many came (chapter 2), shape (7, 2)."""
    home = [1, 0, 1, 1, 0, 0, 0]
    came = [100_000, 50_000, 100_000, 99_000, 50_000, 10_000, 11_000]
    return np.stack([home, came], axis=1).astype(float)
