# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 7: one network, seen in four ways
#
# A network with a handful of weights can be kept in the head one by one. A larger one cannot, and need not: it is
# enough to know which layers there are, how large they are, and what stands between them. This chapter takes one model
# and shows it as nodes, as strips and boxes, as a formula and as code. All four are made from the model itself, so
# none of them can be out of date.

# %%
import numpy as np

from book.data.toys import streetlights_deep
from book.pictures import code, draw_nodes, draw_strips, formula, infer_shape, infer_shapes
from core.data.drawn import drawn_digits
from core.losses import mse
from core.nn import Conv2d, Flatten, Linear, MaxPool2d, ReLU, Sequential
from core.optim import SGD

rng = np.random.default_rng(1)
model = Sequential(Linear(3, 4, rng=rng), ReLU(), Linear(4, 1, rng=rng))

# %% [markdown]
# So that there is something to see, it first learns the four streetlights of chapter 6.

# %%
lamps, walk = streetlights_deep()
optimiser = SGD(model.parameters(), lr=0.2)
for _ in range(500):
    loss = mse(model(lamps), walk)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
print("error", loss.item(), "answers", model(lamps).data[:, 0].round(3), "goals", walk[:, 0])

# %% [markdown]
# ## As nodes and lines
#
# Every number is a node, every weight a line: thick if it is large, dashed if it is below 0. With an example given,
# the nodes show what goes through the network for it.

# %%
draw_nodes(model, lamps[0])

# %% [markdown]
# *Try:* draw it for the other three rows. Which hidden units are silent for which row?
#
# ## As strips and boxes
#
# Draw a list of numbers as a strip and the weights between two lists as a box, and single lines are gone. What is left
# is the *architecture*: sizes, and the order of things. The box has as many rows as the strip before it has numbers,
# and as many columns as the strip behind it.

# %%
draw_strips(model, lamps[0])

# %% [markdown]
# ## As a formula
#
# Capital letters are matrices, small ones lists of numbers; letters side by side are multiplied. `l0` is what goes in.

# %%
print(formula(model))

# %% [markdown]
# Read it from the inside out: the input times the first matrix, plus a bias; relu; times the second matrix, plus a
# bias. Formulas can be put into one another, as networks can. Without the relu, `l0 W0 W1` would be one matrix in two
# pieces.
#
# ## As code

# %%
print(code(model))

# %% [markdown]
# This is Python that makes a network of the same architecture, with fresh weights.
#
# ## Shapes follow from the neighbours
#
# You need not remember the shape of a matrix: it follows from the layers on both sides. That is the first thing to
# check when a network complains.

# %%
print("from 3 numbers to 4:", infer_shape(3, 4))
print("from a batch of (6, 3) to one of (6, 4):", infer_shape((6, 3), (6, 4)))
print("a network of 784, 40 and 10:", infer_shapes([784, 40, 10]))
for name, parameter in model.named_parameters():
    print(name, parameter.shape)
try:
    model(np.ones((6, 4)))
except ValueError as problem:
    print("six rows of four numbers:", problem)

# %% [markdown]
# *Try:* swap the two layers of the model. Which shapes meet, and what does the message say?
#
# ## Where nodes end and strips go on
#
# A network for pictures of digits has 784 inputs. Drawn node by node, only a few of them can be shown.

# %%
digit = drawn_digits(1, seed=1).images[0]
wide = Sequential(Flatten(), Linear(784, 40, rng=rng), ReLU(), Linear(40, 10, rng=rng))
print(sum(parameter.size for parameter in wide.parameters()), "weights and biases")
draw_nodes(wide)

# %%
draw_strips(wide, digit)

# %% [markdown]
# The strips are coloured by the numbers that this digit gives in each layer. (Not trained, so the answers mean
# nothing.)
#
# The same way of drawing still works when layers are no longer simple lists. Here are the kernels of chapter 10:
# maps instead of strips, and an arrow with the names of all that happens on the way.

# %%
kernels = Sequential(Conv2d(1, 16, 3, rng=rng), ReLU(), MaxPool2d(2), Flatten(), Linear(16 * 13 * 13, 10, rng=rng))
print(formula(kernels))
draw_strips(kernels, digit[None])

# %% [markdown]
# *Try:* put a second `Conv2d(16, 8, 3, rng=rng)` and a `ReLU()` behind the pooling. What must the number 16 * 13 * 13
# become? Work it out, then let the picture check you.
