# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 4: one weight learns
#
# Learning is turning a knob until the answers are right. For that one must know how wrong an answer is, which way to
# turn, and how far. This chapter does it with a single weight, where everything can be drawn.

# %%
from book.pictures import curves, descent_trace, error_bowl
from core.losses import delta_rule
from core.optim import SGD, DivergedError, DivergenceCheck, Move, hot_and_cold
from core.tensor import Tensor

# %% [markdown]
# ## How wrong? The error
#
# The input is 0.5 and the answer should be 0.8. The error is the difference, squared. Squaring makes it positive, so
# that two mistakes cannot cancel each other; and it makes large mistakes larger (2 becomes 4) and small ones smaller
# (0.1 becomes 0.01), so that the large ones are mended first.


# %%
def error(weight):
    return (weight * 0.5 - 0.8) ** 2


for weight in (0.5, 1.0, 1.6, 2.0):
    print(f"weight {weight}: prediction {weight * 0.5}, error {error(weight):.4f}")

# %% [markdown]
# ## Which way? Hot and cold
#
# The simplest way to learn: try the weight a bit larger and a bit smaller, and go where the error is less.

# %%
walk = hot_and_cold(error, weight=0.5, step=0.2, moves=5)
error_bowl(error, walk)

# %% [markdown]
# The curve is the error at every weight: a bowl, and the bottom is where we want to be. With a step of 0.001 we get
# there, but slowly. And the step is always the same, near the goal and far from it. One that is too large jumps back
# and forth for ever:

# %%
walk = hot_and_cold(error, weight=0.5, step=0.001, moves=1100)
print(f"{len(walk) - 1} moves with step 0.001: prediction {walk[-1].weight * 0.5:.6f}")
print("errors with step 10:", [round(move.error, 4) for move in hot_and_cold(error, weight=0.5, step=10, moves=5)])

# %% [markdown]
# *Try:* step 0.3. Does the walk ever hit the goal? What does `may_stay=True` change?
#
# ## Which way and how far at once: the slope
#
# How steep the bowl is where we stand tells both. Downhill is the way; steep means far from the bottom. For this bowl
# the slope is `input * (prediction - goal)`, times two for the square. The factor two is only a matter of units, so we
# leave it out: `delta_rule` is *half* the squared error. `backward()` finds the slope and puts it into `weight.grad`.

# %%
weight = Tensor(0.5, requires_grad=True)
delta_rule(weight * 0.5, 0.8).backward()
print("slope by backward:", weight.grad, "   by hand:", 0.5 * (0.5 * 0.5 - 0.8))

# %% [markdown]
# Three things are in this slope. The difference says how wrong we are and to which side. The input scales it: if the
# input is 0, the weight had no part in the error and is left alone; if the input is negative, the direction turns
# round.
#
# Gradient descent goes against the slope, by the slope times a *rate*. `SGD` does that step.


# %%
def descend(weight, number, goal, rate, steps):
    """Return the weight and its squared error before each step and after the last."""
    weight, path = Tensor(weight, requires_grad=True), []
    optimiser = SGD([weight], lr=rate)
    for _ in range(steps + 1):
        half_error = delta_rule(weight * number, goal)
        path.append(Move(weight.item(), 2 * half_error.item()))
        optimiser.zero_grad()
        half_error.backward()
        optimiser.step()
    return path


path = descend(weight=0.5, number=0.5, goal=0.8, rate=1, steps=20)
print("errors", [float(f"{path[step].error:.7g}") for step in (0, 1, 2, 19)])
descent_trace(path, predictions=[move.weight * 0.5 for move in path], target=0.8)

# %% [markdown]
# Large steps first, small ones near the goal: the slope brakes by itself. In the bowl the steps become shorter as it
# flattens; the dashed line is the slope at the last weight.

# %%
error_bowl(error, path[:5])

# %% [markdown]
# ## Too far: overshooting
#
# Now the input is 1.1. One step carries the weight past the goal, to the other wall of the bowl; the next one carries
# it back, and as each landing is lower than the last, all ends well.

# %%
path = descend(weight=0.0, number=1.1, goal=0.8, rate=1, steps=3)
print("weights", [round(move.weight, 6) for move in path])
error_bowl(lambda weight: (weight * 1.1 - 0.8) ** 2, path)

# %% [markdown]
# With the input 2 each landing is *higher* than the last. The slope grows, so the steps grow, so the slope grows.

# %%
path = descend(weight=0.5, number=2.0, goal=0.8, rate=1, steps=20)
print("errors", [f"{move.error:.4g}" for move in path[:3]], "...", f"{path[19].error:.5g}")
error_bowl(lambda weight: (weight * 2.0 - 0.8) ** 2, path[:4])

# %% [markdown]
# Training that runs away like this should be stopped with a clear word, not end in numbers that are none:

# %%
check = DivergenceCheck()
try:
    for move in path:
        check(move.error)
except DivergedError as problem:
    print(problem)

# %% [markdown]
# ## The rate
#
# The remedy is the rate: take only a share of the slope. It is found by trying. Each line below is one rate; the
# vertical axis goes in powers of ten, so a straight line down means that every step takes off the same share.

# %%
rates = (0.01, 0.1, 0.2, 0.45, 0.51)
series = {f"rate {rate}": [move.error for move in descend(0.5, 2.0, 0.8, rate, steps=20)] for rate in rates}
print("rate 0.1:", [float(f"{series['rate 0.1'][step]:.7g}") for step in (0, 1, 2, 19)])
print("rate 0.25:", [float(f"{move.error:.2g}") for move in descend(0.5, 2.0, 0.8, 0.25, steps=3)])
curves(series, "step", "squared error", x=range(21), log=True)

# %% [markdown]
# Why is 0.51 too much? A step changes the difference from the goal to `1 - rate * input²` times what it was. With the
# input 2 that is 1 - 4 · 0.51 = -1.04: each difference a bit larger than the last, with the sign turned. To shrink,
# `rate * input²` must stay below 2. A rate of 0.25 makes the factor 0, and a single step is enough.
#
# *Try:* what is the best rate for the input 0.5? And if two inputs take turns, 0.5 and 2, which rates are safe?
