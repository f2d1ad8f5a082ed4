"""Mail for attacks: clients with small mailboxes to be attacked, and other mail that the attacker may know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from book.chapters.chapter_15 import ENRON
from book.run import Run
from core.data.generated import generate_mailbox
from core.data.message import Mail
from core.data.partition import split_held_out
from core.data.text import Bags, distinct_words
from core.errors import DataError, SettingsError
from core.tasks.spam import VOCABULARY, prepare, read
from experiments.arrays import IntArray
from experiments.attacks.words import PublicWords, public_words

STEP = 0.05
"""Learning rate of clients under attack. They train with plain Adam, whose first step moves every word equally far."""
PUBLIC_SHARE = 0.3
FIRST_PUBLIC_OWNER = 10_001


@dataclass(frozen=True, repr=False)  # mail does not belong in a traceback
class Mailroom:
    """Mail of several owners, and what the attacker knows beforehand.

    Attributes:
        mails: all that clients may hold.
        bags: the same as the model sees them.
        owners: whose each of them is, shape (mails,).
        public: other mail of the same kind, which the attacker has.
        public_bags: the same as the model sees it.
        words: how frequent words are in it.
    """

    mails: Sequence[Mail]
    bags: Bags
    owners: IntArray
    public: Sequence[Mail]
    public_bags: Bags
    words: PublicWords

    def most_clients(self, mails_each: int) -> int:
        """Return how many clients with this many mails of one owner each there can be."""
        return int((np.bincount(self.owners) // mails_each).sum())

    def deal(self, clients: int, mails_each: int, rng: np.random.Generator) -> list[IntArray]:
        """Deal mail out at random: the places of each client's mails, all of one owner.

        Raises:
            SettingsError: fewer than one client or mail, or more clients than there is mail for.
        """
        if clients < 1 or mails_each < 1:
            raise SettingsError(f"{clients} clients of {mails_each} mails cannot be dealt; both must be at least 1")
        shares: list[IntArray] = []
        for owner in range(int(self.owners.max()) + 1):
            own = rng.permutation(np.flatnonzero(self.owners == owner))
            whole = len(own) // mails_each
            shares.extend(np.split(own[: whole * mails_each], whole) if whole else [])
        if len(shares) < clients:
            raise SettingsError(
                f"{clients} clients of {mails_each} mails are asked for; there is mail for {len(shares)} such clients"
            )
        return [shares[place] for place in rng.permutation(len(shares))[:clients]]

    def shadows(self, clients: int, mails_each: int, rng: np.random.Generator) -> list[Bags]:
        """Make the attacker's clients from public mail. Raises SettingsError if there is too little of it."""
        if clients * mails_each > len(self.public):
            raise SettingsError(
                f"{clients} clients of {mails_each} mails are asked for; there are {len(self.public)} public mails"
            )
        rows = rng.permutation(len(self.public))[: clients * mails_each]
        return [some_of(self.public_bags, each) for each in np.split(rows, clients)]

    def data_of(self, rows: IntArray) -> Bags:
        """Return a client's mails as a dataset."""
        return some_of(self.bags, rows)

    def numbers_of(self, rows: IntArray) -> set[int]:
        """Return the numbers of all words that a client's mails use."""
        return set(self.data_of(rows).indices.tolist())

    def words_said(self, rows: IntArray) -> set[str]:
        """Return the words that a client's mails use, as the model cuts them."""
        return {word for row in rows for word in distinct_words(self.mails[row].text)}


def some_of(bags: Bags, rows: IntArray) -> Bags:
    """Return the bags of these rows as a dataset."""
    (indices, offsets), labels = bags.batch(rows)
    return Bags(indices, offsets, labels)


def open_mailroom(run: Run, owners: int = 40, mails_each: int = 300) -> Mailroom:
    """Read the four Enron mailboxes of `run.data`, or make up mailboxes of `owners` owners.

    Raises DataError if the files are not there.
    """
    boxes, public = _enron(run) if run.data is not None else _made_up(run, owners, mails_each)
    mails = [mail for box in boxes for mail in box]
    owner_of = np.repeat(np.arange(len(boxes)), [len(box) for box in boxes])
    words = public_words([distinct_words(mail.text) for mail in public], VOCABULARY)
    return Mailroom(mails, prepare(mails), owner_of, public, prepare(public), words)


def _enron(run: Run) -> tuple[list[list[Mail]], list[Mail]]:
    """Split off three tenths of the texts as public, by their digests, so that no client's mail is among them."""
    folder = run.data
    found = [folder / name for name in ENRON if (folder / name).exists()] if folder is not None else []
    if not found:
        raise DataError(
            f"{folder} holds none of {', '.join(ENRON)}: folders of the Enron-Spam collection, "
            "written as lines label<TAB>text and packed by gzip"
        )
    run.say(f"mail is Enron-Spam: {', '.join(path.name for path in found)}")
    parts = [split_held_out(read(path).examples, PUBLIC_SHARE, run.seed) for path in found]
    return [private for private, _ in parts], [mail for _, public in parts for mail in public]


def _made_up(run: Run, owners: int, mails_each: int) -> tuple[list[list[Mail]], list[Mail]]:
    run.say("mail is made up by the project")
    boxes = [generate_mailbox(run.seed, owner, mails_each) for owner in range(1, owners + 1)]
    others = range(FIRST_PUBLIC_OWNER, FIRST_PUBLIC_OWNER + owners)
    return boxes, [mail for owner in others for mail in generate_mailbox(run.seed, owner, mails_each // 2)]
