"""How rounds are run: the settings of the state machine in server/rounds.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil

from core.errors import SettingsError

LONGEST_SECONDS = 1e6
LARGEST = 1_000_000
"""Rounds of a run, and clients of a round."""


@dataclass(frozen=True)
class RoundRules:
    """How rounds are run. Raises SettingsError when made with values that contradict each other."""

    rounds: int = 5
    min_cohort: int = 3
    max_cohort: int = 64
    target: int | None = None
    """Clients to wait for before the first round, as long as patience lasts; without it, the round begins when
    `gather_seconds` have passed without another arrival. Later rounds begin with the clients that are connected."""
    cohort: int | None = None
    """Updates wanted in each round: `over_selection` times as many clients are drawn, and the first `cohort` updates
    count. Without it every connected client takes part, and all are waited for."""
    over_selection: float = 1.3
    """Clients chosen for each update that is wanted, because some drop out."""
    threshold: int = 2
    """Key holders needed to sign a list, to open a sum and to endorse a model: t of the roster."""
    holders: int = 3
    """Key holders there are."""
    gather_seconds: float = 5.0
    round_seconds: float = 120.0
    """From the opening of a round to its deadline for commitments."""
    upload_seconds: float = 60.0
    """From the closed list to the deadline for updates."""
    answer_seconds: float = 20.0
    """After so long without an answer of the holders that were asked, the others are asked too."""
    patience_seconds: float = 600.0
    """Longest wait for clients, for a key, for signatures, or for the opening of a sum."""
    deal: str = "python -m registrar deal"
    """The command to show when keys run out."""
    max_attempts: int = 3
    """Attempts at one round before the run fails."""
    asked: int | None = None
    """Rounds that were asked for, where a privacy budget allows only `rounds`."""
    selection_secret: str = field(default="", repr=False)
    """Decides, with privacy, which clients are drawn; without it every party can repeat the draw."""

    def __post_init__(self) -> None:
        if not 1 <= self.rounds <= LARGEST:
            raise SettingsError(f"the number of rounds is {self.rounds}; it must be at least 1 and at most {LARGEST}")
        if self.max_cohort > LARGEST:
            raise SettingsError(f"the largest cohort is {self.max_cohort}; at most {LARGEST} are supported")
        if not 1 <= self.min_cohort <= self.max_cohort:
            raise SettingsError(
                f"the minimum cohort is {self.min_cohort}; "
                f"it must lie between 1 and the largest cohort, {self.max_cohort}"
            )
        if self.target is not None and not self.min_cohort <= self.target <= self.max_cohort:
            raise SettingsError(
                f"{self.target} clients are expected; that must lie between the minimum cohort, {self.min_cohort}, "
                f"and the largest, {self.max_cohort}"
            )
        self._check_cohort()
        if self.max_attempts < 1:
            raise SettingsError(f"the number of attempts at one round is {self.max_attempts}; it must be at least 1")
        if not 1 <= self.threshold <= self.holders:
            raise SettingsError(f"{self.threshold} of {self.holders} key holders are to open a sum; expected 1 or more")
        names = ("round_seconds", "upload_seconds", "answer_seconds", "patience_seconds", "gather_seconds")
        for name in names:
            if not 0 < getattr(self, name) <= LONGEST_SECONDS:
                raise SettingsError(f"{name} is {getattr(self, name)}; expected seconds, up to {LONGEST_SECONDS:g}")

    def _check_cohort(self) -> None:
        if not 1 <= self.over_selection <= 10:
            raise SettingsError(f"the over-selection is {self.over_selection}; expected a factor from 1 to 10")
        if self.cohort is not None and not self.min_cohort <= self.cohort <= self.max_cohort:
            raise SettingsError(
                f"{self.cohort} updates a round are wanted; that must lie between the minimum cohort, "
                f"{self.min_cohort}, and the largest, {self.max_cohort}"
            )

    @property
    def ending(self) -> str:
        """What is said when the last round is completed."""
        if self.asked is None:
            return "all rounds are completed"
        return f"the privacy budget allows {self.rounds} of the {self.asked} rounds asked for, and they are completed"

    @property
    def selected(self) -> int:
        """How many clients an attempt is opened for, at the most."""
        if self.cohort is None:
            return self.max_cohort
        return min(self.max_cohort, ceil(round(self.cohort * self.over_selection, 6)))
