# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 5: many weights learn at once
#
# One error, several weights: whose fault was it? Gradient descent has a fair answer. Every weight gets the same
# difference between answer and goal, times its own input. The louder its input, the more it is corrected.

# %%
import numpy as np

from book.data.toys import baseball
from book.data.vocabulary import one_hot
from book.pictures import error_bowls, score_picture, weight_pictures
from core.data.drawn import drawn_digits
from core.losses import delta_rule, mse
from core.metrics import correct_classes
from core.nn import Flatten, Linear, Sequential
from core.optim import SGD
from core.tensor import Tensor
from core.training import evaluate, train_epoch

# %% [markdown]
# ## Three weights, one answer
#
# Toes, share of games won and fans are to predict that the first game is won: 1.

# %%
game = baseball().inputs[0]
weights = Tensor([0.1, 0.2, -0.1], requires_grad=True)
optimiser = SGD([weights], lr=0.01)
for _ in range(3):
    prediction = weights @ game
    optimiser.zero_grad()
    delta_rule(prediction, 1.0).backward()
    print(f"prediction {prediction.item():.10f}   slopes {weights.grad.round(4)}")
    optimiser.step()

# %% [markdown]
# The slope of the toes is 13 times that of the games won, because 8.5 is (nearly) 13 times 0.65. The formula does not
# ask whether toes *matter*; they are simply a large number. That is why inputs are usually scaled to a like size first.
#
# ## Three bowls
#
# Each weight has its own bowl: the error as it would be if only this weight were moved. The toes' bowl is steep
# and narrow, and it decides how large the rate may be: below 2 divided by the sum of the squared inputs.

# %%
print(f"rates below {2 / (game @ game):.5f} are safe")


def learn(weights, rate, steps, frozen=False):
    """Return the weights before each step and after the last."""
    weights = Tensor(weights, requires_grad=True)
    optimiser, path = SGD([weights], lr=rate), [weights.data.copy()]
    if frozen:
        optimiser.freeze(weights, 0)  # the toes' weight stays where it is
    for _ in range(steps):
        optimiser.zero_grad()
        delta_rule(weights @ game, 1.0).backward()
        optimiser.step()
        path.append(weights.data.copy())
    return path


def error(weights):
    return (weights @ game - 1) ** 2


names = ["toes", "wins", "fans"]
error_bowls(error, learn([0.1, 0.2, -0.1], rate=0.005, steps=6), names)

# %% [markdown]
# ## One weight frozen
#
# Freeze the toes' weight, and the other two must do the work. (They bear a much larger rate than the toes do.) Two
# weights slide down their bowls. The frozen one comes to the bottom of its bowl without having moved, because the bowl
# moved under it: where the bottom lies depends on what the other weights contribute.

# %%
path = learn([0.1, 0.2, -0.1], rate=0.3, steps=3, frozen=True)
print("predictions", [round(float(weights @ game), 8) for weights in path[:3]])
error_bowls(error, learn([0.1, 0.2, -0.1], rate=0.3, steps=6, frozen=True), names, frozen={0})

# %% [markdown]
# If the others learn until the error is gone, nothing is left for the frozen weight to learn from. Let it go then, and
# it stays where it is, even if its input was the one that truly matters.

# %%
converged = learn([0.1, 0.2, -0.1], rate=0.3, steps=300, frozen=True)[-1]
released = learn(converged, rate=0.01, steps=100)[-1]
print("frozen ", converged)
print("let go ", released)

# %% [markdown]
# *Try:* freeze the fans instead. What is the largest rate that still works?
#
# ## Several answers
#
# With several outputs every output has its own weights and its own difference. One input, three outputs:

# %%
row = Tensor([[0.3, 0.2, 0.9]], requires_grad=True)
delta_rule(Tensor([[0.65]]) @ row, [[0.1, 1, 0.1]]).backward()
SGD([row], lr=0.1).step()
print(row.data)

# %% [markdown]
# Three inputs and three outputs: nine weights, and the slope of each is *its input times its output's difference*.

# %%
matrix = Tensor(np.stack([[0.1, 0.1, -0.3], [0.1, 0.2, 0.0], [0.0, 1.3, 0.1]], axis=1), requires_grad=True)
prediction = Tensor(game) @ matrix
difference = prediction.data - [0.1, 1, 0.1]
delta_rule(prediction, [0.1, 1, 0.1]).backward()
print("by backward and by hand the same:", np.allclose(matrix.grad, np.outer(game, difference)))
SGD([matrix], lr=0.01).step()
print(matrix.data)

# %% [markdown]
# ## 7840 weights, to look at
#
# Pictures of digits have 28 by 28 pixels. A layer with 784 inputs and ten outputs gives each digit a score, and its
# weights for one digit can be laid out as a picture. The digits here are drawn by the project. (For the public ones:
# `python -m book.data.fetch mnist --to data`, then `read_mnist("data", "train").first(1000)` from `core.data.mnist`.)


# %%
def squared_error(scores, labels):
    return mse(scores, one_hot(labels, 10))


training, test = drawn_digits(300, seed=1), drawn_digits(200, seed=2)
rng = np.random.default_rng(1)
layer = Linear(784, 10, bias=False, rng=rng, dtype=np.float32)
layer.weight.data[:] = 0
model = Sequential(Flatten(), layer)
optimiser = SGD(model.parameters(), lr=0.1)
for _ in range(10):
    train_epoch(model, training, squared_error, optimiser, batch_size=25, rng=rng)
for name, part in (("training", training), ("other digits", test)):
    print(f"{name}: {evaluate(model, part, squared_error, correct_classes).accuracy:.1%} right")

# %%
weight_pictures(layer)

# %% [markdown]
# Light pixels count for the digit, dark ones against it. The pictures are ghosts of the digits: a weighted sum is
# large where the input looks like the weights. The 0 is dark in the middle, for ink there speaks against a 0.
#
# How one score comes about: image times weights, pixel by pixel, all added up.

# %%
score_picture(layer, test.images[0], output=int(test.labels[0]))

# %% [markdown]
# *Try:* the score of the same image for another output. Leave out the line that sets the weights to 0, and look at the
# weight pictures again: what are the specks, and why does learning hardly take them away?
