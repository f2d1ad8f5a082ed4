"""Digits: a multilayer perceptron, and the convolutional network of chapter 10. Drawn noise of MNIST's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measure import Case, Work, beside_torch, take_step, twin_linear
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Conv2d, Dropout, Flatten, Linear, ReLU, Sequential, Tanh
from core.ops import Array
from core.optim import SGD
from core.training import Rows, evaluate, train_epoch

RATE = 0.05


@dataclass(frozen=True)
class Images:
    """Images and their classes as a dataset."""

    images: Array
    classes: Array

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, rows: Rows) -> tuple[Array, Array]:
        return self.images[rows], self.classes[rows]


def draw(count: int, shape: tuple[int, ...], rng: np.random.Generator) -> Images:
    """Draw images of which about a fifth is ink, as of MNIST."""
    ink = rng.random((count, *shape), np.float32) * (rng.random((count, *shape)) < 0.2)
    return Images(ink.astype(np.float32), rng.integers(0, 10, count))


# --- Training: 784-100-10 with dropout, and 16 kernels 3x3, each with the same start in both ---


def perceptron_epoch(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    data = draw(1000 if small else 60_000, (784,), rng)
    first, last = Linear(784, 100, rng=rng, dtype=np.float32), Linear(100, 10, rng=rng, dtype=np.float32)
    model = Sequential(first, ReLU(), Dropout(0.5, rng=rng), last)

    def twin(torch: Any) -> Work:
        layers = (twin_linear(torch, first), torch.nn.ReLU(), torch.nn.Dropout(0.5), twin_linear(torch, last))
        return _twin_training(torch, torch.nn.Sequential(*layers), data, 100)

    return beside_torch(_training(model, data, 100, rng), twin)


def convolution_epoch(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    data, model = draw(100 if small else 1000, (1, 28, 28), rng), _convolution(rng)
    return beside_torch(
        _training(model, data, 128, rng),
        lambda torch: _twin_training(torch, _twin_convolution(torch, model), data, 128),
    )


def convolution_scoring(rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    data, model = draw(100 if small else 10_000, (1, 28, 28), rng), _convolution(rng)
    return beside_torch(
        lambda: evaluate(model, data, cross_entropy, correct_classes, batch_size=100).mean_loss,
        lambda torch: partial(_twin_scoring, torch, _twin_convolution(torch, model), data, 100),
    )


def _convolution(rng: np.random.Generator) -> Sequential:
    kernels, last = Conv2d(1, 16, 3, rng=rng, dtype=np.float32), Linear(10_816, 10, rng=rng, dtype=np.float32)
    return Sequential(kernels, Tanh(), Dropout(0.5, rng=rng), Flatten(), last)


def _twin_convolution(torch: Any, model: Sequential) -> Any:
    kernels, *_, last = model.layers
    assert isinstance(kernels, Conv2d)
    assert isinstance(last, Linear)
    twin = torch.nn.Conv2d(1, 16, 3)
    twin.weight.data = torch.tensor(kernels.weight.data)
    twin.bias.data.zero_()
    layers = (twin, torch.nn.Tanh(), torch.nn.Dropout(0.5), torch.nn.Flatten(), twin_linear(torch, last))
    return torch.nn.Sequential(*layers)


def _training(model: Sequential, data: Images, batch: int, rng: np.random.Generator) -> Work:
    optimiser = SGD(model.parameters(), RATE)
    return lambda: train_epoch(model, data, cross_entropy, optimiser, batch, rng)


def _twin_training(torch: Any, model: Any, data: Images, batch: int) -> Work:
    images, classes = torch.from_numpy(data.images), torch.from_numpy(data.classes)
    optimiser = torch.optim.SGD(model.parameters(), RATE)
    loss_of = torch.nn.CrossEntropyLoss()

    def epoch() -> float:
        model.train()
        total = 0.0
        for rows in torch.randperm(len(images)).split(batch):
            loss = loss_of(model(images[rows]), classes[rows])
            total += take_step(optimiser, loss) * len(rows)
        return total / len(images)

    return epoch


def _twin_scoring(torch: Any, model: Any, data: Images, batch: int) -> float:
    images, classes = torch.from_numpy(data.images), torch.from_numpy(data.classes)
    model.eval()
    total = 0.0
    with torch.no_grad():
        for rows in torch.arange(len(images)).split(batch):
            outputs = model(images[rows])
            total += torch.nn.functional.cross_entropy(outputs, classes[rows]).item() * len(rows)
            (outputs.argmax(1) == classes[rows]).sum()
    return total / len(images)


CASES = (
    Case("mnist-mlp", "epoch of 60,000, 784-100-10, dropout, batch 100", perceptron_epoch, book=60 * 0.55),
    Case("cnn-epoch", "epoch of 1,000, 16 kernels 3x3, dropout, batch 128", convolution_epoch, book=0.32),
    Case("cnn-scoring", "10,000 images, the same network, batch 100", convolution_scoring, book=11.8),
)
