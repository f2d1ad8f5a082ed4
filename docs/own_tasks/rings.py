"""A network on the core: tell in which of three rings a point lies. No straight line parts them.

python -m simulation --task docs/own_tasks/rings.py:RINGS
"""

import numpy as np

from core.data.arrays import ArrayDataset
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Linear, ReLU, Sequential
from core.optim import SGD
from core.tasks import LocalTraining, Task


def build(rng):
    """2 - 24 - 24 - 3 with relu; the generator decides its first weights."""
    layers = [Linear(2, 24, rng=rng), ReLU(), Linear(24, 24, rng=rng), ReLU(), Linear(24, 3, rng=rng)]
    return Sequential(*layers)


def generate(seed, number):
    """Make up one client's points; most of them lie on one side of its own."""
    rng = np.random.default_rng([seed, number])
    rings = rng.integers(0, 3, 300)
    angles = rng.normal(rng.uniform(0, 2 * np.pi), 1.5, 300)
    distances = rings + 0.5 + rng.normal(0, 0.12, 300)
    return [
        (distance * np.array([np.cos(a), np.sin(a)]), ring)
        for distance, a, ring in zip(distances, angles, rings, strict=True)
    ]


def prepare(examples):
    """Make arrays of examples: points of shape (n, 2), and the numbers of their rings."""
    return ArrayDataset(np.array([point for point, _ in examples]), np.array([ring for _, ring in examples]))


def test(seed, _clients):
    """Make up points of a few more clients, on all sides."""
    return [example for number in range(1001, 1006) for example in generate(seed, number)]


RINGS = Task(
    name="rings",
    build=build,
    loss=cross_entropy,
    correct=correct_classes,
    generate=generate,
    generate_test=test,
    prepare=prepare,
    local=LocalTraining(learning_rate=0.1, epochs=2, batch_size=16, optimiser=SGD),
    clip=1.0,
)
