# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 9: activations, softmax, and the loss that fits
#
# Between two layers of weights stands a function of single numbers, the activation. Without it two layers would be
# worth no more than one. Which function it is decides what a unit can say, and how much of an error finds its way
# back.

# %%
import numpy as np

from book.data.vocabulary import one_hot
from book.pictures import activation_curves, learning_curves, softmax_bars
from core.data.drawn import drawn_digits
from core.losses import binary_cross_entropy_with_logits, cross_entropy, mse
from core.metrics import correct_classes
from core.nn import Dropout, Flatten, Linear, Sequential, Softmax, Tanh
from core.nn.activations import examine, relu_slope, sigmoid_slope, tanh_slope
from core.optim import SGD
from core.tensor import Tensor
from core.training import evaluate, train_epoch

# %% [markdown]
# ## Five activations and their slopes
#
# A good activation has an answer for every input, never turns back (or two inputs would pull the weights two ways for
# the same output), and is no straight line. It should also be cheap to work out. The lines under each picture say what
# was found on a fine grid of numbers.

# %%
activation_curves()

# %% [markdown]
# Sigmoid and tanh go flat on both sides: a unit far out hardly learns. Relu keeps the slope 1 wherever it is open. A
# parabola is curved, too, and still does not do:

# %%
print(examine(lambda x: x * x))

# %% [markdown]
# *Try:* what does `examine` say of `lambda x: x.log()`, and of `lambda x: 2 * x + 1`?
#
# ## The slope is hidden in the output
#
# To send an error back through an activation one needs its slope. For the usual three the slope can be worked out from
# the output alone, so that nothing else need be kept. The library finds the same slopes with `backward`.

# %%
inputs = np.array([-2.0, -0.5, 0.5, 2.0])
for name, from_output in (("relu", relu_slope), ("sigmoid", sigmoid_slope), ("tanh", tanh_slope)):
    points = Tensor(inputs, requires_grad=True)
    outputs = getattr(points, name)()
    outputs.sum().backward()
    print(f"{name:8} from the output {from_output(outputs.data).round(4)}   by backward {points.grad.round(4)}")

# %% [markdown]
# ## Softmax: one choice out of many
#
# Sigmoid judges every output by itself. If just one of ten answers is true, that is clumsy: nine outputs of 0 all say
# "one half", and the network is blamed for them although its choice is clear. Softmax looks at all outputs together
# and shares out one whole: it raises e to each number and divides by the sum.

# %%
logits = Tensor([0.0, 0, 0, 0, 0, 0, 0, 0, 0, 100])
truth = one_hot(9, 10)
for outputs in (logits.sigmoid(), logits.softmax()):
    print(outputs.data.round(3), "squared error", mse(outputs, truth, "sum").item())

# %% [markdown]
# Softmax may first divide the numbers by a *temperature*. Heat evens the shares out, cold lets the largest take all.
# (1, 2 and 4 below are the numbers, which are called logits.)

# %%
softmax_bars([1.0, 2.0, 4.0], temperatures=(0.5, 1.0, 2.0))

# %% [markdown]
# Only differences count: adding the same to all numbers changes nothing. That is also how overflow is avoided, because
# e to the power 1000 is too large for the computer and e to the power 0 is not.

# %%
print(Softmax()([1.0, 2.0, 4.0]).data, Softmax()([1001.0, 1002.0, 1004.0]).data)

# %% [markdown]
# ## Which loss fits which output
#
# - any number (a temperature, a price): no activation, squared error;
# - yes or no, several times independently: sigmoid, binary cross entropy;
# - one of many: softmax, cross entropy.
#
# Cross entropy asks one thing: how likely did you think the truth? Its two forms here take the numbers *before*
# sigmoid or softmax, because both steps together are simpler than each: the slope is just what was said minus what is
# true. Of squared error behind a sigmoid that is not so. If the network is sure and wrong, the sigmoid is flat and the
# blame is lost on the way.

# %%
for number in (-10.0, -3.0, 0.0):
    sure, same = Tensor([number], requires_grad=True), Tensor([number], requires_grad=True)
    mse(sure.sigmoid(), [1.0]).backward()
    binary_cross_entropy_with_logits(same, [1.0]).backward()
    print(f"truth 1, said {sure.sigmoid().data[0]:.5f}: slope of squared error {sure.grad[0]:.5f}, ", end="")
    print(f"of cross entropy {same.grad[0]:.5f}")

# %% [markdown]
# The first line is the telling one: utterly wrong, and squared error hardly asks for a change.
#
# ## Dropout: slopes of what was dropped are 0
#
# Dropout sets a random half of the numbers to 0 and doubles the others, so that sums stay about the same. What was
# dropped had no part in the error and gets no blame; what was doubled gets double. In evaluation nothing is dropped.

# %%
rng = np.random.default_rng(1)
units = Tensor(np.ones(8), requires_grad=True)
dropout = Dropout(0.5, rng=rng)
thinned = dropout(units)
thinned.sum().backward()
print("forward ", thinned.data)
print("slopes  ", units.grad)
print("in evaluation", dropout.eval()(units).data)

# %% [markdown]
# ## All of it in one network
#
# Digits drawn by the project, 300 to learn from and 300 to judge by: 784 numbers in, 100 tanh units, half of them
# dropped, ten outputs. (For the public digits: `python -m book.data.fetch mnist --to data`, then `read_mnist("data",
# "train")` and `read_mnist("data", "test")` from `core.data.mnist`.)

# %%
training, test = drawn_digits(300, seed=1), drawn_digits(300, seed=2)
model = Sequential(
    Flatten(),
    Linear(784, 100, rng=rng, dtype=np.float32),
    Tanh(),
    Dropout(0.5, rng=rng),
    Linear(100, 10, rng=rng, dtype=np.float32),
)
optimiser = SGD(model.parameters(), lr=0.1)
curve = {"training": [], "test": []}
for _ in range(30):
    train_epoch(model, training, cross_entropy, optimiser, batch_size=20, rng=rng)
    for name, part in (("training", training), ("test", test)):
        curve[name].append(evaluate(model, part, cross_entropy, correct_classes).accuracy)
learning_curves(curve)

# %% [markdown]
# Both were measured with nothing dropped. The network knows its training digits better than others, as ever.
#
# *Try:* leave the dropout out, or set the rate to 1. Replace `Tanh()` by `ReLU()` or `Sigmoid()` (from `core.nn`):
# which of them needs another rate?
