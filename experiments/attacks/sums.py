"""Whether one client used a word, judged by whether the sum of a whole cohort shows it: Bayes' rule.

Others are thought to use a word independently, each with its public frequency p. What a sum of zero says depends on
whether changes can cancel. Of how large a sum is no use is made: it says how many used the word, and hardly who.
"""

from __future__ import annotations

import numpy as np

from experiments.arrays import BoolArray, FloatArray

TINY = 1e-12


def rate_of_clients(frequency: FloatArray, texts: int, mails: int) -> FloatArray:
    """Return how likely a client with this many mails uses each word, strictly between 0 and 1.

    Args:
        frequency: the share of public texts that have each word, shape (words,).
        texts: how many public texts there are; half a text more is thought to have each word, and half a text not.
        mails: of one client.
    """
    each = (frequency * texts + 0.5) / (texts + 1)
    rates: FloatArray = np.clip(1 - (1 - each) ** mails, TINY, 1 - TINY)
    return rates


def odds_if_nothing_cancels(shows: BoolArray, rates: FloatArray, clients: int) -> FloatArray:
    """Return odds that the client used each word, shape (words,), if a sum is zero only where no client did."""
    return _odds(shows, rates, zero_with=np.zeros_like(rates), zero_without=(1 - rates) ** (clients - 1))


def odds_of_equal_steps(shows: BoolArray, rates: FloatArray, clients: int) -> FloatArray:
    """Return the same if each client that used a word moved its weight one step up or down, so that steps cancel.

    Args:
        shows: whether the sum of each word's weight is not zero, shape (words,).
        rates: how likely each word is used by a client, shape (words,), strictly between 0 and 1.
        clients: how many are in the sum.
    """
    others = clients - 1
    return _odds(shows, rates, zero_with=chance(1, rates, others), zero_without=chance(0, rates, others))


def _odds(shows: BoolArray, rates: FloatArray, zero_with: FloatArray, zero_without: FloatArray) -> FloatArray:
    likelier = np.where(
        shows, (1 - zero_with) / np.maximum(1 - zero_without, TINY), zero_with / np.maximum(zero_without, TINY)
    )
    odds: FloatArray = rates / (1 - rates) * likelier
    return odds


def chance(total: int, rates: FloatArray, others: int) -> FloatArray:
    """Return how likely `others` independent steps, each ±1 with chance p / 2 and else 0, add up to `total`.

    By Fourier's inversion of their characteristic function (1 - p + p cos t)^others, which is exact on enough points.

    Args:
        rates: p, shape (words,).
    """
    if abs(total) > others:
        return np.zeros_like(rates)
    points = 2 * np.pi * np.arange(2 * others + 1) / (2 * others + 1)
    kinds, back = np.unique(rates, return_inverse=True)
    waves = (1 - kinds[:, None] * (1 - np.cos(points))) ** others
    found: FloatArray = np.maximum((waves * np.cos(total * points)).mean(axis=1), TINY)[back]
    return found
