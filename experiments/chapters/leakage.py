"""What updates tell: the words of one mail, and how little of them is one client's in a sum (chapter 15)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from core.data.generated import generate_mailbox
from core.data.message import Mail
from core.data.text import distinct_words
from core.federated import FloatArray, client_update, initial_model
from core.tasks.spam import SPAM, VOCABULARY, prepare
from experiments.finding import Finding, exact, shown
from experiments.run import Run

SECRET = Mail("my computer password is pizza", spam=False)


def leakage(run: Run) -> Iterator[Finding]:
    yield from one_mail(run)
    yield from many_clients(run)
    yield from noisy_update(run)
    draw(run)


def update_of(run: Run, mails: Sequence[Mail], stream: int = 0) -> FloatArray:
    """Return the change that one client's training makes, shape (weights,): what it would send."""
    return client_update(SPAM, initial_model(SPAM, run.seed), prepare(mails), run.rng(5, stream)).delta


def said_by(mails: Sequence[Mail]) -> set[str]:
    return {word for mail in mails for word in distinct_words(mail.text)}


def guessed(update: FloatArray, candidates: Sequence[str]) -> set[str]:
    """Guess which words a client used: those whose weight moved."""
    return {word for word in candidates if update[VOCABULARY.index(word)]}


def dictionary(run: Run) -> list[str]:
    """Return words that whoever looks at an update may try: those of many made-up mailboxes, and the secret's."""
    mailboxes = (generate_mailbox(run.seed, owner, run.pick(100, 30)) for owner in range(1, 21))
    return sorted(set().union(*map(said_by, mailboxes)) | said_by([SECRET]))


def one_mail(run: Run) -> Iterator[Finding]:
    """What does the update of a client with a single mail say, if it is not encrypted?"""
    update, words = update_of(run, [SECRET]), dictionary(run)
    found = guessed(update, words)
    yield shown("words read off the update of one mail", " ".join(sorted(found)), book="pizza among them")
    right = len(found & said_by([SECRET])) / len(said_by([SECRET]))
    yield exact("share of the mail's words among them", right, 1.0)
    label = "ham" if update[VOCABULARY.index("pizza")] < 0 else "spam"
    yield shown("the mail's label, read off the sign", label, book="ham")


def many_clients(run: Run) -> Iterator[Finding]:
    """Of the words that show in the sum of n updates, how many are those of the first client?"""
    words = dictionary(run)
    mails = [generate_mailbox(run.seed, owner, 10) for owner in range(1, 101)]
    updates = [update_of(run, mailbox, number) for number, mailbox in enumerate(mails[: run.pick(100, 10)])]
    for clients in (1, 10, 100)[: run.pick(3, 2)]:
        seen = guessed(np.sum(updates[:clients], axis=0), words)
        own = len(seen & said_by(mails[0])) / len(seen)
        yield shown(f"sum of {clients} clients: share of the words seen that the first one used", own, ".0%")


def noisy_update(run: Run) -> Iterator[Finding]:
    """What does noise on a clipped update hide? Words guessed are those that moved most, as many as there are."""
    mails = generate_mailbox(run.seed, 1, 10)
    update, words = update_of(run, mails), dictionary(run)
    clip = 0.1
    clipped = update * min(1.0, clip / float(np.linalg.norm(update)))
    used = said_by(mails)
    for multiplier in (0.0, 0.01, 0.1, 1.0):
        noisy = clipped + run.rng(6).normal(0, multiplier * clip, len(update))
        likeliest = sorted(words, key=lambda word: -abs(noisy[VOCABULARY.index(word)]))[: len(used)]
        share = len(used & set(likeliest)) / len(used)
        yield shown(f"noise of {multiplier:g} times the clip norm: share of guessed words that are right", share, ".0%")
    yield shown("the same without looking at the update at all", len(used & set(words)) / len(words), ".0%")


def randomised_response(run: Run) -> Finding:
    """How can people answer truly in total, though no single answer can be held against anyone?

    Each throws a coin: heads, the truth; tails, another throw decides. If yes is true of 70 %, about 0.5 * 70 % + 25 %
    = 60 % say it, and from the share who do, the truth is got back as 2 * share - 1/2.
    """
    rng, people = run.rng(7), run.pick(100_000, 10_000)
    truth = rng.random(people) < 0.7
    says_yes = np.where(rng.random(people) < 0.5, truth, rng.random(people) < 0.5)
    share = float(says_yes.mean())
    what = f"coin-flip answers: {share:.1%} said yes, so yes is true of about"
    return shown(what, 2 * share - 0.5, ".1%", "60% mean about 70%")


def draw(run: Run) -> None:
    """Which words moved, client by client."""
    from core.pictures import update_heatmap

    mails = [generate_mailbox(run.seed, owner, 10) for owner in range(1, 6)]
    words = sorted(set().union(*map(said_by, mails)))
    columns = [VOCABULARY.index(word) for word in words]
    updates = np.stack([update_of(run, mailbox, number)[columns] for number, mailbox in enumerate(mails)])
    run.save("updates", update_heatmap(updates, words))
