"""What the small programs of chapters 3 to 6 share: layers with a given start, and steps of the delta rule."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from book.finding import Finding, exact
from core.losses import delta_rule, mse
from core.nn import Linear, Module
from core.ops import Array
from core.optim import SGD


def linear(weight: npt.ArrayLike, bias: bool = False) -> Linear:
    """Make a layer with a given start, inputs x outputs, and biases of 0 or none."""
    weight = np.array(weight, float)
    layer = Linear(*weight.shape, bias=bias, rng=np.random.default_rng(0))  # drawn weights are overwritten
    layer.weight.data[...] = weight
    return layer


def errors(model: Module, inputs: Array, targets: Array, lr: float, steps: int) -> list[float]:
    """Return the squared error before each of a number of steps by the delta rule, all rows at once."""
    optimiser = SGD(model.parameters(), lr)
    seen = []
    for _ in range(steps):
        outputs = model(inputs)
        seen.append(mse(outputs, targets, "sum").item())
        optimiser.zero_grad()
        delta_rule(outputs, targets).backward()
        optimiser.step()
    return seen


def errors_row_by_row(model: Module, inputs: Array, targets: Array, lr: float, passes: int) -> list[float]:
    """Return the summed squared error of each pass, with a step of the delta rule after each row."""
    return [
        sum(errors(model, inputs[i : i + 1], targets[i : i + 1], lr, 1)[0] for i in range(len(inputs)))
        for _ in range(passes)
    ]


def exact_all(what: str, values: npt.ArrayLike, book: Iterable[float], form: str = ".10g") -> list[Finding]:
    """Hold several numbers against the book's, one finding each, numbered from 1."""
    pairs = list(zip(np.ravel(values).tolist(), book, strict=True))
    return [exact(f"{what} ({n} of {len(pairs)})", *pair, form) for n, pair in enumerate(pairs, start=1)]
