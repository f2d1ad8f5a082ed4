"""Score one message with the spam model, and say which of its words weighed most. Everything happens here, locally."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.mail import text_of_message
from core.data.mail.mbox import split_mbox, starts_as_mbox
from core.data.mail.transfer import without_byte_order_mark
from core.data.text import Terms, Vocabulary, distinct_words, stem, words, words_and_pairs
from core.errors import DataError
from core.parameters import from_vector
from core.tasks import spam, spam_pairs
from core.tasks.spam import SPAM, SpamModel
from core.tasks.spam_pairs import SPAM_PAIRS
from core.tasks.task import Task
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


@dataclass(frozen=True)
class Filter:
    """A kind of spam filter that can score: a task, and what it gives weights to."""

    task: Task
    vocabulary: Vocabulary
    terms: Terms


FILTERS = {
    SPAM.name: Filter(SPAM, spam.VOCABULARY, distinct_words),
    SPAM_PAIRS.name: Filter(SPAM_PAIRS, spam_pairs.VOCABULARY, words_and_pairs),
}


def score_message(model: npt.NDArray[np.float64], content: bytes, kind: Filter = FILTERS[SPAM.name]) -> Score:
    """Score a raw e-mail or plain text with a spam model, shape (values,).

    Raises DataError if it is not one text message, or has no words to go by.
    """
    text = _one_text(without_byte_order_mark(content))
    terms = kind.terms(text)
    if not terms:
        raise DataError("the message has no words to go by")
    module = SpamModel(kind.vocabulary.size, np.random.default_rng(0))
    from_vector(module, model)
    numbers = [kind.vocabulary.index(term) for term in terms]
    with no_grad():
        logit = module((np.array(sorted(set(numbers))), np.array([0]))).item()
    weights = module.words.weight.numpy()[numbers, 0] / np.sqrt(len(set(numbers)))
    order = np.argsort(-np.abs(weights), kind="stable")[:STRONGEST]
    probability = float(1 / (1 + np.exp(-np.clip(logit, -700, 700))))
    spelt = {stem(word): word for word in reversed(words(text))}
    spellings = [" ".join(spelt[part] for part in terms[place].split(" ")) for place in order]
    return Score(probability, tuple(zip(spellings, weights[order].tolist(), strict=True)))


def _one_text(content: bytes) -> str:
    if b"\0" in content:
        raise DataError("the message is not text")
    if starts_as_mbox(content) and (count := sum(1 for _ in split_mbox(io.BytesIO(content)))) > 1:
        raise DataError(f"this is a mailbox of {count} messages; give one message")
    return text_of_message(content)
