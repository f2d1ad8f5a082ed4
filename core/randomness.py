"""Where randomness comes from: a NumPy generator, or a seed to make one of."""

from __future__ import annotations

import numpy as np

Rng = int | np.random.Generator


def generator(rng: Rng) -> np.random.Generator:
    """Return a generator as it is, and for a seed a fresh one: the same seed draws the same numbers.

    Raises TypeError for anything else, None included: nothing here is random by itself.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, int | np.integer) and not isinstance(rng, bool):
        return np.random.default_rng(rng)
    raise TypeError(f"rng is a seed such as 0, or np.random.default_rng(0), not {rng!r}")
