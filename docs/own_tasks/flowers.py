"""Logistic regression on a CSV file of your own: tell three kinds of iris apart by four lengths.

python -m simulation --task docs/own_tasks/flowers.py:FLOWERS --data iris.csv
"""

import csv

import numpy as np

from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Linear
from core.tasks import LocalTraining, Task, labelled

COLUMNS = ("sepal length", "sepal width", "petal length", "petal width")
KINDS = ("setosa", "versicolor", "virginica")  # the same for all parties, never found in one's own data
MIDDLE, SPREAD = np.array([5.8, 3.1, 3.8, 1.2]), np.array([0.8, 0.4, 1.8, 0.8])  # roughly, from a book on flowers


def read(path):
    """Return one example for each row: its numbers, and the number of its kind."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return [as_example([row[column] for column in COLUMNS], KINDS.index(row["kind"])) for row in rows]


def as_example(lengths, kind):
    return (np.array(lengths, float) - MIDDLE) / SPREAD, kind


def generate(seed, number):
    """Make up a client's flowers, so that the task runs without a file."""
    rng = np.random.default_rng([seed, number])
    kinds = rng.integers(0, 3, 100)
    means = np.array([[5.0, 3.4, 1.5, 0.2], [5.9, 2.8, 4.3, 1.3], [6.6, 3.0, 5.6, 2.0]])
    return [as_example(rng.normal(means[kind], [0.4, 0.3, 0.4, 0.2]), int(kind)) for kind in kinds]


FLOWERS = Task(
    name="flowers",
    build=lambda rng: Linear(4, 3, rng=rng),
    loss=cross_entropy,
    correct=correct_classes,
    generate=generate,
    local=LocalTraining(learning_rate=0.05, epochs=2, batch_size=16),
    clip=2.0,
    **labelled(read),
)
