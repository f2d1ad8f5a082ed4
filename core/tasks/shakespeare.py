"""Continue a text character by character: a recurrent network and an LSTM, on the speeches of plays.

An example is a character, judged by how well it is foretold from those before it in its sequence; sums count
characters. Sequences of 64 characters are what training shuffles.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.characters import IntArray, Speech, join_speeches, read_speeches
from core.data.made_up_text import SPEAKERS, generated_speeches
from core.errors import DataError, StorageError
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import LSTM, RNN, Embedding, Linear, Module
from core.randomness import Rng, generator
from core.tasks.task import Corpus, LocalTraining, Reading, Task
from core.tensor import Tensor
from core.training import Dataset

# Public and fixed, as every vocabulary of a federation: never made from what clients write.
ALPHABET = string.printable[:95] + "\n"
UNKNOWN = len(ALPHABET)
NUMBERS = {character: number for number, character in enumerate(ALPHABET)}
STEPS = 64
EMBEDDING, HIDDEN = 16, 64
HELD_OUT = 0.1
GENERATED_SPEECHES, GENERATED_TEST_SPEECHES = 60, 60


class CharacterModel(Module):
    """Embedding, a recurrent layer over the steps, and one linear layer to the logits of the next character."""

    def __init__(self, layer: Callable[..., RNN | LSTM], rng: Rng) -> None:
        rng = generator(rng)
        self.embedding = Embedding(len(ALPHABET) + 1, EMBEDDING, rng=rng, dtype=np.float32)
        self.recurrent = layer(EMBEDDING, HIDDEN, rng=rng, dtype=np.float32)
        self.output = Linear(HIDDEN, len(ALPHABET) + 1, rng=rng, dtype=np.float32)

    def forward(self, characters: IntArray) -> Tensor:
        """Return logits, shape (sequences, steps, characters known), for numbers of shape (sequences, steps)."""
        states, _ = self.recurrent.read_rows(self.embedding.weight, characters.T)
        return self.output(states).transpose(0, 1)


@dataclass(frozen=True)
class Sequences:
    """Characters and those that follow them, each of shape (sequences, steps); an example is a sequence."""

    inputs: IntArray
    targets: IntArray

    def __len__(self) -> int:
        return len(self.inputs)

    def batch(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return inputs and the characters that follow them, each of shape (rows, characters)."""
        return self.inputs[rows], self.targets[rows]


@dataclass(frozen=True)
class Characters:
    """The same, where an example is a character, so that sums count characters."""

    sequences: Sequences

    def __len__(self) -> int:
        return self.sequences.inputs.size

    def batch(self, rows: IntArray) -> tuple[IntArray, IntArray]:
        """Return the sequences made of these characters. Raises ValueError unless they are whole ones, in order."""
        steps = self.sequences.inputs.shape[1]
        if len(rows) % steps or (np.diff(rows) != 1).any() or (len(rows) and rows[0] % steps):
            raise ValueError(f"characters come in whole sequences of {steps} in their order, not {len(rows)} of them")
        return self.sequences.batch(rows[::steps] // steps)


def prepare(speeches: Sequence[Speech]) -> Characters:
    """Join speeches and cut them into sequences of 64; what does not fill one is left out.

    Raises DataError if all of it does not fill one.
    """
    text = "\n\n".join(speech.text for speech in speeches)
    numbers = np.fromiter((NUMBERS.get(character, UNKNOWN) for character in text), np.int64, len(text))
    count = (len(numbers) - 1) // STEPS
    if count < 1:
        raise DataError(f"speeches of {len(text)} characters are too short; at least {STEPS + 1} are needed")
    inputs, targets = (numbers[shift : shift + count * STEPS].reshape(count, STEPS) for shift in (0, 1))
    return Characters(Sequences(inputs, targets))


def sequences_of(data: Dataset) -> Dataset:
    """Return the data as training shuffles it: sequence by sequence."""
    if not isinstance(data, Characters):
        raise TypeError(f"data of type {type(data).__name__} has no sequences of characters")
    return data.sequences


def read(path: Path) -> Reading:
    """Read a play, or the file tinyshakespeare.txt of a folder without its last tenth, which is for judging."""
    return Reading(read_both(path)[0] if path.is_dir() else read_speeches(path))


def read_both(path: Path) -> tuple[list[Speech], list[Speech]]:
    """Return what to train on, and the last tenth of the speeches."""
    speeches = read_speeches(path / "tinyshakespeare.txt" if path.is_dir() else path)
    kept = int(len(speeches) * HELD_OUT)
    if not kept:
        raise DataError(f"{path} holds {len(speeches)} speeches; at least 10 are needed to keep a tenth for the test")
    return speeches[:-kept], speeches[-kept:]


def write(path: Path, speeches: Sequence[Speech]) -> None:
    """Write speeches as a play that `read` reads again. Raises StorageError if that fails."""
    try:
        path.write_text(join_speeches(speeches), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def generate(seed: int, number: int) -> list[Speech]:
    """Make up one client's speeches: all of one speaker."""
    speaker = SPEAKERS[number % len(SPEAKERS)]
    return generated_speeches(GENERATED_SPEECHES, [seed, number, 1], [speaker])


def _task(name: str, layer: Callable[..., RNN | LSTM]) -> Task:
    return Task(
        name=name,
        build=lambda rng: CharacterModel(layer, rng),
        loss=cross_entropy,
        correct=correct_classes,
        read=read,
        generate=generate,
        generate_test=lambda seed, _clients: generated_speeches(GENERATED_TEST_SPEECHES, [seed, 0, 2]),
        prepare=prepare,
        local=LocalTraining(0.005, epochs=1, batch_size=16),
        clip=1.0,
        corpus=Corpus(read_both, write, label=lambda speech: speech.speaker, partition="grouped"),
        shuffled=sequences_of,
    )


SHAKESPEARE_RNN = _task("shakespeare-rnn", RNN)
SHAKESPEARE_LSTM = _task("shakespeare-lstm", LSTM)
