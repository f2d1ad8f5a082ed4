# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
# ---

# %% [markdown]
# # Chapter 8: learning by heart, and how to prevent it
#
# A network that answers all its training examples rightly may have understood something, or it may have learned the
# answers by heart. The training examples alone do not show it. Here are the difference and four remedies.

# %%
import numpy as np

from book.pictures import learning_curves
from core.data.drawn import drawn_digits
from core.data.mnist import Images
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Dropout, Ensemble, Flatten, Linear, ReLU, Sequential, Softmax
from core.optim import SGD
from core.training import Plan, evaluate, train, train_epoch

# %% [markdown]
# ## Three parts of the data
#
# The network learns from the *training* part. Whatever we choose ourselves (how long to train, how large a network) we
# choose by the *validation* part. The *test* part is looked at once, at the end, or it would no longer be a test.
#
# The digits are drawn by the project, and few, which makes learning by heart easy. (For the public ones:
# `python -m book.data.fetch mnist --to data`, then `read_mnist("data", "train").first(1000)` from `core.data.mnist`.)

# %%
training, validation, test = drawn_digits(120, seed=1), drawn_digits(200, seed=2), drawn_digits(400, seed=3)


def network(rng, dropped=0.0):
    return Sequential(
        Flatten(),
        Dropout(dropped, rng=rng),
        Linear(784, 40, rng=rng, dtype=np.float32),
        ReLU(),
        Dropout(dropped, rng=rng),
        Linear(40, 10, rng=rng, dtype=np.float32),
    )


def follow(model, passes, rng):
    """Train for some passes; return the losses on both parts after each."""
    optimiser = SGD(model.parameters(), lr=0.1)
    losses = {"training": [], "validation": []}
    for _ in range(passes):
        train_epoch(model, training, cross_entropy, optimiser, batch_size=10, rng=rng)
        for name, part in (("training", training), ("validation", validation)):
            losses[name].append(evaluate(model, part, cross_entropy, correct_classes).mean_loss)
    return losses


# %% [markdown]
# ## The two curves part
#
# The loss here is cross entropy, which chapter 9 explains; what counts is that less is better.

# %%
rng = np.random.default_rng(1)
plain = network(rng)
losses = follow(plain, 50, rng)
for name, part in (("training", training), ("validation", validation)):
    print(f"{name}: {evaluate(plain, part, cross_entropy, correct_classes).accuracy:.1%} right")
learning_curves(losses, watched="validation", best=np.argmin, ylabel="mean loss")

# %% [markdown]
# On its own examples the network gets better and better. On others it gets better for a while, and then *worse*: after
# the strokes that make a digit it also learned the specks and slips of these 120 pictures, and grew sure of them.
#
# ## Pure memory
#
# How much can a network learn by heart? Shuffle the labels, so that there is nothing at all to understand.

# %%
nonsense = Images(training.images, rng.permutation(training.labels))
parrot = network(rng)
optimiser = SGD(parrot.parameters(), lr=0.1)
for _ in range(60):
    train_epoch(parrot, nonsense, cross_entropy, optimiser, batch_size=10, rng=rng)
for name, part in (("shuffled labels", nonsense), ("validation", validation)):
    print(f"{name}: {evaluate(parrot, part, cross_entropy, correct_classes).accuracy:.1%} right")

# %% [markdown]
# It learned nonsense nearly as willingly as sense, and on other digits it is about as good as guessing (one in ten).
# So accuracy on the training part proves nothing.
#
# ## Remedy 1: stop early
#
# Stop when the validation loss has not fallen for a while (the *patience*), and go back to the best weights seen.

# %%
rng = np.random.default_rng(1)
stopped = network(rng)
optimiser = SGD(stopped.parameters(), lr=0.1)
plan = Plan(passes=100, batch_size=10, patience=5)
curve = train(stopped, training, validation, cross_entropy, correct_classes, optimiser, plan, rng)
print(f"stopped after {len(curve)} passes of at most 100")
for name, model in (("trained on", plain), ("stopped early", stopped)):
    print(f"{name}: validation loss {evaluate(model, validation, cross_entropy, correct_classes).mean_loss:.3f}")

# %% [markdown]
# *Try:* a patience of 1. Why is that too little?
#
# ## Remedy 2: dropout
#
# At every step half of the pixels and half of the hidden units, a new half each time, are switched off. No unit can
# rely on one certain pixel or on another unit being there, so odd little coincidences (the stuff of learning by heart)
# do not hold. What shows in many places does.

# %%
rng = np.random.default_rng(1)
thinned = network(rng, dropped=0.5)
with_dropout = follow(thinned, 50, rng)
for name in ("training", "validation"):
    losses[f"{name}, dropout"] = with_dropout[name]
learning_curves(losses, ylabel="mean loss (nothing dropped)")

# %% [markdown]
# Learning takes longer, for the lesson is harder. In return the two curves do not part as far, and the validation loss
# does not climb as the other one does.
#
# ## Batches
#
# A step needs a gradient, and the mean over a few examples points better than one example does; also, the computer
# handles ten rows nearly as fast as one. But larger batches mean fewer steps a pass. The same ten passes:

# %%
for size in (1, 10, 120):
    rng = np.random.default_rng(1)
    model = network(rng)
    optimiser = SGD(model.parameters(), lr=0.02)
    for _ in range(10):
        train_epoch(model, training, cross_entropy, optimiser, batch_size=size, rng=rng)
    loss = evaluate(model, training, cross_entropy, correct_classes).mean_loss
    print(f"batches of {size}: {10 * 120 // size} steps, training loss {loss:.3f}")

# %% [markdown]
# *Try:* batches of all 120 with a rate ten times as large: a steadier direction bears longer steps.
#
# ## Remedy 3: ask several
#
# Networks that started differently make different mistakes, while what is right tends to be right in all. So let five
# vote, by the mean of their probabilities. Now, at the very end, the test part.

# %%
members = []
for seed in range(5):
    rng = np.random.default_rng(seed)
    member = network(rng)
    optimiser = SGD(member.parameters(), lr=0.1)
    for _ in range(12):
        train_epoch(member, training, cross_entropy, optimiser, batch_size=10, rng=rng)
    members.append(Sequential(member, Softmax()))
    print(f"member {seed}: {evaluate(member, test, cross_entropy, correct_classes).accuracy:.1%} right")
right = correct_classes(Ensemble(members).eval()(test.images).data, test.labels)
print(f"all five together: {right / len(test):.1%} right")
for name, model in (("trained on", plain), ("stopped early", stopped), ("dropout", thinned)):
    sums = evaluate(model, test, cross_entropy, correct_classes)
    print(f"{name}: {sums.accuracy:.1%} right, loss {sums.mean_loss:.3f}")

# %% [markdown]
# Compare the vote with the members: which of them is the best could not be known beforehand. And compare the
# losses of the last three lines, not only the shares: a network that learned by heart tends to be sure of its
# mistakes, too.
#
# The fourth remedy is the best one where it can be had: more examples.
#
# *Try:* `drawn_digits(600, seed=1)` as the training part. Which remedies are still worth it?
