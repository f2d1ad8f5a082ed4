"""How rounds are run: the settings of the state machine in server/rounds.py."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil
from typing import Annotated

from core.commands import command_of
from core.errors import SettingsError
from core.robust import MOST_GROUPS, Grouping
from core.settings.setting import Bounds, Setting, Settings
from core.who_reads import DEFAULT_HOLDERS, DEFAULT_MIN_COHORT, DEFAULT_THRESHOLD
from core.wording import counted

LONGEST_SECONDS = 1_000_000
LARGEST = 1_000_000
"""Rounds of a run, and clients of a round."""


CLIENTS = Bounds(at_least=1, at_most=LARGEST)
SECONDS = Bounds(above=0, at_most=LONGEST_SECONDS)
MIN_COHORT = Setting(
    "Open no sum of fewer contributors; each party has its own minimum besides.", "clients", CLIENTS, in_policy=True
)
GROUPS = Setting(
    "Divide each round's contributors at random into this many groups, open each one's sum, and let --robust decide "
    "between their means; --min-cohort is then the smallest group (docs/rules.md).",
    "groups",
    Bounds(at_least=1, at_most=MOST_GROUPS),
)
DEFAULT_OVER_SELECTION = 1.3
OVER_SELECTION = Setting(
    "With --cohort: clients chosen for each update wanted, because some drop out.",
    "times the cohort",
    Bounds(at_least=1, at_most=10),
)
ROUND_SECONDS = Setting("Time from the opening of a round to the deadline for commitments.", "seconds", SECONDS)


@dataclass(frozen=True)
class RoundRules(Settings):
    """How rounds are run. Raises SettingsError when made with values that contradict each other."""

    rounds: Annotated[int, Setting("How many rounds.", "rounds", Bounds(at_least=1, at_most=LARGEST))] = 5
    min_cohort: Annotated[int, MIN_COHORT] = DEFAULT_MIN_COHORT
    max_cohort: Annotated[int, Setting("Slots are wide enough for this many contributors.", "clients", CLIENTS)] = 64
    target: Annotated[
        int | None,
        Setting(
            "Begin as soon as this many clients are connected; without it, when no more come (--gather-seconds). Later "
            "rounds begin with the clients that are connected.",
            "clients",
            CLIENTS,
            option="clients",
        ),
    ] = None
    cohort: Annotated[
        int | None,
        Setting(
            "Updates wanted in each round, of clients chosen at random; without it, everyone's.", "updates", CLIENTS
        ),
    ] = None
    over_selection: Annotated[float, OVER_SELECTION] = DEFAULT_OVER_SELECTION
    groups: Annotated[int, GROUPS] = 1
    threshold: int = DEFAULT_THRESHOLD
    """Key holders needed to sign a list, to open a sum and to endorse a model: t of the roster."""
    holders: int = DEFAULT_HOLDERS
    """Key holders there are."""
    gather_seconds: Annotated[
        float, Setting("Begin when no new client has come for this long.", "seconds", SECONDS)
    ] = 5.0
    round_seconds: Annotated[float, ROUND_SECONDS] = 120.0
    upload_seconds: Annotated[
        float, Setting("Time from the closed list to the deadline for updates.", "seconds", SECONDS)
    ] = 60.0
    answer_seconds: Annotated[
        float,
        Setting("Ask the other key holders too after this long without an answer.", "seconds", SECONDS),
    ] = 20.0
    patience_seconds: Annotated[
        float,
        Setting(
            "Longest wait for clients, for a key, for signatures, or for the opening of a sum.",
            "seconds",
            SECONDS,
            option="patience",
        ),
    ] = 600.0
    deal: str = field(default_factory=lambda: f"{command_of('registrar')} deal")
    """The command to show when keys run out."""
    max_attempts: int = 3
    """Attempts at one round before the run fails."""
    asked: int | None = None
    """Rounds that were asked for, where a privacy budget allows only `rounds`."""
    budget_costs: str = ""
    """Why a privacy budget allows no more, in words and numbers; where it does allow fewer than `asked`."""
    selection_secret: str = field(default="", repr=False)
    """Decides, with privacy, which clients are drawn; without it every party can repeat the draw."""

    @property
    def drawn_in_secret(self) -> bool:
        """Whether no one but the aggregator may know which clients were drawn for a round."""
        return self.cohort is not None and bool(self.selection_secret)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups > 1:
            Grouping(self.groups).require_room(self.cohort or self.target or self.max_cohort, self.min_cohort)
        if self.min_cohort > self.max_cohort:
            raise SettingsError(
                f"the minimum cohort is {self.min_cohort}; it must be at most the largest cohort, {self.max_cohort}"
            )
        if self.target is not None and self.target < self.min_cohort:
            raise SettingsError(
                f"{counted(self.target, 'client is', 'clients are')} expected, and the minimum cohort is "
                f"{self.min_cohort}; pass --min-cohort {self.target} here and to every client and key holder to open "
                f"smaller sums ({command_of('registrar')} init --min-cohort writes it into their folders)"
            )
        if self.target is not None and not self.min_cohort <= self.target <= self.max_cohort:
            raise SettingsError(
                f"{self.target} clients are expected; that must lie between the minimum cohort, {self.min_cohort}, "
                f"and the largest, {self.max_cohort}"
            )
        if self.cohort is not None and not self.min_cohort <= self.cohort <= self.max_cohort:
            raise SettingsError(
                f"{self.cohort} updates a round are wanted; that must lie between the minimum cohort, "
                f"{self.min_cohort}, and the largest, {self.max_cohort}"
            )
        if self.max_attempts < 1:
            raise SettingsError(f"the number of attempts at one round is {self.max_attempts}; it must be at least 1")
        if not 1 <= self.threshold <= self.holders:
            raise SettingsError(f"{self.threshold} of {self.holders} key holders are to open a sum; expected 1 or more")

    @property
    def least(self) -> int:
        """How many contributors a round needs: the minimum cohort, in each group if there are groups."""
        return self.groups * self.min_cohort

    def smallest(self, contributors: int) -> int:
        """Return how many of so many contributors are in the smallest sum that is opened."""
        return contributors // self.groups

    @property
    def before_budget(self) -> RoundRules:
        """The rules as they were asked for, whatever a privacy budget allows."""
        return self if self.asked is None else replace(self, rounds=self.asked, asked=None, budget_costs="")

    @property
    def ending(self) -> str:
        """What is said when the last round is completed."""
        if self.asked is None:
            return "all rounds are completed"
        return f"{self.allowed}, and they are completed{self._why}"

    @property
    def allowed(self) -> str:
        """How many rounds a privacy budget allows of those that were asked for."""
        return f"the privacy budget allows {self.rounds} of the {self.asked} rounds asked for"

    @property
    def foretold(self) -> str:
        """The same before the run, with the reason."""
        return f"{self.allowed}{self._why}"

    @property
    def _why(self) -> str:
        return f": {self.budget_costs}" if self.budget_costs else ""

    @property
    def selected(self) -> int:
        """How many clients an attempt is opened for, at the most."""
        if self.cohort is None:
            return self.max_cohort
        return min(self.max_cohort, ceil(round(self.cohort * self.over_selection, 6)))
