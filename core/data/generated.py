"""Made-up mailboxes, so that everything can be tried with nothing downloaded. The same seed gives the same mails.

Owners are not alike. Each writes about topics of his own with people of his own, gets spam from campaigns of his own,
and more of it or less. A mail's words are drawn mostly from common words, with frequencies as in natural
language (Zipf), and a smaller part from its topic or campaign. No word decides: people write about prizes and
mortgages too, spam borrows the words of honest mail, short mails may say hardly anything, and one label in a hundred
is wrong. Accuracies on these mails say whether learning works, not how well it would do on real mail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import overload

import numpy as np
import numpy.typing as npt

from core.data.message import Mail
from core.data.text import HashingVocabulary, stem, words
from core.data.word_lists import CAMPAIGNS, COMMON, NEUTRAL, SIGNS, SYLLABLES, TOPICS
from core.errors import SettingsError

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]

TOPICS_EACH = 3
CAMPAIGNS_EACH = 4
PEOPLE_EACH = 60
WRONG_LABELS = 0.01
MEDIAN_WORDS = 45
HEADING = "Subject:"

# What a word of a mail is drawn from: common words, neutral ones, signs, the owner's people, the mail's own
# subject, any topic, any campaign. One row for ham, one for spam.
SHARES = {
    False: np.array((0.52, 0.11, 0.07, 0.08, 0.18, 0.02, 0.02)),
    True: np.array((0.50, 0.11, 0.09, 0.01, 0.24, 0.03, 0.02)),
}

# All word lists end to end; an owner's people follow them.
FIXED_LISTS = (COMMON, NEUTRAL, SIGNS, *TOPICS, *CAMPAIGNS)
FIXED_WORDS = [word for each in FIXED_LISTS for word in each]
FIRST_TOPIC = 3
FIRST_CAMPAIGN = FIRST_TOPIC + len(TOPICS)


@dataclass(frozen=True, eq=False)
class Owner:
    """What one owner's mail is about.

    Attributes:
        spam_share: how much of the mail is spam.
        words: every word that can occur, the owner's people last.
        order: places in `words`, one list after the other and in each the most frequent first: those of `FIXED_LISTS`,
            the people, the owner's topics, the owner's campaigns.
        starts: where each list starts in `order`.
        sizes: how many words each has.
    """

    spam_share: float
    words: list[str]
    order: IntArray
    starts: IntArray
    sizes: IntArray

    @property
    def people(self) -> int:
        """Which of the lists has the names of correspondents and places."""
        return len(FIXED_LISTS)


@dataclass(frozen=True, eq=False)
class DrawnMailbox(Sequence[Mail]):
    """One owner's mails as the words drawn for them; each is joined to a text when it is asked for.

    Attributes:
        owner: whose words these are.
        places: places in the owner's words, one mail after the other, shape (words of all mails,).
        offsets: where each mail starts in `places`, shape (mails,).
        spam: shape (mails,).
    """

    owner: Owner
    places: IntArray
    offsets: IntArray
    spam: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets)

    @overload
    def __getitem__(self, place: int) -> Mail: ...
    @overload
    def __getitem__(self, place: slice) -> list[Mail]: ...
    def __getitem__(self, place: int | slice) -> Mail | list[Mail]:
        """Return one mail, or some of them."""
        if isinstance(place, slice):
            return [self[row] for row in range(len(self))[place]]
        start = self.offsets[place]
        length = np.append(self.offsets, len(self.places))[range(len(self))[place] + 1] - start
        drawn = [self.owner.words[word] for word in self.places[start : start + length].tolist()]
        heading = max(2, len(drawn) // 8)
        text = f"{HEADING} {' '.join(drawn[:heading])}\n{' '.join(drawn[heading:])}"
        return Mail(text, bool(self.spam[place]))

    def numbers(self, vocabulary: HashingVocabulary) -> tuple[IntArray, IntArray]:
        """Return the numbers of all words of each mail's text, repeated ones too, and where each mail starts."""
        people = [vocabulary.index(stem(word)) for word in self.owner.words[len(FIXED_WORDS) :]]
        of_word = np.concatenate([_fixed_numbers(vocabulary), np.array(people, np.int64)])
        heading = [vocabulary.index(stem(word)) for word in words(HEADING)]
        before = np.repeat(self.offsets, len(heading))
        numbers = np.insert(of_word[self.places], before, heading * len(self))
        return numbers, self.offsets + len(heading) * np.arange(len(self))


@cache
def _fixed_numbers(vocabulary: HashingVocabulary) -> IntArray:
    return np.array([vocabulary.index(stem(word)) for word in FIXED_WORDS], np.int64)


def generate_mailbox(seed: int, owner: int, mails: int) -> list[Mail]:
    """Make one owner's mailbox. Owners are numbered from 1, as clients are; others have no part in it.

    Raises SettingsError unless there is at least 1 mail and neither seed nor owner is negative.
    """
    return draw_mailbox(seed, owner, mails)[:]


