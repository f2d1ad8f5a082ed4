# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 10: kernels, or one small set of weights used everywhere
#
# An edge is an edge, wherever in a picture it lies. A layer that has its own weights for every pixel must learn that
# again for every place. A *kernel* is a small layer, here of 3 by 3 weights, that is slid over the whole picture: the
# same nine weights at every place, so they learn from all places at once.

# %%
import numpy as np

from book.pictures import kernel_maps, kernel_pictures, learning_curves, strongest_picture
from core.data.drawn import drawn_digits
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Conv2d, Flatten, KernelPool, Linear, MaxPool2d, ReLU, Sequential
from core.nn.windows import patches
from core.optim import Adam
from core.training import evaluate, train_epoch

# %% [markdown]
# ## One kernel by hand
#
# This kernel adds up its right column and takes away its left one. It answers strongly where ink begins and with the
# opposite sign where it ends: it finds upright edges.

# %%
upright = np.array([[-1.0, 0, 1], [-1, 0, 1], [-1, 0, 1]])
bar = np.zeros((8, 8))
bar[1:7, 3:5] = 1
answers = np.array([[(bar[row : row + 3, left : left + 3] * upright).sum() for left in range(6)] for row in range(6)])
print(answers.astype(int))

# %% [markdown]
# A window of 3 has 8 - 3 + 1 = 6 places in a row of 8, so the map of answers is 6 by 6.
#
# ## The same as one matrix product
#
# Write each of the 36 windows as a column of nine numbers. The kernel is a row of nine. Now all answers are one
# product of matrices, and that is the thing computers are best at. `Conv2d` does just this, for many kernels and many
# pictures.

# %%
windows, _ = patches(bar[None, None], size=(3, 3), stride=(1, 1))
columns = windows.reshape(9, 36)
print("row times columns:", upright.reshape(1, 9).shape, "@", columns.shape)
print("same answers:", np.array_equal((upright.reshape(1, 9) @ columns).reshape(6, 6), answers))

layer = Conv2d(1, 1, 3, rng=np.random.default_rng(1))
layer.weight.data[0, 0] = upright
print("and from the layer:", np.array_equal(layer(bar[None, None]).data[0, 0], answers))

# %% [markdown]
# Shapes are worth knowing by heart. Sixteen kernels of 3 by 3 on a picture of 28 by 28 make sixteen maps of 26 by 26.

# %%
sixteen = Conv2d(1, 16, 3, rng=np.random.default_rng(1))
maps = sixteen(np.zeros((1, 1, 28, 28)))
print("maps", maps.shape, "flattened", Flatten()(maps).shape, "weights", sixteen.weight.size)
print("largest answer of the sixteen at each place:", KernelPool("max")(maps).shape)
print("largest answer in each square of four places:", MaxPool2d(2)(maps).shape)

# %% [markdown]
# ## Let it learn
#
# Eight kernels, relu, the largest answer in each square of four places, and a linear layer that judges what is left.
# For comparison: a network of about as many weights in which every hidden unit looks at all pixels. 250 digits to
# learn from and 250 to judge by, drawn by the project. (The public ones: `python -m book.data.fetch mnist --to data`,
# then `read_mnist("data", "train").first(250)` from `core.data.mnist`.)

# %%
training, test = drawn_digits(250, seed=1), drawn_digits(250, seed=2)
rng = np.random.default_rng(1)
kernels = Conv2d(1, 8, 3, rng=rng, dtype=np.float32)
convolutional = Sequential(
    lambda images: images[:, None],  # an axis for the colours; ink has one
    kernels,
    ReLU(),
    MaxPool2d(2),
    Flatten(),
    Linear(8 * 13 * 13, 10, rng=rng, dtype=np.float32),
)
dense = Sequential(
    Flatten(), Linear(784, 17, rng=rng, dtype=np.float32), ReLU(), Linear(17, 10, rng=rng, dtype=np.float32)
)
curve = {}
for name, model in (("kernels", convolutional), ("dense", dense)):
    print(name, "has", sum(parameter.size for parameter in model.parameters()), "weights")
    optimiser = Adam(model.parameters(), lr=0.005)
    curve[name] = []
    for _ in range(8):
        train_epoch(model, training, cross_entropy, optimiser, batch_size=10, rng=rng)
        curve[name].append(evaluate(model, test, cross_entropy, correct_classes).accuracy)
    print(name, "training accuracy", evaluate(model, training, cross_entropy, correct_classes).accuracy)
learning_curves(curve, ylabel="accuracy on digits not trained on")

# %% [markdown]
# On digits they have never seen the kernels do better by far: what they learn of a stroke in one place they know of it
# in every place.
#
# ## What the kernels look for
#
# Light is a positive weight, dark a negative one, grey is zero. Each kernel started at random.

# %%
kernel_pictures(kernels)

# %% [markdown]
# A kernel turns a picture into a map: where does what I look for lie, and where its opposite?

# %%
kernel_maps(kernels, test.images[0])

# %% [markdown]
# And these are the places, in other pictures, to which kernel 0 answers most strongly.

# %%
strongest_picture(kernels, test.images, kernel=0)

# %% [markdown]
# *Try:* look at the other kernels. Put another `Conv2d(8, 8, 3, ...)` and `ReLU()` before the pooling: how many
# numbers come out of `Flatten()` then, for the linear layer to take? Train both three times as long: does the dense
# network catch up?
