"""Tell handwritten digits apart: a network of two layers, and a small convolutional one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.data.drawn import drawn_digits
from core.data.mnist import SIDE, Images, check_images, read_mnist
from core.errors import DataError
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Conv2d, Flatten, Linear, Module, ReLU, Sequential
from core.parameters import load_npz, save_npz
from core.randomness import Rng, generator
from core.tasks.task import Corpus, LocalTraining, Reading, Task

Digit = tuple[npt.NDArray[np.float32], int]
HIDDEN = 32
GENERATED_DIGITS = 300
GENERATED_TEST_DIGITS = 1000


def as_channel(images: Any) -> npt.NDArray[np.float32]:
    """Give images, shape (n, 28, 28), the axis of channels that convolutions expect: (n, 1, 28, 28)."""
    return np.asarray(images)[:, None]


def build_mlp(rng: Rng) -> Module:
    """784 - 32 - 10 with relu."""
    rng = generator(rng)
    layers = (
        Linear(SIDE * SIDE, HIDDEN, rng=rng, dtype=np.float32),
        Linear(HIDDEN, 10, rng=rng, dtype=np.float32),
    )
    return Sequential(Flatten(), layers[0], ReLU(), layers[1])


class ConvolutionalModel(Module):
    """8 kernels 5x5, then 16 kernels 3x3, each two pixels apart, then one linear layer: 28 -> 12 -> 5 -> 10."""

    def __init__(self, rng: Rng) -> None:
        rng = generator(rng)
        self.layers = Sequential(
            Conv2d(1, 8, 5, stride=2, rng=rng, dtype=np.float32),
            ReLU(),
            Conv2d(8, 16, 3, stride=2, rng=rng, dtype=np.float32),
            ReLU(),
            Flatten(),
            Linear(400, 10, rng=rng, dtype=np.float32),
        )

    def forward(self, images: npt.NDArray[np.float32]) -> Any:
        """Return logits, shape (n, 10), for images of shape (n, 28, 28)."""
        return self.layers(as_channel(images))


def examples_of(data: Images) -> list[Digit]:
    """Return the images one by one, each with its label."""
    return [(image, int(label)) for image, label in zip(data.images, data.labels, strict=True)]


def prepare(examples: Sequence[Digit]) -> Images:
    """Make a data set of images with their labels."""
    if not examples:
        raise DataError("there are no images")
    shapes = {np.shape(image) for image, _ in examples}
    if len(shapes) > 1:
        raise DataError(f"the images have different shapes: {', '.join(map(str, sorted(shapes)))}")
    images, labels = np.stack([image for image, _ in examples]), np.array([label for _, label in examples])
    check_images(images, labels, "the data set")
    return Images(images, labels.astype(np.int64))


def read(path: Path) -> Reading:
    """Read the training part of a folder with the published files, or a part that `write` wrote."""
    if path.is_dir():
        return Reading(examples_of(read_mnist(path, "train")))
    arrays = load_npz(path)
    if set(arrays) != {"images", "labels"}:
        raise DataError(f"{path} holds {', '.join(sorted(arrays))}; expected images and labels")
    check_images(arrays["images"], arrays["labels"], str(path))
    if arrays["images"].dtype != np.uint8:
        raise DataError(f"the images of {path} are of type {arrays['images'].dtype}; expected bytes, 0 to 255")
    return Reading(
        examples_of(Images(arrays["images"].astype(np.float32) / np.float32(255), arrays["labels"].astype(np.int64)))
    )


def write(path: Path, examples: Sequence[Digit]) -> None:
    """Write a part as arrays of bytes, as small as the published files: `read` gives the same numbers again."""
    data = prepare(examples)
    save_npz(path, {"images": np.rint(data.images * 255).astype(np.uint8), "labels": data.labels})


def read_both(folder: Path) -> tuple[list[Digit], list[Digit]]:
    """Read what to train on, and the published test part."""
    return examples_of(read_mnist(folder, "train")), examples_of(read_mnist(folder, "test"))


def generate(seed: int, number: int) -> list[Digit]:
    """Draw one client's digits, some of which it writes more often than others."""
    shares = np.random.default_rng([seed, number, 0]).dirichlet(np.ones(10))
    return examples_of(drawn_digits(GENERATED_DIGITS, [seed, number, 1], shares))


def _task(name: str, build: Callable[[np.random.Generator], Module], learning_rate: float) -> Task:
    return Task(
        name=name,
        build=build,
        loss=cross_entropy,
        correct=correct_classes,
        read=read,
        generate=generate,
        generate_test=lambda seed, _clients: examples_of(drawn_digits(GENERATED_TEST_DIGITS, [seed, 0, 2])),
        prepare=prepare,
        local=LocalTraining(learning_rate, epochs=1, batch_size=32),
        clip=1.0,
        corpus=Corpus(read_both, write, label=lambda digit: digit[1]),
    )


MNIST_MLP = _task("mnist-mlp", build_mlp, 0.001)
MNIST_CNN = _task("mnist-cnn", ConvolutionalModel, 0.002)
