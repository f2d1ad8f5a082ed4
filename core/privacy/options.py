"""The command-line options of privacy: what an aggregator promises, and what a client or a key holder insists on."""

from __future__ import annotations

from typing import Annotated

import typer

from core.errors import SettingsError
from core.privacy.mechanism import Privacy

ClipNorm = Annotated[
    float | None, typer.Option(help="With privacy: the largest L2 norm of an update; longer ones are shortened.")
]
NoiseMultiplier = Annotated[
    float | None, typer.Option(help="With privacy: standard deviation of a cohort's noise, as a multiple of the norm.")
]
Delta = Annotated[float, typer.Option(help="With privacy: the probability with which the promise may fail.")]
MaxColluders = Annotated[int, typer.Option(help="With privacy: contributors whose noise is not counted on.")]
EpsilonBudget = Annotated[
    float | None, typer.Option(help="With privacy: end before more epsilon than this is spent; none: no limit.")
]
MinNoise = Annotated[
    float, typer.Option(min=0, help="Take part in no round with a smaller noise multiplier than this, or without.")
]
MaxDelta = Annotated[
    float | None, typer.Option(help="Take part in no round without privacy, or with a larger delta than this.")
]

DEFAULT_DELTA = 1e-5


def privacy_of(
    clip_norm: float | None,
    noise_multiplier: float | None,
    delta: float,
    max_colluders: int,
    epsilon_budget: float | None,
) -> Privacy | None:
    """Return the settings that the options amount to; None if no privacy is asked for.

    Raises SettingsError if only a part of what it takes is given, or it cannot work.
    """
    if clip_norm is None and noise_multiplier is None:
        if epsilon_budget is not None or max_colluders:
            raise SettingsError("a budget of epsilon, or colluders, need --clip-norm and --noise-multiplier")
        return None
    if clip_norm is None or noise_multiplier is None:
        missing = "--clip-norm" if clip_norm is None else "--noise-multiplier"
        raise SettingsError(f"privacy takes both --clip-norm and --noise-multiplier; {missing} is missing")
    return Privacy(clip_norm, noise_multiplier, delta, max_colluders, epsilon_budget)
