"""Shamir's sharing among holders, over the whole numbers: its public part.

A polynomial f whose highest power is x^(t-1) is known once it is known at t places, and f(0) is a sum of its values at
any t places (Lagrange):

    f(0) = sum over i in S of  l_i f(i),    l_i = product over the other j in S of  j / (j - i)

The l_i are fractions, but whatever can stand below the line divides Delta = 1 * 2 * ... * holders: Delta l_i is a whole
number. That is all that is needed where f(i) stands in an exponent and division is impossible (Shoup, EUROCRYPT 2000).
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from core.errors import SettingsError
from core.limits import MOST_HOLDERS

STATISTICAL_BITS = 128
"""What fewer holders than needed have differs from what they would have of another key by less than 2 to minus this."""
MASK_MARGIN_BITS = 4  # 2^4 is above MOST_HOLDERS - 1; see registrar/dealing.py


def check_holders(threshold: int, holders: int) -> None:
    """Raise SettingsError unless 1 <= threshold <= holders <= 10."""
    if not 1 <= threshold <= holders <= MOST_HOLDERS:
        raise SettingsError(
            f"{threshold} of {holders} key holders cannot be asked for; "
            f"expected 1 to {MOST_HOLDERS} holders, and a threshold from 1 to their number"
        )


def delta(holders: int) -> int:
    """Return Delta, by which fractions become whole numbers."""
    return math.factorial(holders)


def coefficients(chosen: Iterable[int], holders: int) -> dict[int, int]:
    """Return Delta l_i for each chosen holder i, numbered from 1: so that the sum of Delta l_i f(i) is Delta f(0)."""
    places = list(chosen)
    result: dict[int, int] = {}
    for i in places:
        others = [j for j in places if j != i]
        result[i] = delta(holders) * math.prod(others) // math.prod(j - i for j in others)
    return result


def mask_limit(bits: int, holders: int) -> int:
    """Return the limit of the masks of a key of `bits` bits (registrar/dealing.py)."""
    return delta(holders) << (bits + STATISTICAL_BITS + MASK_MARGIN_BITS)


def share_bits(bits: int, threshold: int, holders: int) -> int:
    """Return how many bits the largest possible share has, of any holder."""
    masks: int = mask_limit(bits, holders) * sum(holders**power for power in range(1, threshold))
    return ((delta(holders) << bits) + masks).bit_length()
