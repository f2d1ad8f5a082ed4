"""Words read off the public exponents of encrypted floating-point numbers.

phe writes a float as m * 16^e and encrypts m only; e travels in clear, and depends on the size of the number
(python-paillier, docs/caveats.rst; phe.encoding.EncodedNumber.encode). A weight that did not change has the exponent of
zero, or of its old value; nearly every other one has another. No key is needed to see it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from math import floor, frexp, log2

import numpy as np

MANTISSA_BITS = 53
BITS_OF_BASE = 4


def exponent_of(value: float) -> int:
    """Return the exponent with which phe 1.5 sends this float: base 16, as precise as the float."""
    return floor((frexp(value)[1] - MANTISSA_BITS) / BITS_OF_BASE)


def changed(exponents: Sequence[int], unchanged: Sequence[int]) -> set[int]:
    """Return the places whose exponent is not that of an unchanged weight."""
    return {place for place, (seen, old) in enumerate(zip(exponents, unchanged, strict=True)) if seen != old}


def mutual_information(first: Sequence[Hashable], second: Sequence[Hashable]) -> float:
    """Return how many bits one variable says about the other, estimated from pairs (Shannon 1948).

    The estimate is too high by about (kinds - 1) (other kinds - 1) / (2 ln 2 pairs) bits; it is exactly 0 if one of the
    two never varies.
    """
    return entropy(first) + entropy(second) - entropy(list(zip(first, second, strict=True)))


def entropy(seen: Sequence[Hashable]) -> float:
    """Return the entropy of the kinds seen, in bits."""
    if not seen:
        raise ValueError("nothing was seen, so it has no entropy")
    counts: dict[Hashable, int] = {}
    for kind in seen:
        counts[kind] = counts.get(kind, 0) + 1
    shares = np.array(list(counts.values())) / len(seen)
    return float(-sum(share * log2(share) for share in shares.tolist()))
