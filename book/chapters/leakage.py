"""What updates leak: words, counts and label of one mail; and how little of a sum is one client's (chapter 15)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from book.data.vocabulary import bag_of_words
from book.finding import Finding, at_least, exact, shown
from book.run import Run
from core.data.generated import generate_mailbox
from core.data.message import Mail
from core.data.text import IntArray, distinct_words, stem, words
from core.federated import FloatArray, client_update, encoding_for, initial_model
from core.losses import binary_cross_entropy_with_logits
from core.nn import Linear
from core.optim import SGD
from core.parameters import to_vector
from core.privacy.randomised_response import estimate, respond
from core.tasks.spam import SPAM, VOCABULARY, prepare

SECRET = Mail("my computer password is pizza", spam=False)
CLIP = 0.1  # the longest an update may be before noise is added
PLAINTEXT_BITS = 2047  # of a Paillier key of 2,048 bits


def leakage(run: Run) -> Iterator[Finding]:
    yield from one_mail(run)
    yield from counts_of_one_mail(run)
    yield from two_clients(run)
    yield from many_clients(run)
    yield from noisy_update(run)
    draw(run)


def update_of(run: Run, mails: Sequence[Mail], stream: int = 0) -> FloatArray:
    """Return the change that one client's training makes, shape (weights,): what it would send."""
    return client_update(SPAM, initial_model(SPAM, run.seed), prepare(mails), run.rng(5, stream)).delta


def said_by(mails: Sequence[Mail]) -> set[str]:
    return {word for mail in mails for word in distinct_words(mail.text)}


def guessed(update: FloatArray | IntArray, candidates: Sequence[str]) -> set[str]:
    """Guess which words a client used: those whose weight moved."""
    return {word for word in candidates if update[VOCABULARY.index(word)]}


def dictionary(run: Run, *more: Mail) -> list[str]:
    """Return the words to try on an update: those of many made-up mailboxes, the secret's, and more."""
    mailboxes = (generate_mailbox(run.seed, owner, run.pick(100, 30)) for owner in range(1, 21))
    return sorted(set().union(*map(said_by, mailboxes)) | said_by([SECRET, *more]))


def one_mail(run: Run) -> Iterator[Finding]:
    """What does the update of a client with a single mail say, if it is not encrypted?"""
    update, known = update_of(run, [SECRET]), dictionary(run)
    found = guessed(update, known)
    yield shown("words read off the update of one mail", " ".join(sorted(found)), book="pizza among them")
    right = len(found & said_by([SECRET])) / len(said_by([SECRET]))
    yield exact("share of the mail's words among them", right, 1.0)
    yield shown("the mail's label, read off the sign", label_of(update, "pizza"), book="ham")


def label_of(update: FloatArray, word: str) -> str:
    """Read the label of a client's one mail off the sign of a word in it: spam makes its words count for spam."""
    return "spam" if update[VOCABULARY.index(word)] > 0 else "ham"


def counts_of_one_mail(run: Run) -> Iterator[Finding]:
    """If the inputs say how often each word occurs, does the update reveal that too?"""
    mail = Mail("pizza pizza pizza! call me, and call again: the pizza is getting cold", spam=False)
    counts = counts_read_off(step_on_counts(mail, run.rng(8)))
    true = Counter(map(stem, words(mail.text)))
    found = {
        word: int(counts[VOCABULARY.index(word)]) for word in dictionary(run, mail) if counts[VOCABULARY.index(word)]
    }
    right = sum(found.get(word) == times for word, times in true.items()) / len(true)
    written = " ".join(f"{word} {times}" for word, times in sorted(found.items(), key=lambda entry: -entry[1]))
    yield shown("a model of word counts: counts read off one update", written)
    yield exact("share of the mail's words whose count is right", right, 1.0)


def step_on_counts(mail: Mail, rng: np.random.Generator) -> FloatArray:
    """Return the change that one step on one mail makes to logistic regression on word counts.

    Returns:
        The weights' changes and, last, the bias's, shape (words + 1,).
    """
    model = Linear(VOCABULARY.size, 1, rng=rng)
    before = to_vector(model)
    counts = bag_of_words([VOCABULARY.index(stem(word)) for word in words(mail.text)], VOCABULARY.size, counts=True)
    optimiser = SGD(model.parameters(), 0.05)
    binary_cross_entropy_with_logits(model(counts[None])[:, 0], np.array([float(mail.spam)])).backward()
    optimiser.step()
    return to_vector(model) - before


