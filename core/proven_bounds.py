"""What clients prove of their updates: the range of each weight, and with `--bound norm` the L2 norm of all.

With a norm C, the change u of an update is in whole steps, and what is proven is that their squares add up to at most
Z. Without privacy Z = D², with D = floor(C 2^fraction_bits). With privacy u + x is sent, with |u| <= D, and x is
discrete Gaussian noise of variance v on each of d weights; and but with a chance below 2^-40

    |u + x|²  <=  D²  +  2 D sqrt(2 t v)  +  v (d + 2 sqrt(d t) + 2 t)  =  Z       with t = 28.5 > 41 log(2)

because <u, x> is sub-Gaussian with the variance |u|² v (Canonne, Kamath and Steinke, NeurIPS 2020), and so is x, whose
norm Hsu, Kakade and Zhang bound (Electronic Communications in Probability 17, 2012, theorem 1). With a clip that adapts
the bit is one of the d numbers, and D is longer by its h (core/privacy/mechanism.py). A client whose noise is longer
sends nothing. The room for the noise is a dishonest client's too: about v d of Z (docs/bounds.md).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import floor, isqrt

import numpy as np

from core.bounds.parameters import NORM_BITS, Parameters, parameters_for
from core.errors import SettingsError
from core.privacy.mechanism import Mechanism, clip, to_integers
from core.secagg.encoding import Encoding
from core.update import Update

_TWICE_T = 57


def proven_of(encoding: Encoding, mechanism: Mechanism | None, largest_norm: float | None) -> Parameters:
    """Return what is proven of each update of a round. Raises SettingsError for an encoding without a proof.

    Args:
        mechanism: what clients do to their updates for privacy; then metrics are proven to be 0.
        largest_norm: the L2 norm of a change; None for the ranges alone.
    """
    square = 0 if largest_norm is None else largest_square(largest_norm, encoding, mechanism)
    if largest_norm is not None and mechanism is None and square >= 1 << NORM_BITS:
        below = 2.0 ** (NORM_BITS // 2 - encoding.fraction_bits)
        raise SettingsError(f"--largest-norm is {largest_norm:g}; for this task it must be less than {below:g}")
    return parameters_for(encoding, metrics=mechanism is None, norm=square)


def steps_of(norm: float, encoding: Encoding) -> int:
    """Return the norm D in steps. Raises SettingsError if it is less than one."""
    steps = floor(Fraction(norm) * Fraction(2) ** encoding.fraction_bits)
    if steps < 1:
        raise SettingsError(
            f"the largest norm is {norm:g}, less than one step of the encoding, {2.0**-encoding.fraction_bits:g}"
        )
    return steps


def largest_square(norm: float, encoding: Encoding, mechanism: Mechanism | None) -> int:
    """Return Z, in steps squared; every machine finds the same. Raises SettingsError."""
    if mechanism is None:
        return steps_of(norm, encoding) ** 2
    largest, variance, values = mechanism.moved, mechanism.variance, encoding.values
    across = isqrt(4 * largest**2 * _TWICE_T * variance) + 1
    noise = variance * (values + _TWICE_T) + isqrt(2 * _TWICE_T * variance**2 * values) + 1
    return largest**2 + across + noise


def shortened(update: Update, encoding: Encoding, norm: float) -> Update:
    """Return the update with a change whose steps have at most this norm.

    Raises ValueError if it has values that are not finite.
    """
    bits = encoding.fraction_bits
    steps = to_integers(clip(update.delta, norm), bits, steps_of(norm, encoding))
    return replace(update, delta=np.ldexp(steps.astype(np.float64), -bits))
