"""Randomised response (Warner 1965; chapter 15): answers that can be denied one by one, and still be counted.

Each person throws a coin: heads, tell the truth; tails, throw again and say what that coin shows. A yes is three times
as likely from a person of whom it is true (3/4) as from any other (1/4), so one answer has epsilon ln 3. Of people
of whom the share s is true, s / 2 + 1/4 say yes; from the share who do, s is got back as twice that less one half.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
import numpy.typing as npt

from core.randomness import Rng, generator

EPSILON = log(3)
"""What one answer gives away at most; answers to the same question with fresh coins add up."""


@dataclass(frozen=True)
class Estimate:
    """What a crowd's answers say of the truth.

    Attributes:
        share: of whom it is true, cut to 0 ... 1.
        standard_error: how far off that typically is, from how many answered.
        said_yes: the share of answers that are yes.
    """

    share: float
    standard_error: float
    said_yes: float


def respond(truth: npt.ArrayLike, rng: Rng) -> npt.NDArray[np.bool_]:
    """Return each person's answer, shape (people,): the truth if a first coin shows heads, else a second coin."""
    true = np.asarray(truth, bool)
    honest, coin = generator(rng).random((2, *true.shape)) < 0.5
    return np.where(honest, true, coin)


def estimate(answers: npt.ArrayLike) -> Estimate:
    """Estimate the true share from answers of 0 or 1, shape (people,). Raises ValueError without answers.

    The estimate can fall outside 0 ... 1 by chance and is cut; the standard error is that of the uncut one.
    """
    said = np.asarray(answers, bool)
    if not said.size:
        raise ValueError("no answers: there is nothing to estimate from")
    yes = float(said.mean())
    return Estimate(min(max(true_share(yes), 0.0), 1.0), standard_error(yes, said.size), yes)


def true_share(said_yes: float) -> float:
    """Return the share behind a share of yes, not cut."""
    return 2 * said_yes - 0.5


def standard_error(said_yes: float, people: int) -> float:
    """Return the standard error of the true share: twice that of the share of yes."""
    return 2 * sqrt(said_yes * (1 - said_yes) / people)
