"""Rounds in which clients drop out at random, with the key holders' difference rule and without."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from core.difference import WINDOW
from core.errors import SettingsError
from experiments.attacks.differences import isolated
from keyholder.difference import exposed_by


@dataclass(frozen=True)
class Dropout:
    """A federation whose clients each miss a round with a chance. Raises SettingsError for what cannot be.

    Attributes:
        clients: selected.
        min_cohort: the smallest cohort, and the smallest difference, that is opened.
        chance: that a client misses a round.
        rounds: that are tried.
    """

    clients: int
    min_cohort: int
    chance: float
    rounds: int

    def __post_init__(self) -> None:
        if not 1 <= self.min_cohort <= self.clients:
            raise SettingsError(f"the minimum cohort is {self.min_cohort}; it must be 1 to {self.clients} clients")
        if not 0 <= self.chance < 1:
            raise SettingsError(f"the chance of a drop-out is {self.chance}; it must be at least 0 and below 1")
        if self.rounds < 1:
            raise SettingsError(f"the number of rounds is {self.rounds}; it must be at least 1")

    def present(self, rng: np.random.Generator) -> np.ndarray:
        """Draw which clients are there in each round, shape (rounds, clients)."""
        return rng.random((self.rounds, self.clients)) >= self.chance


def opened(settings: Dropout, present: np.ndarray, *, rule: bool) -> list[int]:
    """Return the numbers of the rounds whose sums are opened, with the key holders' rule or without."""
    released: list[tuple[str, int, frozenset[str]]] = []
    for number, row in enumerate(present):
        names = frozenset(f"client-{place}" for place in np.flatnonzero(row))
        if len(names) < settings.min_cohort:
            continue
        if rule and exposed_by(names, released[-WINDOW:], settings.min_cohort):
            continue
        released.append(("run", number, names))
    return [number for _, number, _ in released]


def measure(settings: Dropout, rng: np.random.Generator) -> dict[str, float]:
    """Measure the share of rounds refused, and of clients that can be isolated without the rule and with it."""
    present = settings.present(rng)
    without, kept = opened(settings, present, rule=False), opened(settings, present, rule=True)
    return {
        "refused": 1 - len(kept) / settings.rounds,
        "alone, off": _share_alone(present[without]),
        "alone, on": _share_alone(present[kept]),
    }


def _share_alone(contributors: np.ndarray) -> float:
    return float(isolated(contributors).mean()) if len(contributors) else 0.0
