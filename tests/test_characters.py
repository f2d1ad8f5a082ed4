"""Text as characters, chunks, and speeches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.data.characters import (
    CharacterVocabulary,
    Speech,
    bptt_chunks,
    join_speeches,
    read_characters,
    read_speeches,
    split_speeches,
)
from core.errors import DataError


def test_characters_are_numbered_in_their_order() -> None:
    vocabulary = CharacterVocabulary("banana")
    assert vocabulary.encode("nab").tolist() == [2, 0, 1]
    assert vocabulary.decode([2, 0, 1]) == "nab"
    with pytest.raises(DataError, match="the character 'x' is not among the 3"):
        vocabulary.encode("ax")


def test_chunks_go_on_where_the_last_one_ended() -> None:
    inputs, targets = bptt_chunks(np.arange(20), streams=2, steps=4)
    assert inputs.tolist() == [[[0, 1, 2, 3], [10, 11, 12, 13]], [[4, 5, 6, 7], [14, 15, 16, 17]]]
    assert (targets == inputs + 1).all()


@pytest.mark.parametrize(("streams", "steps", "chunks"), [(32, 16, 195), (16, 25, 249)])
def test_the_text_of_the_book_gives_this_number_of_chunks(streams: int, steps: int, chunks: int) -> None:
    assert bptt_chunks(np.zeros(99_993, np.int64), streams, steps)[0].shape == (chunks, streams, steps)


def test_a_text_too_short_is_one_sentence() -> None:
    with pytest.raises(DataError, match="a text of 9 characters is too short for 2 streams of 4 steps; 10"):
        bptt_chunks(np.arange(9), 2, 4)


def test_speeches_are_cut_at_empty_lines() -> None:
    text = "A play\n\nFOOL:\nOne: two.\nThree.\n\nA knock.\n\nFirst Citizen:\nFour.\n"
    speeches = split_speeches(text)
    assert speeches == [Speech("FOOL", "One: two.\nThree.\n\nA knock."), Speech("First Citizen", "Four.")]
    assert split_speeches(join_speeches(speeches)) == speeches


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"just text", "no speech"), (b"\xff", "not UTF-8"), (b" ", "empty")]
)
def test_files_that_are_no_play_are_one_sentence(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "it.txt").write_bytes(content)
    with pytest.raises(DataError, match=sentence):
        read_speeches(tmp_path / "it.txt")


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no file"):
        read_characters(tmp_path / "none.txt")
