# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 6: streetlights, or what a second layer is for
#
# In a foreign city the traffic light has three lamps and we do not know what they mean. We note which lamps are lit,
# and whether people walk. A network is to find out what counts, and then a case follows in which no lamp alone says
# anything.

# %%
import numpy as np

from book.data.toys import streetlights, streetlights_deep
from book.pictures import curves, draw_nodes, pressure_table
from core.losses import delta_rule, mse
from core.nn import Linear, ReLU, Sequential
from core.optim import SGD

lamps, walk = streetlights()
print("left, middle, right, walk")
print(np.hstack([lamps, walk]).astype(int))

# %% [markdown]
# ## Weight pressure
#
# Every row of notes pushes the weights: up where people walked, down where they stopped, and only the weights whose
# lamp was lit. Added up over the six rows, the left weight is pushed down a little, the middle one up, and at the
# right one as many rows pull as push. That is the clue: the middle lamp goes together with walking.

# %%
pressure_table(lamps, walk[:, 0], ["left", "middle", "right"])

# %% [markdown]
# ## One row is not enough
#
# Learning from the first row alone, the network soon answers that row rightly. About the others it knows little:


# %%
def lamp_layer(weights):
    layer = Linear(3, 1, bias=False, rng=np.random.default_rng(1))
    layer.weight.data[:, 0] = weights
    return layer


def learn(model, inputs, goals, size=1, passes=40, rate=0.1):
    """Make a step after every `size` rows; return each pass's squared error, summed over the rows."""
    optimiser, errors = SGD(model.parameters(), lr=rate), []
    for _ in range(passes):
        errors.append(0.0)
        for start in range(0, len(inputs), size):
            output, goal = model(inputs[start : start + size]), goals[start : start + size]
            errors[-1] += mse(output, goal, "sum").item()
            optimiser.zero_grad()
            (delta_rule(output, goal) / size).backward()
            optimiser.step()
    return errors


layer = lamp_layer([0.5, 0.48, -0.7])
learn(layer, lamps[:1], walk[:1], passes=19)
for name, model in (("learned", layer), ("made up: 0.5, 0.9, -0.5", lamp_layer([0.5, 0.9, -0.5]))):
    errors = (model(lamps).data - walk)[:, 0] ** 2
    print(f"{name}: error of the first row {errors[0]:.7g}, of all six {errors.sum():.3f}")

# %% [markdown]
# The second line is a warning: 0.5 and -0.5 cancel in this row, the error is exactly 0, and nothing has been
# understood. Only the other rows can tell.
#
# ## Row by row, or all at once
#
# *Stochastic* gradient descent takes one row, makes a step, takes the next. *Full* gradient descent looks at all rows
# and makes one step along their mean. Between the two lie *batches* of a few rows.

# %%
series = {}
for size, name in ((1, "one row a step"), (3, "three rows"), (6, "all six")):
    layer = lamp_layer([0.5, 0.48, -0.7])
    series[name] = learn(layer, lamps, walk, size)
    print(f"{name}: error of pass 40 {series[name][-1]:.6g}, weights then {layer.weight.data[:, 0].round(3)}")
print("one row a step, passes 1 and 2:", [round(error, 10) for error in series["one row a step"][:2]])
curves(series, "pass over the six rows", "summed squared error", log=True)

# %% [markdown]
# Row by row gets furthest here, as it makes six steps a pass. Its weights come close to 0, 1, 0: look at the middle.
#
# *Try:* all six rows with the rate 0.4, and with 1.5. And row by row with 0.9?
#
# ## No lamp alone tells
#
# Now other people, four rows. Each weight is pushed up as often as down, and all sums are 0:

# %%
lamps, walk = streetlights_deep()
pressure_table(lamps, walk[:, 0], ["left", "middle", "right"])

# %% [markdown]
# There is a rule, though: people walk if *exactly one* of left and middle is lit. A weighted sum cannot say that. A
# layer in between could make the numbers that are missing, such as "left but not middle", and the last layer would
# find those to go together with walking. Two linear layers will not do. They are one layer in disguise:

# %%
rng = np.random.default_rng(1)
first, second = Linear(3, 4, bias=False, rng=rng), Linear(4, 1, bias=False, rng=rng)
merged = first.weight.data @ second.weight.data
print("two layers:", Sequential(first, second)(lamps).data[:, 0].round(4))
print("one layer: ", (lamps @ merged)[:, 0].round(4))

# %% [markdown]
# What is needed is a hidden unit that is sometimes silent. *Relu* does just that: below 0 it gives 0.
#
# ## Backpropagation
#
# The last layer's weights learn as before. The hidden units have no goal of their own; but the last layer knows how
# much it listened to each of them, so it passes the blame back along its weights. A silent unit had no part and gets
# none. By hand that is two lines, and `backward` finds the same.

# %%
model = Sequential(first, ReLU(), second)
row, goal = lamps[:1], walk[:1]
output = model(row)
delta_rule(output, goal).backward()
hidden = np.maximum(row @ first.weight.data, 0)
blame = output.data - goal
hidden_blame = blame @ second.weight.data.T * (hidden > 0)
print("hidden units  ", hidden[0].round(3))
print("their blame   ", hidden_blame[0].round(3) + 0.0)
print("second layer the same:", np.allclose(second.weight.grad, hidden.T @ blame))
print("first layer the same: ", np.allclose(first.weight.grad, row.T @ hidden_blame))

# %% [markdown]
# ## Two layers learn it
#
# The start is drawn by NumPy's older generator with the seed 1, between -1 and 1. Any program
# with this start has the same errors, digit by digit.

# %%
start = np.random.RandomState(1)
for layer in (first, second):
    layer.weight.data[:] = 2 * start.random_sample(layer.weight.shape) - 1
errors = learn(model, lamps, walk, passes=60, rate=0.2)
print("errors after 10, 20 ... 60 passes:", [float(f"{error:.6g}") for error in errors[9::10]])
print("answers", model(lamps).data[:, 0].round(3), "goals", walk[:, 0])

# %%
draw_nodes(model, lamps[0])

# %% [markdown]
# This is the network as it answers the first row. Which hidden units are silent, and which one decides? What weights
# does it have for left and middle?
#
# ## Units that fall silent for good
#
# A relu unit that is silent for every row learns nothing any more. With only four units, a bad start may leave too few
# that speak. With sixteen that is unlikely. How many of ten starts learn the four rows?

# %%
for hidden in (4, 16):
    learned = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        model = Sequential(Linear(3, hidden, bias=False, rng=rng), ReLU(), Linear(hidden, 1, bias=False, rng=rng))
        learned += learn(model, lamps, walk, passes=150)[-1] < 0.05
    print(f"{hidden} hidden units: {learned} of 10")

# %% [markdown]
# *Try:* `LeakyReLU(0.1)` (from `core.nn`) lets a little through below 0, so that no unit falls silent for good. Does
# it help with four units? And what happens without any activation?
