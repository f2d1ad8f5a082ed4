"""What studies of updates share: their parts, their clipping, and the digits that clients hold."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

from book.run import Run
from core.commands import command_of
from core.data.drawn import drawn_digits
from core.data.mnist import Images, Part, read_mnist
from core.errors import DataError, SettingsError
from core.parameters import layout
from core.tasks.task import Task
from experiments.arrays import FloatArray

Floats = TypeVar("Floats", npt.NDArray[np.float32], npt.NDArray[np.float64])

PLAINTEXT_BITS = 2016  # of a key of 2,048 bits, as the product uses it


def parts_of(task: Task, vector: FloatArray) -> list[FloatArray]:
    """Cut a model or an update, shape (values,), into the arrays of the task's layers, in their order."""
    shapes = [shape for _, shape in layout(task.build(np.random.default_rng(0)))]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), shapes, strict=True)]


def clipped(updates: Floats, norm: float) -> Floats:
    """Shorten each update, shape (..., values), to the length `norm` if it is longer."""
    lengths = np.linalg.norm(updates, axis=-1, keepdims=True)
    shortened: Floats = updates * np.minimum(1.0, norm / np.maximum(lengths, 1e-30))
    return shortened


def check_noise(clip_norm: float, noise: float) -> None:
    """Raise SettingsError for noise without a clip norm to measure it by."""
    if noise and not clip_norm:
        raise SettingsError(f"noise is {noise} times the clip norm, and the updates are not clipped")


def defence_name(clip_norm: float, noise: float) -> str:
    """Write what is done to updates, for a table."""
    more = f", noise {noise:g} times that" if noise else ""
    return f"norm clip {clip_norm:g}{more}" if clip_norm else "none"


def digits_for(run: Run, count: int, part: Part = "train") -> Images:
    """Return this many digits: of MNIST, or drawn by the project if there is no data.

    Raises DataError, saying how to fetch it, if there is a folder of data without MNIST or with less of it.
    """
    if run.data is None:
        return drawn_digits(count, [run.seed, 0 if part == "train" else 1])
    try:
        found = read_mnist(run.data, part).first(count)
    except DataError as error:
        fetch = f"{command_of('book.data.fetch')} mnist --to {run.data}"
        raise DataError(f"{error}; {fetch} brings the files") from error
    if len(found) < count:
        raise DataError(f"{run.data} holds {len(found)} digits of the {part} part; {count} are needed")
    return found
