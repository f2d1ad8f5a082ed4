"""Made-up mailboxes: reproducible, unlike each other, and neither too hard nor too easy."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from core.data.generated import draw_mailbox, generate_mailbox, generate_test_mails
from core.data.mail import Mail
from core.data.text import HashingVocabulary, make_bags, words
from core.errors import SettingsError
from core.tasks.spam import SPAM, prepare
from core.tasks.spam_pairs import SPAM_PAIRS


def text_of(mails: list[Mail], spam: bool) -> Counter[str]:
    return Counter(word for mail in mails if mail.spam == spam for word in words(mail.text))


def test_the_same_seed_and_owner_give_the_same_mailbox_and_others_do_not() -> None:
    assert generate_mailbox(1, 2, 50) == generate_mailbox(1, 2, 50)
    assert generate_mailbox(1, 2, 50) != generate_mailbox(1, 3, 50)
    assert generate_mailbox(1, 2, 50) != generate_mailbox(2, 2, 50)
    assert len(generate_mailbox(1, 2, 50)) == 50


def test_test_mails_come_from_all_owners_and_from_no_mailbox() -> None:
    test = generate_test_mails(seed=1, owners=3, mails=100)
    assert len(test) == 100
    mailboxes = [generate_mailbox(1, owner, 300) for owner in (1, 2, 3)]
    names = [set(text_of(mails, False)) for mails in mailboxes]
    for own, others in zip(names, (names[1] | names[2], names[0] | names[2], names[0] | names[1]), strict=True):
        assert any(word in own - others for mail in test for word in words(mail.text))
    assert not set(test) & {mail for mails in mailboxes for mail in mails}
    assert not set(generate_test_mails(1, 1, 50)) & set(generate_mailbox(1, 1, 50))


def test_owners_differ_in_their_share_of_spam_and_in_their_words() -> None:
    mailboxes = [generate_mailbox(0, owner, 500) for owner in range(1, 6)]
    shares = [sum(mail.spam for mail in mails) / len(mails) for mails in mailboxes]
    assert max(shares) - min(shares) > 0.2
    for spam in (False, True):
        first, second = (text_of(mails, spam) for mails in mailboxes[:2])
        assert len(set(first) ^ set(second)) > 50


def test_frequencies_fall_like_those_of_language() -> None:
    """The n-th most frequent word comes about 1/n times as often as the first: the first ten are a third of all."""
    counts = text_of(generate_mailbox(0, 1, 1000), False)
    assert 0.25 < sum(count for _, count in counts.most_common(10)) / counts.total() < 0.5


def test_mails_have_a_subject_and_lengths_as_unlike_as_real_ones() -> None:
    mails = generate_mailbox(0, 1, 300)
    assert all(mail.text.startswith("Subject: ") for mail in mails)
    lengths = [len(words(mail.text)) for mail in mails]
    assert min(lengths) < 20
    assert max(lengths) > 150


def test_no_single_word_tells_spam_from_ham() -> None:
    mails = generate_test_mails(0, 5, 1000)
    spam = np.array([mail.spam for mail in mails])
    contents = [set(words(mail.text)) for mail in mails]
    majority = max(spam.mean(), 1 - spam.mean())
    for word in set().union(*contents):
        has = np.array([word in content for content in contents])
        right = (has == spam).mean()
        assert max(right, 1 - right) < majority + 0.12


@pytest.mark.parametrize(("seed", "owner", "mails"), [(-1, 1, 1), (0, -1, 1), (0, 1, 0)])
def test_settings_that_cannot_work_are_refused(seed: int, owner: int, mails: int) -> None:
    with pytest.raises(SettingsError, match="it must be at least"):
        generate_mailbox(seed, owner, mails)


def test_test_mails_without_owners_are_refused() -> None:
    with pytest.raises(SettingsError, match="owners of generated mail is 0"):
        generate_test_mails(0, 0, 10)


def digest_of(mails: list[Mail]) -> str:
    return hashlib.sha256("\0".join(f"{int(mail.spam)}{mail.text}" for mail in mails).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("seed", "owner", "mails", "digest"),
    [(0, 1, 300, "fe27d34147b6a69f"), (7, 1_000_000, 300, "83111aeaaebd4037"), (3, 12, 1, "fe49a55ae3e2e7b4")],
)
def test_mailboxes_are_those_of_every_version(seed: int, owner: int, mails: int, digest: str) -> None:
    assert digest_of(generate_mailbox(seed, owner, mails)) == digest


def test_test_mails_are_those_of_every_version() -> None:
    assert digest_of(generate_test_mails(1, 3, 7)) == "6483613f88c23cc3"


@pytest.mark.parametrize("size", [50, 8192])
def test_bags_of_drawn_words_are_those_of_the_texts(size: int) -> None:
    vocabulary = HashingVocabulary(size)
    for owner in range(1, 8):
        drawn = draw_mailbox(4, owner, 150)
        bags, read = prepare(drawn, vocabulary), prepare(list(drawn), vocabulary)
        made = make_bags([mail.text for mail in drawn], [mail.spam for mail in drawn], vocabulary)
        assert len(bags) == len(drawn) == 150
        for other in (read, made):
            assert np.array_equal(bags.indices, other.indices)
            assert np.array_equal(bags.offsets, other.offsets)
            assert np.array_equal(bags.labels, other.labels)
        assert bags.indices.dtype == read.indices.dtype


def test_pairs_of_words_are_taken_from_the_texts() -> None:
    drawn = draw_mailbox(4, 2, 20)
    bags, read = SPAM_PAIRS.prepare(drawn), SPAM_PAIRS.prepare(list(drawn))
    assert np.array_equal(bags.batch(np.arange(20))[0][0], read.batch(np.arange(20))[0][0])
    assert len(SPAM_PAIRS.prepare(drawn).batch(np.arange(20))[0][0]) > len(
        SPAM.prepare(drawn).batch(np.arange(20))[0][0]
    )


def test_a_drawn_mailbox_is_a_sequence_of_mails() -> None:
    drawn, mails = draw_mailbox(4, 2, 20), generate_mailbox(4, 2, 20)
    assert list(drawn) == mails
    assert drawn[-1] == mails[-1]
    assert drawn[3:15:4] == mails[3:15:4]
    with pytest.raises(IndexError):
        drawn[20]
