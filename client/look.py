"""Look at a mailbox before training with it: what is in it, how it is labelled, and which words separate spam from ham.

Nothing here opens a connection or writes a file.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from math import log, sqrt

from core.data.mail import Mail, Opened, open_mailbox
from core.data.mail.kinds import NOTHING, Deleted, PassedOver
from core.data.mail.progress import Progress
from core.data.mail.reading import ONE_LABEL
from core.data.text import STEM_LETTERS, distinct_words

MOST_COUNTED = 200_000
"""Words that are counted at a time; beyond, those that were seen once are dropped."""
STRONGEST = 10
LEAST_WEIGHT = 0.1
LONGEST_SHOWN = 300


@dataclass
class WordCounts:
    """In how many mails of each class a word occurs."""

    spam: Counter[str] = field(default_factory=Counter)
    ham: Counter[str] = field(default_factory=Counter)

    def add(self, mail: Mail) -> None:
        """Count the words of a mail."""
        counts = self.spam if mail.spam else self.ham
        counts.update(distinct_words(mail.text))
        if len(counts) > MOST_COUNTED:
            for word in [word for word, count in counts.items() if count == 1]:
                del counts[word]

    def strongest(self, spam: int, ham: int) -> list[tuple[str, float]]:
        """Return the words that tell the classes apart best, and how well: above 0 for spam, below for ham.

        The measure is the log-odds ratio of a word (one half added to each count), divided by its standard error: a
        word must be frequent, and more so in one class, to weigh much.

        Args:
            spam: how many mails are spam.
            ham: how many are not.

        Returns:
            The best of each class, the best first.
        """
        if not spam or not ham:
            return []
        weights = {word: _weight(self.spam[word], spam, self.ham[word], ham) for word in {**self.spam, **self.ham}}
        ranked = sorted(weights.items(), key=lambda pair: (-abs(pair[1]), pair[0]))
        sides = ([pair for pair in ranked if sign * pair[1] > LEAST_WEIGHT][:STRONGEST] for sign in (1, -1))
        return [pair for side in sides for pair in side]


def _weight(in_spam: int, spam: int, in_ham: int, ham: int) -> float:
    counts = (in_spam + 0.5, spam - in_spam + 0.5, in_ham + 0.5, ham - in_ham + 0.5)
    return (log(counts[0] / counts[1]) - log(counts[2] / counts[3])) / sqrt(sum(1 / count for count in counts))


@dataclass
class Findings:
    """What is in a mailbox."""

    opened: Opened
    spam: int = 0
    ham: int = 0
    evidence: dict[str, Counter[str]] = field(default_factory=dict)
    words: WordCounts = field(default_factory=WordCounts)
    texts: list[Mail] = field(default_factory=list)

    @property
    def unlabelled(self) -> int:
        """How many mails nothing is said of; they count as ham."""
        return self.evidence.get(NOTHING, Counter()).total()

    def as_json(self) -> str:
        """Return everything as one JSON object."""
        opened = self.opened
        found: dict[str, object] = {
            "path": str(opened.path),
            "format": opened.format,
            "mails": self.spam + self.ham,
            "spam": self.spam,
            "ham": self.ham,
            "unlabelled": self.unlabelled,
            "deleted": opened.deleted,
            "skipped": opened.skipped,
            "first_skipped": opened.first_skipped,
            "passed_over": opened.passed_over,
            "evidence": {
                name: {"spam": counts["spam"], "ham": counts["ham"]} for name, counts in self.evidence.items()
            },
            "words": {word: round(weight, 2) for word, weight in self.words.strongest(self.spam, self.ham)},
        }
        if self.texts:
            found["texts"] = [{"spam": mail.spam, "text": mail.text} for mail in self.texts]
        return json.dumps(found, indent=2, allow_nan=False)

    def as_text(self) -> str:
        """Return everything in sentences."""
        opened = self.opened
        lines = [
            f"{opened.path}: {opened.format}",
            f"{_count(self.spam + self.ham, 'mail')}: {self.spam:,} spam, {self.ham:,} ham",
            *(f"  {counts['spam']:,} spam, {counts['ham']:,} ham by {name}" for name, counts in self.evidence.items()),
            *_left_out(opened),
            *self._weights(),
            *(f"{'spam' if mail.spam else 'ham'}: {_shortened(mail.text)}" for mail in self.texts),
            "nothing was sent: this command opens no connection",
        ]
        return "\n".join(lines)

    def _weights(self) -> list[str]:
        if not self.spam or not self.ham:
            missing = "spam" if not self.spam else "ham"
            return [f"there is no {missing} in it, and a mailbox to learn from needs both. {ONE_LABEL}"]
        words = self.words.strongest(self.spam, self.ham)
        spam, ham = ([_begun(word) for word, weight in words if (weight > 0) == side] for side in (True, False))
        return [
            "words that would weigh most:",
            f"  for spam: {' '.join(spam) or '(none)'}",
            f"  for ham: {' '.join(ham) or '(none)'}",
        ]


def _begun(stem: str) -> str:
    """Show that of a longer word only the first letters count."""
    return f"{stem}..." if len(stem) == STEM_LETTERS and stem.isalpha() else stem


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'s' * (number != 1)}"


def _left_out(opened: Opened) -> list[str]:
    lines = []
    if opened.deleted:
        lines.append(f"{_count(opened.deleted, 'deleted mail')} left out; the first: {opened.first[Deleted]}")
    if opened.skipped:
        lines.append(f"{_count(opened.skipped, 'mail')} skipped; the first: {opened.first_skipped}")
    if opened.passed_over:
        lines.append(f"{_count(opened.passed_over, 'file')} passed over; the first: {opened.first[PassedOver]}")
    return lines


def _shortened(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_SHOWN else f"{line[:LONGEST_SHOWN]} ..."


def look_at(path: str, spam_label: str | None = None, texts: int = 0, progress: Progress | None = None) -> Findings:
    """Read a mailbox, one mail at a time, and count.

    Args:
        texts: how many texts to keep to show, from the first on.

    Raises:
        DataError: it cannot be read.
    """
    found = Findings(open_mailbox(path, spam_label, progress or Progress(path)))
    for mail in found.opened:
        side = "spam" if mail.spam else "ham"
        found.spam += mail.spam
        found.ham += not mail.spam
        found.evidence.setdefault(mail.evidence, Counter())[side] += 1
        found.words.add(mail)
        if len(found.texts) < texts:
            found.texts.append(mail)
    return found
