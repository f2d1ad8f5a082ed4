"""Score one message with the spam model, and say which of its words weighed most. Everything happens here, locally."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.message import Mail, text_of_message
from core.data.text import distinct_words, stem, words
from core.errors import DataError
from core.parameters import from_vector
from core.tasks.spam import SPAM, VOCABULARY, SpamModel
from core.tensor import no_grad

STRONGEST = 5


@dataclass(frozen=True)
class Score:
    """What the model says of one message.

    Attributes:
        probability: of spam, 0 to 1.
        strongest: the words that weighed most and what each added to the logit; above 0 speaks for spam.
    """

    probability: float
    strongest: tuple[tuple[str, float], ...]

    @property
    def spam(self) -> bool:
        return self.probability > 0.5


def score_message(model: npt.NDArray[np.float64], content: bytes) -> Score:
    """Score a raw e-mail or plain text with the spam model, shape (values,).

    Raises DataError if it is not one text message, or has no words to go by.
    """
    if b"\0" in content:
        raise DataError("the message is not text")
    if content.startswith(b"From ") and (count := len(re.findall(rb"^From ", content, re.MULTILINE))) > 1:
        raise DataError(f"this is a mailbox of {count} messages; give one message")
    text = text_of_message(content)
    spelt = {stem(word): word for word in reversed(words(text))}
    stems = distinct_words(text)
    if not stems:
        raise DataError("the message has no words to go by")
    module = SpamModel(VOCABULARY.size, np.random.default_rng(0))
    from_vector(module, model)
    inputs, _ = SPAM.prepare([Mail(text, spam=False)]).batch(np.array([0]))
    with no_grad():
        logit = module(inputs).item()
    numbers = [VOCABULARY.index(word) for word in stems]
    weights = module.words.weight.numpy()[numbers, 0] / np.sqrt(len(set(numbers)))
    order = np.argsort(-np.abs(weights), kind="stable")[:STRONGEST]
    probability = float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))
    return Score(probability, tuple((spelt[stems[place]], float(weights[place])) for place in order))
