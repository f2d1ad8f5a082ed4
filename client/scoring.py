"""Score one message with the spam model, and say which of its words weighed most. Everything happens here, locally."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.mail import text_of_message
from core.data.mail.mbox import split_mbox, starts_as_mbox
from core.data.mail.transfer import without_byte_order_mark
from core.data.text import distinct_words, stem, words
from core.errors import DataError
from core.parameters import from_vector
from core.tasks.spam import VOCABULARY, SpamModel
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
    content = without_byte_order_mark(content)
    if b"\0" in content:
        raise DataError("the message is not text")
    if starts_as_mbox(content) and (count := sum(1 for _ in split_mbox(io.BytesIO(content)))) > 1:
        raise DataError(f"this is a mailbox of {count} messages; give one message")
    text = text_of_message(content)
    spelt = {stem(word): word for word in reversed(words(text))}
    stems = distinct_words(text)
    if not stems:
        raise DataError("the message has no words to go by")
    module = SpamModel(VOCABULARY.size, np.random.default_rng(0))
    from_vector(module, model)
    numbers = [VOCABULARY.index(word) for word in stems]
    with no_grad():
        logit = module((np.array(sorted(set(numbers))), np.array([0]))).item()
    weights = module.words.weight.numpy()[numbers, 0] / np.sqrt(len(set(numbers)))
    order = np.argsort(-np.abs(weights), kind="stable")[:STRONGEST]
    probability = float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))
    return Score(probability, tuple((spelt[stems[place]], float(weights[place])) for place in order))
