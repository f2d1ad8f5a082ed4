"""What a client or a key holder agrees to, whatever the aggregator says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from core.errors import SettingsError
from core.privacy.composition import epsilon_of_cost
from core.privacy.mechanism import LARGEST_BUDGET
from core.secagg.scheme import PLAIN, SAFE_KEY_BITS, check_key_bits
from core.settings.common import AllowPlain, InsecureDemoKeys, InsecureUnbounded
from core.settings.setting import Bounds, Setting, Settings
from core.who_reads import DEFAULT_COLLUDERS, DEFAULT_MIN_COHORT, least_contributors

DEFAULT_DELTA = 1e-5
"""Where a policy sets no other."""


@dataclass(frozen=True)
class Policy(Settings):
    """What a client or a key holder agrees to. `insecure_demo_keys` lets it agree to keys of any size.

    Raises SettingsError when made with a value out of bounds, or with a cohort of one and no insecure setting.
    """

    min_cohort: Annotated[
        int,
        Setting("Join and open no sum of fewer clients.", "clients", Bounds(at_least=1), in_policy=True),
    ] = DEFAULT_MIN_COHORT
    max_colluders: Annotated[
        int,
        Setting(
            "Join and open no sum of fewer than this and two more: this many contributors may work together.",
            "clients",
            Bounds(at_least=0),
            in_policy=True,
        ),
    ] = DEFAULT_COLLUDERS
    insecure_demo_keys: InsecureDemoKeys = False
    insecure_unbounded: InsecureUnbounded = False
    allow_plain: AllowPlain = False
    min_key_bits: Annotated[
        int,
        Setting(
            "Join no round with a shorter key.",
            "bits",
            Bounds(at_least=SAFE_KEY_BITS),
            in_policy=True,
        ),
    ] = SAFE_KEY_BITS
    min_noise: Annotated[
        float,
        Setting(
            "Join no round with a smaller noise multiplier; above 0, none without privacy.",
            "times the clip norm",
            Bounds(at_least=0),
            in_policy=True,
        ),
    ] = 0.0
    max_delta: Annotated[
        float | None,
        Setting(
            "Join no round without privacy, or with a larger delta.",
            bounds=Bounds(above=0, below=1),
            in_policy=True,
        ),
    ] = None
    max_epsilon: Annotated[
        float | None,
        Setting(
            "Join no round that brings what was spent to more than this: a client for its data, a key holder "
            "for each client, over all runs, at --max-delta (1e-5 if that is not given).",
            bounds=Bounds(above=0, at_most=LARGEST_BUDGET),
            in_policy=True,
        ),
    ] = None

    max_local_epochs: Annotated[
        int | None,
        Setting(
            "Join no round that trains for more passes over a client's data than this.",
            "passes",
            Bounds(at_least=1),
            in_policy=True,
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_cohort < 2 and not (self.insecure_demo_keys or self.allow_plain):
            raise SettingsError(
                "the minimum cohort is 1; the sum of one client is that client's update in clear, "
                "so at least 2 are needed"
            )

    @property
    def least_contributors(self) -> int:
        """How many contributors a sum must have at least."""
        return least_contributors(self.min_cohort, self.max_colluders)

    @property
    def delta(self) -> float:
        """The delta at which epsilon is counted."""
        return DEFAULT_DELTA if self.max_delta is None else self.max_delta

    def epsilon_of(self, cost: float) -> float:
        """Return the epsilon that a cost (core.privacy.composition) comes to for this party."""
        return epsilon_of_cost(cost, self.delta)

    def affords(self, cost: float) -> bool:
        """Return whether all that was spent may come to this cost."""
        return self.max_epsilon is None or self.epsilon_of(cost) <= self.max_epsilon

    def check_key(self, scheme: str, bits: int) -> None:
        """Raise SettingsError unless this party agrees to such keys."""
        if scheme == PLAIN and not self.allow_plain:
            raise SettingsError(
                "the aggregator's run encrypts nothing (scheme plain); give --allow-plain to join anyway"
            )
        check_key_bits(scheme, bits, insecure_demo_keys=self.insecure_demo_keys)
        if scheme != PLAIN and bits < self.min_key_bits and not self.insecure_demo_keys:
            raise SettingsError(f"the round's key has {bits} bits; this party wants at least {self.min_key_bits}")
