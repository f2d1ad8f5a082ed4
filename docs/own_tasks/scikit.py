"""A model of scikit-learn: its own training, federated through the same encrypted sum.

python -m simulation --task docs/own_tasks/scikit.py:SCIKIT          (pip install scikit-learn)
"""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier

from core.tasks import Sums, Update, VectorTask

PIXELS, DIGITS = 64, 10
IMAGES, LABELS = load_digits(return_X_y=True)  # 1,797 digits that come with the library
TEST = 297


def as_classifier(vector, rng):
    """Return a classifier with these weights: 10 rows of 64, then 10 biases."""
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=0.05, random_state=int(rng.integers(1 << 31)))
    model.classes_ = np.arange(DIGITS)
    model.coef_ = vector[: DIGITS * PIXELS].reshape(DIGITS, PIXELS).copy()
    model.intercept_ = vector[DIGITS * PIXELS :].copy()
    return model


def initial(_seed):
    """Return the model that knows nothing: the same for every seed."""
    return np.zeros(DIGITS * PIXELS + DIGITS)


def generate(seed, number):
    """Deal the digits out: 150 to each client, and to number 0 those that models are judged by."""
    if number == 0:
        return np.arange(TEST)
    return TEST + np.random.default_rng([seed, number]).choice(len(IMAGES) - TEST, 150, replace=False)


def evaluate(vector, data):
    """Count the digits that a model gets right; the loss is a sum over them."""
    model = as_classifier(vector, np.random.default_rng(0))
    chances = model.predict_proba(IMAGES[data] / 16)
    loss = -np.log(np.clip(chances[np.arange(len(data)), LABELS[data]], 1e-12, 1)).sum()
    return Sums(len(data), float(loss), int((chances.argmax(axis=1) == LABELS[data]).sum()))


def update(vector, data, rng):
    """Train a copy for one pass, in the library's own way; return what changed."""
    before = evaluate(vector, data)
    model = as_classifier(vector, rng)
    model.partial_fit(IMAGES[data] / 16, LABELS[data])
    after = np.concatenate([model.coef_.ravel(), model.intercept_])
    return Update(after - vector, before.examples, before.loss, before.correct)


SCIKIT = VectorTask(
    name="scikit-digits", clip=4.0, initial=initial, update=update, evaluate=evaluate, generate=generate
)
