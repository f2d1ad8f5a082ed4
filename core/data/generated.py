"""Made-up mailboxes, so that everything can be tried with nothing downloaded. The same seed gives the same mails.

Owners are not alike. Each writes about topics of his own with people of his own, gets spam from campaigns of his own,
and more of it or less. A mail's words are drawn mostly from what everybody uses, with frequencies as in natural
language (Zipf), and a smaller part from its topic or campaign. No word decides: people write about prizes and
mortgages too, spam borrows the words of honest mail, short mails may say hardly anything, and one label in a hundred
is wrong. Accuracies on these mails say whether learning works, not how well it would do on real mail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.data.message import Mail
from core.data.word_lists import CAMPAIGNS, COMMON, NEUTRAL, SIGNS, SYLLABLES, TOPICS
from core.errors import SettingsError

TOPICS_EACH = 3
CAMPAIGNS_EACH = 4
PEOPLE_EACH = 60
WRONG_LABELS = 0.01
MEDIAN_WORDS = 45

# What a word of a mail is drawn from: everybody's words, neutral ones, signs, the owner's people, the mail's own
# subject, any topic, any campaign. One row for ham, one for spam.
SOURCES = ("common", "neutral", "signs", "people", "subject", "topics", "campaigns")
SHARES = {
    False: (0.52, 0.11, 0.07, 0.08, 0.18, 0.02, 0.02),
    True: (0.50, 0.11, 0.09, 0.01, 0.24, 0.03, 0.02),
}


@dataclass(frozen=True)
class Owner:
    """What one owner's mail is about.

    Attributes:
        spam_share: how much of the mail is spam.
        topics: their word lists, the most frequent first.
        campaigns: likewise.
        people: names of correspondents and places.
    """

    spam_share: float
    topics: list[list[str]]
    campaigns: list[list[str]]
    people: list[str]


def generate_mailbox(seed: int, owner: int, mails: int) -> list[Mail]:
    """Make one owner's mailbox. Owners are numbered from 1, as clients are; others have no part in it.

    Raises SettingsError unless there is at least 1 mail and neither seed nor owner is negative.
    """
    _check(seed=seed, owner=owner)
    _check(1, mails=mails)
    return _mails(_owner(seed, owner), mails, np.random.default_rng([seed, owner, 1]))


def generate_test_mails(seed: int, owners: int, mails: int) -> list[Mail]:
    """Make mails to judge a model by: of owners 1 to `owners`, as many of each, apart from their mailboxes.

    Raises SettingsError unless there is at least 1 owner and 1 mail and the seed is not negative.
    """
    _check(seed=seed)
    _check(1, owners=owners, mails=mails)
    shares = [len(range(first, mails, owners)) for first in range(owners)]
    return [
        mail
        for owner, share in enumerate(shares, start=1)
        for mail in _mails(_owner(seed, owner), share, np.random.default_rng([seed, owner, 2]))
    ]


def _check(least: int = 0, **numbers: int) -> None:
    for name, number in numbers.items():
        if number < least:
            raise SettingsError(f"{name} of generated mail is {number}; it must be at least {least}")


def _owner(seed: int, number: int) -> Owner:
    rng = np.random.default_rng([seed, number, 0])
    return Owner(
        spam_share=rng.uniform(0.2, 0.75),
        topics=_choose(TOPICS, TOPICS_EACH, rng),
        campaigns=_choose(CAMPAIGNS, CAMPAIGNS_EACH, rng),
        people=["".join(rng.choice(SYLLABLES, rng.integers(2, 4))) for _ in range(PEOPLE_EACH)],
    )


def _choose(lists: Sequence[list[str]], count: int, rng: np.random.Generator) -> list[list[str]]:
    """Pick some of the word lists; in each, other words are frequent for other owners."""
    return [rng.permutation(lists[row]).tolist() for row in rng.permutation(len(lists))[:count]]


def _mails(owner: Owner, count: int, rng: np.random.Generator) -> list[Mail]:
    spam = rng.random(count) < owner.spam_share
    lengths = np.clip(rng.lognormal(np.log(MEDIAN_WORDS), 0.8, count), 4, 400).astype(int)
    texts = [_text(owner, label, length, rng) for label, length in zip(spam.tolist(), lengths.tolist(), strict=True)]
    labels = spam ^ (rng.random(count) < WRONG_LABELS)
    return [Mail(text, label) for text, label in zip(texts, labels.tolist(), strict=True)]


def _text(owner: Owner, spam: bool, length: int, rng: np.random.Generator) -> str:
    subjects = owner.campaigns if spam else owner.topics
    lists = {
        "common": COMMON,
        "neutral": NEUTRAL,
        "signs": SIGNS,
        "people": owner.people,
        "subject": subjects[_zipf(len(subjects), 1, rng)[0]],
        "topics": TOPICS[rng.integers(len(TOPICS))],
        "campaigns": CAMPAIGNS[rng.integers(len(CAMPAIGNS))],
    }
    sources = rng.multinomial(length, SHARES[spam])
    drawn = [
        lists[name][place]
        for name, times in zip(SOURCES, sources.tolist(), strict=True)
        for place in _zipf(len(lists[name]), times, rng)
    ]
    ordered = [drawn[place] for place in rng.permutation(length).tolist()]
    heading = max(2, length // 8)
    return f"Subject: {' '.join(ordered[:heading])}\n{' '.join(ordered[heading:])}"


def _zipf(size: int, times: int, rng: np.random.Generator) -> list[int]:
    """Draw places in a list, the n-th with a chance of about 1 / n: uniform on a logarithmic scale."""
    places: list[int] = (((size + 1) ** rng.random(times)).astype(np.int64) - 1).tolist()
    return places
