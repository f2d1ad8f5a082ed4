"""Text as characters: their numbers, chunks for truncated backpropagation through time, and the speakers of a play."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from core.data.files import read_text
from core.errors import DataError

IntArray = npt.NDArray[np.int64]
NAME = re.compile(r"[^\s:][^:\n]{0,59}:")


class CharacterVocabulary:
    """The distinct characters of a training text, sorted, and their numbers. Raises DataError if there are none."""

    def __init__(self, text: Iterable[str]) -> None:
        self.characters = "".join(sorted(set(text)))
        if not self.characters:
            raise DataError("a text without characters has no vocabulary")
        self._numbers = {character: number for number, character in enumerate(self.characters)}

    @property
    def size(self) -> int:
        """Number of distinct characters."""
        return len(self.characters)

    def encode(self, text: str) -> IntArray:
        """Return the numbers of a text, shape (characters,); raise DataError for a character never seen before."""
        try:
            return np.fromiter((self._numbers[character] for character in text), np.int64, len(text))
        except KeyError as error:
            raise DataError(
                f"the character {error.args[0]!r} is not among the {self.size} that this vocabulary knows"
            ) from None

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of numbers; raise IndexError for one that is no character's."""
        return "".join(self.characters[_checked(number, self.size)] for number in numbers)


def _checked(number: int, size: int) -> int:
    if not 0 <= number < size:
        raise IndexError(f"the number {number} is not among the {size} of this vocabulary, 0 ... {size - 1}")
    return number


def read_characters(path: Path | str) -> str:
    """Read a text file whole; raise DataError if it cannot be read, is not UTF-8, or is empty."""
    return read_text(path)


def bptt_chunks(numbers: IntArray, streams: int, steps: int) -> tuple[IntArray, IntArray]:
    """Cut a text into parallel streams and these into chunks, for truncated backpropagation through time.

    Stream s is the s-th of equal parts of the text. Chunk t + 1 continues where chunk t ended, in every stream, so that
    the state can be carried on. Targets are the inputs one character further on. What does not fill a chunk is left
    over at the end of each stream.

    Args:
        numbers: the text, shape (characters,).

    Returns:
        Inputs and targets, each of shape (chunks, streams, steps).

    Raises:
        DataError: the text is too short for one chunk.
    """
    if streams < 1 or steps < 1:
        raise ValueError(f"{streams} streams of {steps} steps cannot be made; at least 1 of each is needed")
    length = len(numbers) // streams
    chunks = (length - 1) // steps
    if chunks < 1:
        raise DataError(
            f"a text of {len(numbers)} characters is too short for {streams} streams of {steps} steps; "
            f"{streams * (steps + 1)} are needed"
        )
    rows = numbers[: streams * length].reshape(streams, length)
    inputs, targets = (rows[:, shift : shift + chunks * steps] for shift in (0, 1))
    shape = (streams, chunks, steps)
    return inputs.reshape(shape).swapaxes(0, 1), targets.reshape(shape).swapaxes(0, 1)


@dataclass(frozen=True)
class Speech:
    """What one speaker of a play says at a time."""

    speaker: str
    text: str


def read_speeches(path: Path | str) -> list[Speech]:
    """Read a play: speeches set apart by empty lines, each beginning with a line `SPEAKER:`.

    Lines before the first speaker are left out; a part without a speaker belongs to the speech before it.
    Raises DataError if the file cannot be read or has no speaker.
    """
    speeches = split_speeches(read_text(path))
    if not speeches:
        raise DataError(f"{path} holds no speech; expected a line SPEAKER: with lines of text under it")
    return speeches


def split_speeches(text: str) -> list[Speech]:
    """Cut the text of a play into its speeches, in their order."""
    speeches: list[Speech] = []
    for part in re.split(r"\n\s*\n", text.strip("\n")):
        first, _, rest = part.partition("\n")
        if NAME.fullmatch(first.strip()):
            if rest.strip():
                speeches.append(Speech(first.strip()[:-1], rest))
        elif speeches:
            speeches[-1] = Speech(speeches[-1].speaker, f"{speeches[-1].text}\n\n{part}")
    return speeches


def join_speeches(speeches: Iterable[Speech]) -> str:
    """Write speeches as the text of a play, each with its speaker's name."""
    return "".join(f"{speech.speaker}:\n{speech.text}\n\n" for speech in speeches)