def draw_mailbox(seed: int, owner: int, mails: int) -> DrawnMailbox:
    """Make the same mails as `generate_mailbox`, without joining their words to texts. Raises what it raises."""
    _check(seed=seed, owner=owner)
    _check(1, mails=mails)
    return _mails(_owner(seed, owner), mails, np.random.default_rng([seed, owner, 1]))


def generate_test_mails(seed: int, owners: int, mails: int) -> list[Mail]:
    """Make mails to judge a model by: of owners 1 to `owners`, as many of each, apart from their mailboxes.

    Raises SettingsError unless there is at least 1 owner and 1 mail and the seed is not negative.
    """
    _check(seed=seed)
    _check(1, owners=owners, mails=mails)
    shares = [len(range(first, mails, owners)) for first in range(min(owners, mails))]
    return [
        mail
        for owner, share in enumerate(shares, start=1)
        for mail in _mails(_owner(seed, owner), share, np.random.default_rng([seed, owner, 2]))[:]
    ]


def _check(least: int = 0, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise SettingsError(f"{name} of generated mail is {number}; it must be at least {least}")


def _owner(seed: int, number: int) -> Owner:
    rng = np.random.default_rng([seed, number, 0])
    spam_share = rng.uniform(0.2, 0.75)
    own = [*_choose(FIRST_TOPIC, len(TOPICS), TOPICS_EACH, rng)]
    own += _choose(FIRST_CAMPAIGN, len(CAMPAIGNS), CAMPAIGNS_EACH, rng)
    people = [
        "".join(SYLLABLES[rng.integers(len(SYLLABLES))] for _ in range(rng.integers(2, 4))) for _ in range(PEOPLE_EACH)
    ]
    lists = [np.arange(len(FIXED_WORDS) + PEOPLE_EACH), *own]  # the fixed lists and the people are in order already
    sizes = np.array([*map(len, FIXED_LISTS), PEOPLE_EACH, *map(len, own)])
    return Owner(spam_share, FIXED_WORDS + people, np.concatenate(lists), np.cumsum(sizes) - sizes, sizes)


def _choose(first: int, lists: int, count: int, rng: np.random.Generator) -> Iterator[IntArray]:
    """Pick some of the fixed word lists from `first` on; in each, other words are frequent for other owners."""
    for row in rng.permutation(lists)[:count].tolist():
        start = sum(map(len, FIXED_LISTS[: first + row]))
        yield start + rng.permutation(len(FIXED_LISTS[first + row]))


def _mails(owner: Owner, count: int, rng: np.random.Generator) -> DrawnMailbox:
    spam = rng.random(count) < owner.spam_share
    lengths = np.clip(rng.lognormal(np.log(MEDIAN_WORDS), 0.8, count), 4, 400).astype(int)
    drawn = [_draw(label, length, rng) for label, length in zip(spam.tolist(), lengths.tolist(), strict=True)]
    labels = spam ^ (rng.random(count) < WRONG_LABELS)
    # What was drawn for all mails becomes words at once: seven small arrays a mail would take ten times longer.
    subjects, topics, campaigns, sources, chances, orders = zip(*drawn, strict=True)
    first = np.where(spam, owner.people + 1 + TOPICS_EACH, owner.people + 1)
    subject = first + _zipf(np.where(spam, CAMPAIGNS_EACH, TOPICS_EACH), np.array(subjects))
    used = np.empty((count, len(SHARES[True])), np.int64)
    used[:, :4] = (0, 1, 2, owner.people)
    used[:, 4], used[:, 5], used[:, 6] = subject, np.array(topics) + FIRST_TOPIC, np.array(campaigns) + FIRST_CAMPAIGN
    chosen = np.repeat(used.reshape(-1), np.concatenate(sources))
    words_drawn = owner.order[owner.starts[chosen] + _zipf(owner.sizes[chosen], np.concatenate(chances))]
    offsets = np.cumsum(lengths) - lengths
    return DrawnMailbox(owner, words_drawn[np.concatenate(orders) + np.repeat(offsets, lengths)], offsets, labels)


def _draw(spam: bool, length: int, rng: np.random.Generator) -> tuple[float, int, int, IntArray, FloatArray, IntArray]:
    """Draw a mail: its subject's chance, a topic, a campaign, words of each source, their chances, their order."""
    subject, topic, campaign = rng.random(), rng.integers(len(TOPICS)), rng.integers(len(CAMPAIGNS))
    sources = rng.multinomial(length, SHARES[spam])
    return subject, int(topic), int(campaign), sources, rng.random(length), rng.permutation(length)


def _zipf(sizes: IntArray, chances: FloatArray) -> IntArray:
    """Return places in lists, the n-th with a chance of about 1 / n: uniform on a logarithmic scale."""
    places: IntArray = ((sizes + 1) ** chances).astype(np.int64) - 1
    return places
