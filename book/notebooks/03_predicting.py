# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 3: predicting is multiplying and adding
#
# A network turns numbers into other numbers. What it knows is kept in its *weights*, and it uses them in the simplest
# way there is: each input is multiplied by a weight, and the products are added up. Nothing is learned in this
# chapter; the weights are given, and the question is only what comes out.

# %%
import numpy as np

from book.data.toys import baseball
from book.pictures import draw_nodes, draw_strips
from core.nn import Linear, Sequential
from core.tensor import Tensor

# %% [markdown]
# ## One number in, one number out
#
# A team is asked before every game how many toes its players have on average, and from that alone we are to say how
# likely it is to win. A weight is a volume knob: it says how loudly its input is heard. A `Tensor` is an array that
# can do sums, products and, from the next chapter on, gradients.

# %%
games = baseball()
weight = Tensor(0.1)
print(f"toes {games.toes[0]} -> chance of winning {(weight * games.toes[0]).item():.2f}")

# %% [markdown]
# The network sees just this one number. It remembers nothing of the game before.
#
# ## Several numbers in: a weighted sum
#
# With toes, share of games won and fans (in millions) there are three inputs and three weights. Multiply pairwise,
# add.

# %%
game = games.inputs[0]
weights = Tensor([0.1, 0.2, 0.0])
print("inputs  ", game)
print("products", (weights * game).data)
print(f"sum {(weights * game).sum().item():.2f}, and the same with one sign: {(weights @ game).item():.2f}")

# %% [markdown]
# The fans have the weight 0, so they are not heard at all: a million more would change nothing. The toes bring most of
# the sum, although their weight is only half that of the games won, because their number is large.
#
# *Try:* which weight would make the fans of this game count as much as its share of games won?
#
# ## The weighted sum measures likeness
#
# A pairwise product that is added up is called a *dot product*. It is large where both lists have large numbers in the
# same places. Where only one of them has something, the product is 0; where the signs differ, it counts against.

# %%
lists = {
    "a": Tensor([0.0, 1, 0, 1]),
    "b": Tensor([1.0, 0, 1, 0]),
    "c": Tensor([0.0, 1, 1, 0]),
    "d": Tensor([0.5, 0, 0.5, 0]),
    "e": Tensor([0.0, 1, -1, 0]),
}
for first, second in ("ab", "bc", "bd", "cc", "dd", "ce"):
    print(f"{first} · {second} = {(lists[first] @ lists[second]).item():g}")

# %% [markdown]
# `a` and `b` have nothing in common, `c` is most like itself, and in `c` and `e` one place in common is outweighed by
# one place that is opposed. So a weighted sum asks: *how much do these inputs look like my weights?* Read the weights
# as a sentence: a large weight says AND for its input, a negative one says NOT.
#
# ## Several numbers out: a matrix
#
# From the same three inputs we may want three answers: how many players get hurt, whether the team wins, how many are
# sad. Each answer has its own weights and is independent of the others. Written side by side, one *column* for each
# answer, the weights make a matrix, and the three weighted sums are one product `inputs @ matrix`.

# %%
hurt, won, sad = [0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]
matrix = np.stack([hurt, won, sad], axis=1)
print(matrix)
print("hurt, won, sad:", (Tensor(game) @ matrix).data)

# %% [markdown]
# A matrix takes as many numbers as it has rows and gives as many as it has columns. If that does not fit, nothing is
# guessed:

# %%
try:
    Tensor(game[:2]) @ matrix
except ValueError as problem:
    print(problem)

# %% [markdown]
# And it takes any number of games at once, one in each row. That is how networks are run in practice. (Nothing keeps
# an answer between 0 and 1, as you will see; later chapters have remedies.)

# %%
print("games", games.inputs.shape, "@ weights", matrix.shape, "-> answers", (Tensor(games.inputs) @ matrix).shape)
print((Tensor(games.inputs) @ matrix).data)

# %% [markdown]
# ## Stacking: answers as inputs
#
# What comes out are numbers, so they can go into another matrix. The numbers in between are called *hidden*, because
# they are not asked for. `Linear` is a layer that owns its weights (it draws them at random; here we set them), and
# `Sequential` feeds each layer with what the one before gave.

# %%
rng = np.random.default_rng(1)
hidden, output = Linear(3, 3, bias=False, rng=rng), Linear(3, 3, bias=False, rng=rng)
hidden.weight.data[:] = np.stack([[0.1, 0.2, -0.1], [-0.1, 0.1, 0.9], [0.1, 0.4, 0.1]], axis=1)
output.weight.data[:] = np.stack([[0.3, 1.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]], axis=1)
model = Sequential(hidden, output)
print("hidden", hidden(game).data)
print("output", model(game).data)

# %% [markdown]
# All of it in one picture: the numbers of the first game on the left, the hidden ones in the middle, the answers on
# the right. Thick lines are large weights, dashed ones are negative.

# %%
draw_nodes(model, game)

# %% [markdown]
# Node by node is too much to draw for large networks. Then strips stand for lists of numbers and boxes for matrices:

# %%
draw_strips(model, game)

# %% [markdown]
# *Try:* a network with four hidden numbers: which shapes must its two matrices have? Make it with `Linear(3, 4, ...)`
# and `Linear(4, 3, ...)` and draw it. Then set the whole first matrix to 0: what comes out, and can the second matrix
# do anything about it?
