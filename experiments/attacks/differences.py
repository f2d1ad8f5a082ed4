"""What several sums say together that none says alone: their contributors differ, and sums can be subtracted."""

from __future__ import annotations

import numpy as np

from experiments.arrays import BoolArray, FloatArray, IntArray

TOLERANCE = 1e-6


def isolated(contributors: BoolArray) -> BoolArray:
    """Tell which clients stand alone in some weighted sum of the given sums, shape (clients,).

    A client can be singled out if the vector that is 1 for it and 0 for the others lies in the span of the
    rows; then the same weights, applied to the sums, give its own updates, up to how these change between rounds.

    Args:
        contributors: who is in each sum, shape (sums, clients).
    """
    rows = np.asarray(contributors, dtype=np.float64)
    projection = np.linalg.pinv(rows) @ rows
    alone: BoolArray = np.diag(projection) > 1 - TOLERANCE
    return alone


def log_odds_from_difference(
    difference: IntArray, rates: FloatArray, others: int, size: float, drift: float
) -> FloatArray:
    """Log odds that the one client of which two sums differ used each word, by Bayes' rule, shape (words,).

    The others' changes do not cancel if the model has moved between the sums: each other client that uses a word
    leaves a remainder of standard deviation `drift`, the client itself adds a change of standard deviation `size`, and
    both are taken for normal. Rounding adds a twelfth in any case.

    Args:
        difference: of two sums of integers, shape (words,).
        rates: how likely each word is used by a client, shape (words,), strictly between 0 and 1.
        others: how many clients are in both sums.
        size: how large one client's change is where it uses a word.
        drift: how much one client's change differs between the two rounds where it uses a word.
    """
    without = others * rates * drift**2 + 1 / 12
    with_client = without + size**2
    evidence = difference**2 / 2 * (1 / without - 1 / with_client) - np.log(with_client / without) / 2
    odds: FloatArray = np.log(rates / (1 - rates)) + evidence
    return odds
