"""Chapter 4: one weight learns, first by trying both sides, then by the slope of its error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from book.chapters.small_networks import errors, linear
from book.finding import Finding, at_most, exact, shown
from book.run import Chapter, Run
from core.optim import DivergedError, DivergenceCheck, Move, hot_and_cold

GOAL = 0.8


def run(run: Run) -> Iterator[Finding]:
    yield from try_both_sides()
    yield from follow_the_slope()
    yield from race()
    yield from sweep_rates()
    draw(run)


def squared_error(value: float, weight: float) -> float:
    return (value * weight - GOAL) ** 2


def descend(weight: float, value: float, rate: float, steps: int, goal: float = GOAL) -> list[Move]:
    """Move one weight by the delta rule; return the weight and its squared error before each step."""
    return list(descent(weight, value, rate, steps, goal))


def descent(weight: float, value: float, rate: float, steps: int, goal: float = GOAL) -> Iterator[Move]:
    """Do the same step by step, so that the caller can stop early."""
    layer = linear([[weight]])
    for _ in range(steps):
        before = layer.weight.item()
        error = errors(layer, np.array([[value]]), np.array([[goal]]), rate, 1)[0]
        yield Move(before, error)


def try_both_sides() -> Iterator[Finding]:
    """Can a weight learn without any slope, by trying a step up and a step down?"""
    path = hot_and_cold(partial(squared_error, 0.5), weight=0.5, step=0.001, moves=1_100)
    yield exact("hot and cold, step 0.001: prediction after 1,100 moves", 0.5 * path[-1].weight, 0.8)
    path = hot_and_cold(partial(squared_error, 0.5), weight=0.5, step=10, moves=5)
    yield exact("step 10: error before the first move", path[0].error, 0.3025)
    yield exact("step 10: error after it, and so on, back and forth", path[1].error, 19.8025)
    staying = hot_and_cold(partial(squared_error, 0.5), weight=0.5, step=10, moves=5, may_stay=True)
    yield at_most("step 10, allowed to stay: moves made", len(staying) - 1, 0, "d", anywhere=True)


def follow_the_slope() -> Iterator[Finding]:
    """What does the slope add? Direction and size of the step in one number."""
    path = descend(weight=0.5, value=0.5, rate=1, steps=20)
    for step, book in ((1, 0.3025), (2, 0.17015625), (3, 0.095712890625)):
        yield exact(f"weight 0.5, input 0.5, rate 1: error of step {step}", path[step - 1].error, book)
    yield exact("error of step 20", path[19].error, 5.408208e-06, ".7g")
    path = descend(weight=0.0, value=1.1, rate=1, steps=4)
    for move, book in zip(path[1:], (0.88, 0.6952, 0.734008), strict=True):
        yield exact("input 1.1: the weight overshoots and comes back", move.weight, book)
    path = descend(weight=0.5, value=2.0, rate=1, steps=20)
    for step, book in ((1, 0.04), (2, 0.36), (3, 3.24)):
        yield exact(f"input 2, rate 1: error of step {step}", path[step - 1].error, book)
    yield exact("error of step 20", path[19].error, 5.4034e16, digits=5)
    yield exact("input 2, rate 0.1: error of step 20", descend(0.5, 2.0, 0.1, 20)[19].error, 1.485277e-10, ".7g")
    yield exact("one step from weight 0.1, input 8.5", descend(0.1, 8.5, 0.01, 2, goal=1.0)[1].weight, 0.11275)


def race() -> Iterator[Finding]:
    """Which is there sooner? Steps until the error falls below a millionth."""
    walk = hot_and_cold(partial(squared_error, 0.5), weight=0.5, step=0.001, moves=2_000)
    yield shown("moves of hot and cold, step 0.001, until the error is below 1e-6", _first_below(walk), "d")
    slope = descend(weight=0.5, value=0.5, rate=1, steps=2_000)
    yield shown("steps of gradient descent, rate 1, until then", _first_below(slope), "d")


def _first_below(path: list[Move], error: float = 1e-6) -> int:
    return next(step for step, move in enumerate(path) if move.error < error)


def sweep_rates() -> Iterator[Finding]:
    """Which rates work? Powers of ten, for input 2: in theory those below 2 / input² = 0.5."""
    for exponent in range(-4, 2):
        yield shown(f"input 2, rate {10.0**exponent:g}: error after 100 steps", _outcome(10.0**exponent))
    for rate in (0.49, 0.51):
        yield shown(f"input 2, rate {rate}, at the limit of 0.5: error after 100 steps", _outcome(rate))


def _outcome(rate: float) -> str:
    check = DivergenceCheck()
    try:
        for move in descent(weight=0.5, value=2.0, rate=rate, steps=101):
            check(move.error)
    except DivergedError:
        return f"diverged, seen at step {check.steps}"
    return f"{move.error:.3g}"


def draw(run: Run) -> None:
    """Draw the error as a bowl, paths down it, and one of them step by step."""
    from book.pictures import descent_trace, error_bowl

    bowl: Callable[[float], float] = partial(squared_error, 2.0)
    path = descend(0.5, 0.5, 1, 20)
    run.save("bowl", error_bowl(partial(squared_error, 0.5), path))
    run.save("step-by-step", descent_trace(path, [0.5 * move.weight for move in path], GOAL))
    run.save("overshooting", error_bowl(bowl, descend(0.5, 2.0, 0.45, 12)))
    run.save("diverging", error_bowl(bowl, descend(0.5, 2.0, 0.55, 6)))


CHAPTER = Chapter(4, "one weight learns", run)
