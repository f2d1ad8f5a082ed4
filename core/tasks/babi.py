"""Answer where a person is from a story of who went where: attention over the story's sentences.

Sentences and question become sums of word vectors; the question is compared with every sentence, and the answer is read
from the mean of the sentences, weighted by the softmax of how well they match (an end-to-end memory network with one
hop; Sukhbaatar et al., NeurIPS 2015). How long ago a sentence was said has a vector too: the last move counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.data.babi import Question, Statement, Story, read_stories, words_of, write_stories
from core.data.characters import IntArray
from core.data.made_up_text import MOVES, PEOPLE, PLACES, generated_stories
from core.errors import DataError, StorageError
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Embedding, Linear, Module
from core.randomness import Rng, generator
from core.tasks.task import Corpus, LocalTraining, Reading, Task
from core.tensor import Tensor

# Public and fixed: the words of task 1. Number 0 is padding, the last number every other word.
WORDS = sorted({word for sentence in (*PEOPLE, *MOVES, *PLACES, "the where is") for word in words_of(sentence)})
NUMBERS = {word: number for number, word in enumerate(WORDS, start=1)}
UNKNOWN = len(WORDS) + 1
SENTENCES, LENGTH, WIDTH = 10, 6, 16
TRAIN_FILE = "qa1_single-supporting-fact_train.txt"
TEST_FILE = "qa1_single-supporting-fact_test.txt"
GENERATED_STORIES = 60


@dataclass(frozen=True)
class Asked:
    """A question with what was said before it."""

    statements: tuple[Statement, ...]
    question: Question


@dataclass(frozen=True)
class Questions:
    """Questions as a data set.

    Attributes:
        stories: word numbers of the last ten statements, the latest first, shape (n, 10, 6), padded with 0.
        questions: word numbers, shape (n, 6), padded with 0.
        answers: places of the answers in PLACES, shape (n,).
    """

    stories: IntArray
    questions: IntArray
    answers: IntArray

    def __len__(self) -> int:
        return len(self.answers)

    def batch(self, rows: IntArray) -> tuple[tuple[IntArray, IntArray], IntArray]:
        """Return the stories, questions and answers of these rows."""
        return (self.stories[rows], self.questions[rows]), self.answers[rows]


class MemoryModel(Module):
    """Matches a question with the sentences of a story and reads the answer from those that match."""

    def __init__(self, rng: Rng) -> None:
        rng = generator(rng)

        def table() -> Embedding:
            return Embedding(UNKNOWN + 1, WIDTH, padding_idx=0, rng=rng, dtype=np.float32)

        self.asked, self.matched, self.read_out = table(), table(), table()
        for embedding in (self.asked, self.matched, self.read_out):
            embedding.weight.data *= WIDTH / 2  # vectors near 0 would match nothing, and learn slowly
        self.age = Embedding(SENTENCES, WIDTH, rng=rng, dtype=np.float32)
        self.recency = Embedding(SENTENCES, 1, rng=rng, dtype=np.float32)
        self.output = Linear(WIDTH, len(PLACES), rng=rng, dtype=np.float32)

    def forward(self, inputs: tuple[IntArray, IntArray]) -> Tensor:
        """Return logits, shape (n, places), for stories (n, 10, 6) and questions (n, 6)."""
        stories, questions = inputs
        count = len(questions)
        ages = np.arange(SENTENCES)
        question = self.asked(questions).sum(axis=1)
        sentences = self.matched(stories).sum(axis=2) + self.age(ages)
        match = (sentences @ question.reshape(count, WIDTH, 1)).reshape(count, SENTENCES)
        match = match + self.recency(ages).reshape(SENTENCES)
        empty = np.where(stories.any(axis=2), 0, -1e4).astype(match.dtype)
        attention = (match + empty).softmax().reshape(count, 1, SENTENCES)
        read = (attention @ self.read_out(stories).sum(axis=2)).reshape(count, WIDTH)
        return self.output(read)


def examples_of(stories: Sequence[Story]) -> list[Asked]:
    """Return every question with the statements before it."""
    return [Asked(story.before(question), question) for story in stories for question in story.questions]


def prepare(examples: Sequence[Asked]) -> Questions:
    """Make a data set of questions. Raises DataError without questions, or for an answer that is no known place."""
    if not examples:
        raise DataError("there are no questions")
    stories = np.zeros((len(examples), SENTENCES, LENGTH), np.int64)
    questions = np.zeros((len(examples), LENGTH), np.int64)
    for row, asked in enumerate(examples):
        questions[row] = _encode(asked.question.text)
        for age, statement in enumerate(reversed(asked.statements[-SENTENCES:])):
            stories[row, age] = _encode(statement.text)
    return Questions(stories, questions, np.array([_place(asked.question.answer) for asked in examples], np.int64))


def _encode(sentence: str) -> IntArray:
    numbers = [NUMBERS.get(word, UNKNOWN) for word in words_of(sentence)][:LENGTH]
    return np.pad(np.array(numbers, np.int64), (0, LENGTH - len(numbers)))


def _place(answer: str) -> int:
    if answer not in PLACES:
        raise DataError(f"the answer {answer!r} is not among those the model knows: {', '.join(PLACES)}")
    return PLACES.index(answer)


def read(path: Path) -> Reading:
    """Read the questions of a bAbI file, or of the training file in a folder. Raises DataError if there are none."""
    return Reading(_read(path / TRAIN_FILE if path.is_dir() else path))


def read_both(folder: Path) -> tuple[list[Asked], list[Asked]]:
    """Read the published training and test files."""
    if folder.is_file():
        raise DataError(f"{folder} is a file, not a folder with {TRAIN_FILE} and {TEST_FILE}")
    return _read(folder / TRAIN_FILE), _read(folder / TEST_FILE)


def _read(path: Path) -> list[Asked]:
    examples = examples_of(read_stories(path))
    if not examples:
        raise DataError(f"{path} holds no questions")
    return examples


def write(path: Path, examples: Sequence[Asked]) -> None:
    """Write a bAbI file with one story a question. Raises StorageError if that fails."""
    try:
        path.write_text(write_stories([_story(asked) for asked in examples]), encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _story(asked: Asked) -> Story:
    """Return number the lines anew: questions between the statements are left out."""
    numbers = {statement.number: number for number, statement in enumerate(asked.statements, start=1)}
    lines = [Statement(numbers[statement.number], statement.text) for statement in asked.statements]
    question = asked.question
    support = tuple(numbers[number] for number in question.support if number in numbers)
    return Story((*lines, Question(len(lines) + 1, question.text, question.answer, support)))


BABI = Task(
    name="babi",
    build=MemoryModel,
    loss=cross_entropy,
    correct=correct_classes,
    read=read,
    generate=lambda seed, number: examples_of(generated_stories(GENERATED_STORIES, [seed, number, 1])),
    generate_test=lambda seed, _clients: examples_of(generated_stories(GENERATED_STORIES, [seed, 0, 2])),
    prepare=prepare,
    local=LocalTraining(0.01, epochs=5, batch_size=16),
    clip=2.0,
    corpus=Corpus(read_both, write, label=lambda asked: asked.question.answer),
    text=lambda asked: " ".join([statement.text for statement in asked.statements] + [asked.question.text]),
)