def counts_read_off(update: FloatArray) -> IntArray:
    """Read how often each word occurs off the update of `step_on_counts`, shape (words,).

    Each weight moves by rate * error * count and the bias by rate * error, so that their ratio is the count: neither
    the rate nor the weights need be known.
    """
    counts: IntArray = np.rint(update[:-1] / update[-1]).astype(np.int64)
    return counts


def two_clients(run: Run) -> Iterator[Finding]:
    """What does the sum of only two updates hide? Few of the words, and from the other client nothing at all.

    The updates are added as secure aggregation adds them: as integers, of which only the sum is ever opened. A word
    stays hidden where ham and spam with it push its weight as far down as up.
    """
    mine, other = generate_mailbox(run.seed, 1, 10), generate_mailbox(run.seed, 2, 10)
    updates = [update_of(run, mailbox, number) for number, mailbox in enumerate((mine, other))]
    encoding = encoding_for(SPAM, len(updates[0]), PLAINTEXT_BITS, len(updates))
    integers = [encoding.quantise(update) for update in updates]
    total, known = integers[0] + integers[1], dictionary(run, *mine, *other)
    used = said_by([*mine, *other])
    yield at_least(
        "sum of 2 clients: share of their words that show",
        share(used, guessed(total, known)),
        0.6,
        ".0%",
        anywhere=True,
    )
    left = guessed(total - integers[0], known)
    shows = share(said_by(other), left)
    yield at_least("less the first client's: share of the second's words that show", shows, 0.95, ".0%", anywhere=True)
    yield shown("  share of the words that show that are the second's", share(left, said_by(other)), ".0%")


def share(part: set[str], whole: set[str]) -> float:
    """Return how much of `part` is in `whole`."""
    return len(part & whole) / len(part)


def many_clients(run: Run) -> Iterator[Finding]:
    """Of the words that show in the sum of n updates, how many are those of the first client?"""
    known = dictionary(run)
    mails = [generate_mailbox(run.seed, owner, 10) for owner in range(1, 101)]
    updates = [update_of(run, mailbox, number) for number, mailbox in enumerate(mails[: run.pick(100, 10)])]
    for clients in (1, 10, 100)[: run.pick(3, 2)]:
        seen = guessed(np.sum(updates[:clients], axis=0), known)
        own = len(seen & said_by(mails[0])) / len(seen)
        whose = "one client: share" if clients == 1 else f"the sum of {clients} clients: share"
        yield shown(f"{whose} of the words seen that the first one used (some share a number)", own, ".0%")


def noisy_update(run: Run) -> Iterator[Finding]:
    """What does noise on a clipped update hide? Words guessed are those that moved most, as many as there are."""
    mails = generate_mailbox(run.seed, 1, 10)
    update, known = update_of(run, mails), dictionary(run)
    used = said_by(mails)
    for multiplier in (0.0, 0.01, 0.1, 1.0):
        noisy = clip_and_blur(update, CLIP, multiplier, run.rng(6))
        likeliest = sorted(known, key=lambda word: -abs(noisy[VOCABULARY.index(word)]))[: len(used)]
        right = share(set(likeliest), used)
        yield shown(f"noise of {multiplier:g} times the clip norm: share of guessed words that are right", right, ".0%")
    yield shown("the same without looking at the update at all", share(set(known), used), ".0%")


def clip_and_blur(update: FloatArray, clip: float, multiplier: float, rng: np.random.Generator) -> FloatArray:
    """Shorten an update to the length `clip` if it is longer; then add noise of `multiplier` times it to each value."""
    clipped = update * min(1.0, clip / float(np.linalg.norm(update)))
    return clipped + rng.normal(0, multiplier * clip, len(update))


def randomised_response(run: Run) -> Finding:
    """How can people answer truly in total, though no single answer can be held against anyone?

    Each throws a coin: heads, the truth; tails, another throw decides. If yes is true of 70 %, about 0.5 * 70 % + 25 %
    = 60 % say it, and from the share who do, the truth is got back as 2 * share - 1/2.
    """
    rng, people = run.rng(7), run.pick(100_000, 10_000)
    truth = rng.random(people) < 0.7
    found = estimate(respond(truth, rng))
    what = f"coin-flip answers: {found.said_yes:.1%} said yes, so yes is true of about"
    return shown(what, found.share, ".1%", "60% mean about 70%")


def draw(run: Run) -> None:
    """Draw which words moved, client by client."""
    from book.pictures import update_heatmap

    mails = [generate_mailbox(run.seed, owner, 10) for owner in range(1, 6)]
    used = sorted(set().union(*map(said_by, mails)))
    columns = [VOCABULARY.index(word) for word in used]
    updates = np.stack([update_of(run, mailbox, number)[columns] for number, mailbox in enumerate(mails)])
    run.save("updates", update_heatmap(updates, used))
