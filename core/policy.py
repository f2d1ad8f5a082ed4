"""What a client or a key holder agrees to, whatever the aggregator says, and policy.toml in its folder that says so.

min-cohort = 10        # no sum of fewer
min-key-bits = 3072
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from core.errors import SettingsError
from core.secagg.scheme import PLAIN, SAFE_KEY_BITS, check_key_bits

FILE = "policy.toml"
SETTINGS = ("min-cohort", "min-key-bits", "min-noise", "max-delta", "difference-rule")
"""What a policy can say. Nothing insecure is among it: that is asked for on the command line, each time."""


@dataclass(frozen=True)
class Policy:
    """What a client or a key holder agrees to, whatever the aggregator says.

    Attributes:
        min_cohort: takes part in no sum of fewer clients.
        insecure_demo_keys: agrees to keys below 2048 bits, and to a cohort of one.
        allow_plain: agrees to a run in which nothing is encrypted.
        min_key_bits: takes part in no encrypted round with a shorter key, unless `insecure_demo_keys` is set.
        min_noise: takes part in no round with a smaller noise multiplier, or without noise if it is above 0.
        max_delta: takes part in no round without privacy, or with a larger delta; None to allow both.

    Raises SettingsError when made with a cohort of one and no insecure setting.
    """

    min_cohort: int = 2
    insecure_demo_keys: bool = False
    allow_plain: bool = False
    min_noise: float = 0.0
    max_delta: float | None = None
    min_key_bits: int = SAFE_KEY_BITS

    def __post_init__(self) -> None:
        if self.min_cohort < 1:
            raise SettingsError(f"the minimum cohort is {self.min_cohort}; it must be at least 1")
        if self.min_cohort < 2 and not (self.insecure_demo_keys or self.allow_plain):
            raise SettingsError(
                "the minimum cohort is 1; the sum of one client is that client's update in clear, "
                "so at least 2 are needed"
            )
        if not self.min_noise >= 0:
            raise SettingsError(f"the smallest noise multiplier is {self.min_noise}; expected 0 or more")
        if self.max_delta is not None and not 0 < self.max_delta < 1:
            raise SettingsError(f"the largest delta is {self.max_delta}; expected a number between 0 and 1")

    def check_key(self, scheme: str, bits: int) -> None:
        """Raise SettingsError unless this party agrees to such keys."""
        if scheme == PLAIN and not self.allow_plain:
            raise SettingsError(
                "the aggregator's run encrypts nothing (scheme plain); give --allow-plain to take part all the same"
            )
        check_key_bits(scheme, bits, insecure_demo_keys=self.insecure_demo_keys)
        if scheme != PLAIN and bits < self.min_key_bits and not self.insecure_demo_keys:
            raise SettingsError(f"the round's key has {bits} bits; this party wants at least {self.min_key_bits}")


def read_policy(folder: Path, known: Collection[str]) -> dict[str, object]:
    """Return what policy.toml in a party's folder says, by the names of its settings; nothing if there is no such file.

    `known` are the settings that this kind of party has. Raises SettingsError for a file that cannot be read, or that
    says something else: what it was meant to forbid would otherwise be allowed.
    """
    path = folder / FILE
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"the policy {path} cannot be read: {error}") from error
    known = [name for name in SETTINGS if name in known]
    for name in said:
        if name not in known:
            raise SettingsError(f"the policy {path} has a setting {name!r}; known are {', '.join(known)}")
    return said
