"""Let a model write: feed it its own choices, one number at a time (chapter 14).

    >>> import numpy as np
    >>> from book.generation import generate, greedy
    >>> logits = np.array([[0.0, 2.0, 1.0], [0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])  # 0 is followed by 1, 1 by 2, 2 by 0
    >>> generate(lambda number, state: (logits[number], state), [0], 4, greedy)
    [1, 2, 0, 1]

What the numbers stand for, characters or words, only the caller knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from core.ops import Array
from core.randomness import Rng, generator

State = TypeVar("State")
Choose = Callable[[Array], int]
Step = Callable[[int, State | None], tuple[Array, State]]
"""Takes a number and the state before it, None at the start; returns logits, shape (numbers,), and the next state."""


def greedy(logits: Array) -> int:
    """Choose the likeliest number; of equals the first."""
    return int(logits.argmax())


def sampler(rng: Rng, temperature: float = 1.0) -> Choose:
    """Return a choice at random, each number with its probability softmax(logits / temperature).

    Args:
        rng: equal generators give equal choices.
        temperature: below 1 the likely becomes likelier still, above 1 all numbers become more alike.

    Raises:
        ValueError: the temperature is not a positive number.
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise ValueError(f"temperature must be a positive number, not {temperature}")

    drawn_from = generator(rng)

    def choose(logits: Array) -> int:
        # The largest of logits / temperature + Gumbel noise is number k with just the probability that softmax gives
        # k. Nothing overflows, however low the temperature, and no sum of probabilities can miss 1.
        return int((logits.astype(np.float64) / temperature + drawn_from.gumbel(size=logits.shape)).argmax())

    return choose


def generate(step: Step[State], prompt: Sequence[int], count: int, choose: Choose) -> list[int]:
    """Read a prompt, then go on by `count` numbers, each chosen and fed back; return the new ones only.

    Raises ValueError if the prompt is empty: a model needs something to go on from.
    """
    if not len(prompt):
        raise ValueError("the prompt is empty; at least one number is needed to go on from")
    state: State | None = None
    logits: Array = np.zeros(0)
    for number in prompt:
        logits, state = step(number, state)
    written: list[int] = []
    for _ in range(count):
        written.append(choose(logits))
        logits, state = step(written[-1], state)
    return written
