# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 13: numbers that remember where they came from
#
# The slopes of a small network can be worked out by hand; those of a large one better not. If every number remembers
# what it was computed from, the slopes of a long computation (its *gradient*) follow from those of its single steps,
# from the end back to the beginning. First such a library in some twenty lines, then the one of this project.

# %%
import numpy as np

from book.gradient_check import gradient_gap
from book.pictures import curves
from core.losses import cross_entropy, mse
from core.nn import Embedding, Linear, Sequential, Tanh
from core.optim import SGD
from core.tensor import Tensor

# %% [markdown]
# ## By hand
#
# A `Number` holds a value, its slope, and the numbers it was made of, each with the slope of that one step. A sum
# passes on what comes in, unchanged, to both sides; a product passes it on times the *other* side. `backward` adds
# what comes in to the slope and hands it on.


# %%
class Number:
    def __init__(self, value, sources=()):
        self.value, self.sources, self.slope = value, sources, 0.0

    def __add__(self, other):
        return Number(self.value + other.value, ((self, 1.0), (other, 1.0)))

    def __mul__(self, other):
        return Number(self.value * other.value, ((self, other.value), (other, self.value)))

    def backward(self, incoming=1.0):
        self.slope += incoming
        for source, slope in self.sources:
            source.backward(incoming * slope)


a, b, c = Number(2.0), Number(3.0), Number(5.0)
result = (a + b) * (b + c)
result.backward()
print("result", result.value, "slopes", a.slope, b.slope, c.slope)

# %% [markdown]
# Check by hand: (a + b)(b + c) changes by b + c = 8 for each step of a, by a + b = 5 for each of c, and b, which is in
# both brackets, gets both: 13. That is why slopes are *added* to, never overwritten. In its simplest form:

# %%
a, b, c = Number(1.0), Number(2.0), Number(3.0)
((a + b) + (b + c)).backward()
print("b used twice has slope", b.slope)

# %% [markdown]
# *Try:* give `Number` a `__neg__`, and check that (a + -b) + (-b + c) gives b the slope -2.
#
# This walks every path from the result to a number. Where numbers are used again and again there are very many. A
# library adds up all that comes into a number first, and hands it on once. It also works on whole arrays and knows
# more steps. The rest is the same.
#
# ## The library's own

# %%
a, b, c = (Tensor(np.full(3, start), requires_grad=True) for start in (1.0, 2.0, 3.0))
((a + b) + (b + c)).sum().backward()
print("slopes of a, b, c:", a.grad, b.grad, c.grad)

steps = Tensor([1.0], requires_grad=True)
doubled = steps
for _ in range(50):
    doubled = doubled + doubled
doubled.backward()
print("fifty doublings, 2 to the power 50 paths, walked once:", steps.grad[0] == 2**50)

# %% [markdown]
# Summing and copying along an axis are steps like others: what one does to the values, the other does to the slopes.

# %%
table = Tensor([[1.0, 2, 3], [4, 5, 6]], requires_grad=True)
print(table.sum(axis=0).data, table.sum(axis=1).data, table.stack_copies(2, 4).shape)
table.stack_copies(2, 4).sum().backward()
print("each number was copied four times:", table.grad.tolist())

# %% [markdown]
# ## Never trust a slope
#
# A wrong slope does not crash, it learns badly. So check it: move a variable a little to both sides and see what the
# result does. Here a formula with square and root, and its four slopes, both ways.


# %%
def formula(beta, gamma, epsilon, x):
    return ((beta * gamma) ** 2 + (epsilon + 22 - x)) ** 0.5


start = {"beta": 2.0, "gamma": 0.5, "epsilon": 1.5, "x": 4.0}
variables = {name: Tensor(value, requires_grad=True) for name, value in start.items()}
formula(**variables).backward()
for name, value in start.items():
    above, below = (formula(**(start | {name: value + step})) for step in (1e-6, -1e-6))
    print(f"{name:8} by backward {variables[name].grad:+.7f}   by moving {(above - below) / 2e-6:+.7f}")

# %% [markdown]
# The library checks whole networks so: every entry of every parameter is moved up and down. (Sizes are small, for each
# move costs two forward passes.)

# %%
network = Sequential(Embedding(3, 4, rng=np.random.default_rng(1)), Tanh(), Linear(4, 2, rng=np.random.default_rng(2)))
gap = gradient_gap(lambda: cross_entropy(network([0, 2, 2]), [1, 0, 1]), network.parameters())
print(f"embedding, tanh, linear layer, cross entropy: no slope is further off than {gap:.0e}")

# %% [markdown]
# An embedding looks rows up by number. A row that is looked up twice has a part in two places, and its slopes add up.

# %%
rows = Tensor(np.eye(5), requires_grad=True)
rows.index_select([[1, 2, 3], [2, 3, 4]]).sum().backward()
print("slope of each entry of row 0, 1, 2, 3, 4:", rows.grad[:, 0])

# %% [markdown]
# ## A small network, number by number
#
# Layers hold tensors, an optimiser moves them against their slopes. From these weights all see these errors.

# %%
inputs, targets = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [0], [1]])
rng = np.random.default_rng(1)
first, second = Linear(2, 3, bias=False, rng=rng), Linear(3, 1, bias=False, rng=rng)
first.weight.data[...] = [[0.71518937, 0.60276338, 0.54488318], [0.4236548, 0.64589411, 0.43758721]]
second.weight.data[...] = [[0.05671298], [0.27265629], [0.47766512]]
model = Sequential(first, second)
optimiser = SGD(model.parameters(), lr=0.1)
for _ in range(5):
    loss = mse(model(inputs), targets, "sum")
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    print(f"{loss.item():.8f}", end=" ")

# %% [markdown]
# Now what texts need: rows of an embedding, tanh, scores for four classes, and cross entropy, which takes the number
# of the right class. Word 1 is to mean class 0, word 2 class 1.

# %%
words, classes = [1, 2, 1, 2], [0, 1, 0, 1]
model = Sequential(Embedding(3, 3, rng=rng), Tanh(), Linear(3, 4, rng=rng))
optimiser = SGD(model.parameters(), lr=0.4)
losses = []
for _ in range(40):
    loss = cross_entropy(model(words), classes)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    losses.append(loss.item())
print("chance of the right class, word by word:", model([1, 2]).softmax().data[[0, 1], [0, 1]].round(3))
curves({"cross entropy": losses}, "step", "loss")

# %% [markdown]
# *Try:* leave `optimiser.zero_grad()` out: slopes of all steps pile up. What does the curve do? Call `loss.backward()`
# a second time: what does the library say, and why must it?
