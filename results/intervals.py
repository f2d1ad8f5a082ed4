"""How sure a number is: means over seeds with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
import numpy.typing as npt

# Quantiles of Student's t for two-sided 95 %, by degrees of freedom; beyond the table the normal one is close enough.
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
        2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)  # fmt: skip
_NORMAL95 = 1.960


@dataclass(frozen=True)
class Interval:
    """A mean and the half width of its 95 % interval; NaN where there is one value only."""

    mean: float
    half: float

    def __str__(self) -> str:
        return f"{self.mean:.3g}" if np.isnan(self.half) else f"{self.mean:.3g} ± {self.half:.2g}"


def over_seeds(values: Sequence[float] | npt.NDArray[np.float64]) -> Interval:
    """Return the mean over independent repetitions and its 95 % interval by Student's t."""
    found = np.asarray(values, dtype=np.float64)
    if len(found) < 2:
        return Interval(float(found.mean()), float("nan"))
    degrees = len(found) - 1
    quantile = _T95[degrees - 1] if degrees <= len(_T95) else _NORMAL95
    return Interval(float(found.mean()), float(quantile * found.std(ddof=1) / sqrt(len(found))))
