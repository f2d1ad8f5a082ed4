"""Reviews, stories and plays that the project makes up, for trying things with nothing downloaded.

They are labelled as made up wherever they are used: results on them say whether learning works, not how well it would
on real text. The same seed gives the same texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.data.babi import Question, Statement, Story
from core.data.characters import Speech
from core.data.reviews import Reviews
from core.errors import SettingsError

Seed = int | Sequence[int]

PRAISE = [
    "wonderful",
    "superb",
    "moving",
    "brilliant",
    "charming",
    "gripping",
    "witty",
    "delightful",
    "beautiful",
    "masterful",
    "touching",
    "fresh",
    "honest",
    "clever",
    "memorable",
    "stunning",
    "lovely",
    "perfect",
    "excellent",
    "fine",
]
BLAME = [
    "terrible",
    "boring",
    "awful",
    "clumsy",
    "dreadful",
    "predictable",
    "shallow",
    "tedious",
    "lifeless",
    "silly",
    "annoying",
    "stale",
    "dull",
    "wooden",
    "pointless",
    "messy",
    "horrible",
    "weak",
    "poor",
    "lame",
]
SUBJECTS = [
    "film",
    "plot",
    "story",
    "acting",
    "script",
    "music",
    "ending",
    "cast",
    "camera",
    "dialogue",
    "direction",
    "hero",
    "villain",
    "picture",
    "scene",
    "pace",
    "costumes",
    "sound",
    "humour",
    "romance",
]
ASIDES = """i saw it with my sister last week|it runs for two hours|the director made one film before|it is set in
a small town by the sea|the book came out years ago|half of the seats were taken|the lead actor plays a teacher|we
talked about it on the way home|it was shot in winter|there is a dog in it""".replace("\n", " ").split("|")
MIXED = 0.25  # how many sentences of a review say the opposite of its verdict
WRONG_LABELS = 0.02

# The words of bAbI task 1: people, ways to go, places.
PEOPLE = ("Daniel", "John", "Mary", "Sandra")
MOVES = ("went to", "went back to", "moved to", "journeyed to", "travelled to")
PLACES = ("bathroom", "bedroom", "garden", "hallway", "kitchen", "office")
QUESTIONS_PER_STORY = 5

SPEAKERS = [
    "FIRST CARTER",
    "SECOND CARTER",
    "NURSE",
    "FERRYMAN",
    "BARON",
    "MILLER",
    "WIDOW",
    "FOOL",
    "CAPTAIN",
    "ABBOT",
]
OPENINGS = [
    "good my lord",
    "come gentle friend",
    "nay hold",
    "speak softly",
    "by this light",
    "alas",
    "who goes there",
    "sweet heart",
]
VERBS = ["love", "fear", "know", "find", "keep", "break", "hear", "follow", "leave", "bring"]
NOUNS = [
    "crown",
    "river",
    "sword",
    "night",
    "grave",
    "morning",
    "child",
    "fortune",
    "garden",
    "storm",
    "king",
    "daughter",
]
ADJECTIVES = ["bitter", "golden", "silent", "broken", "gentle", "cruel", "faithful", "empty"]
CLOSINGS = [
    "and so farewell",
    "before the cock crows",
    "as i am true",
    "till death",
    "and say no more",
    "if heaven please",
]


def generated_reviews(count: int, seed: Seed) -> Reviews:
    """Make up film reviews, half of them positive; one in fifty has the wrong label, and most praise and blame both.

    Raises SettingsError unless there is at least one and the seed is not negative.
    """
    rng = _rng(count, seed)
    verdicts = rng.random(count) < 0.5
    texts = [_review(bool(positive), rng) for positive in verdicts]
    return Reviews(texts, verdicts ^ (rng.random(count) < WRONG_LABELS))


def _review(positive: bool, rng: np.random.Generator) -> str:
    sentences = []
    for _ in range(rng.integers(3, 9)):
        if rng.random() < 0.4:
            sentences.append(_pick(ASIDES, rng))
            continue
        words = PRAISE if positive ^ (rng.random() < MIXED) else BLAME
        sentences.append(f"the {_pick(SUBJECTS, rng)} is {_frequent(words, rng)} and {_frequent(words, rng)}")
    return " . ".join(sentences) + " . "


def generated_stories(count: int, seed: Seed) -> list[Story]:
    """Make up stories in the manner of bAbI task 1: ten moves of four people, a question after every second one.

    Raises SettingsError unless there is at least one and the seed is not negative.
    """
    rng = _rng(count, seed)
    return [_story(rng) for _ in range(count)]


def _story(rng: np.random.Generator) -> Story:
    lines: list[Statement | Question] = []
    where: dict[str, Statement] = {}
    for _ in range(QUESTIONS_PER_STORY):
        for _ in range(2):
            who = _pick(PEOPLE, rng)
            where[who] = Statement(len(lines) + 1, f"{who} {_pick(MOVES, rng)} the {_pick(PLACES, rng)}.")
            lines.append(where[who])
        asked = _pick(sorted(where), rng)
        place = where[asked].text.removesuffix(".").rsplit(" ", 1)[-1]
        lines.append(Question(len(lines) + 1, f"Where is {asked}?", place, (where[asked].number,)))
    return Story(tuple(lines))


def generated_speeches(count: int, seed: Seed, speakers: Sequence[str] = SPEAKERS) -> list[Speech]:
    """Make up speeches of a play. Every speaker has favourite words, so that speakers are not alike.

    Raises SettingsError unless there is at least one and the seed is not negative.
    """
    rng = _rng(count, seed)
    return [_speech(_pick(speakers, rng), rng) for _ in range(count)]


def _speech(speaker: str, rng: np.random.Generator) -> Speech:
    turn = sum(speaker.encode()) % len(NOUNS)
    nouns = NOUNS[turn:] + NOUNS[:turn]
    lines = []
    for _ in range(rng.integers(1, 5)):
        noun, other = _frequent(nouns, rng), _frequent(nouns, rng)
        line = f"{_pick(OPENINGS, rng)}, I {_pick(VERBS, rng)} the {_pick(ADJECTIVES, rng)} {noun} of the {other}"
        lines.append(f"{line.capitalize()} {_pick(CLOSINGS, rng)}.")
    return Speech(speaker, "\n".join(lines))


def _rng(count: int, seed: Seed) -> np.random.Generator:
    if count < 1:
        raise SettingsError(f"the number of made-up texts is {count}; it must be at least 1")
    if np.min(seed) < 0:
        raise SettingsError(f"the seed is {seed}; it must not be negative")
    return np.random.default_rng(seed)


def _pick(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def _frequent(words: Sequence[str], rng: np.random.Generator) -> str:
    """Pick the first words more often, as natural language does (Zipf)."""
    weights = 1 / np.arange(1, len(words) + 1)
    return words[rng.choice(len(words), p=weights / weights.sum())]
