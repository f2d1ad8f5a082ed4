"""What a client or a key holder agrees to, whatever the aggregator says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from core.errors import SettingsError
from core.secagg.scheme import PLAIN, SAFE_KEY_BITS, check_key_bits
from core.settings.common import AllowPlain, InsecureDemoKeys
from core.settings.setting import Bounds, Setting, Settings


@dataclass(frozen=True)
class Policy(Settings):
    """What a client or a key holder agrees to. `insecure_demo_keys` lets it agree to keys of any size.

    Raises SettingsError when made with a value out of bounds, or with a cohort of one and no insecure setting.
    """

    min_cohort: Annotated[
        int,
        Setting("Take part in, and open, no sum of fewer clients.", "clients", Bounds(at_least=1), in_policy=True),
    ] = 2
    insecure_demo_keys: InsecureDemoKeys = False
    allow_plain: AllowPlain = False
    min_key_bits: Annotated[
        int,
        Setting(
            "Take part in no round whose key is shorter.",
            "bits",
            Bounds(at_least=SAFE_KEY_BITS),
            in_policy=True,
        ),
    ] = SAFE_KEY_BITS
    min_noise: Annotated[
        float,
        Setting(
            "Take part in no round with a smaller noise multiplier; above 0, in none without privacy.",
            "times the clip norm",
            Bounds(at_least=0),
            in_policy=True,
        ),
    ] = 0.0
    max_delta: Annotated[
        float | None,
        Setting(
            "Take part in no round without privacy, or with a larger delta.",
            bounds=Bounds(above=0, below=1),
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

    def check_key(self, scheme: str, bits: int) -> None:
        """Raise SettingsError unless this party agrees to such keys."""
        if scheme == PLAIN and not self.allow_plain:
            raise SettingsError(
                "the aggregator's run encrypts nothing (scheme plain); give --allow-plain to take part all the same"
            )
        check_key_bits(scheme, bits, insecure_demo_keys=self.insecure_demo_keys)
        if scheme != PLAIN and bits < self.min_key_bits and not self.insecure_demo_keys:
            raise SettingsError(f"the round's key has {bits} bits; this party wants at least {self.min_key_bits}")
