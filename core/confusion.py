"""The four counts of yes/no answers: what was called spam and was, what was called ham and was not, and so on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Confusion:
    """How many yes/no answers were right and wrong, by answer; the sum of parts is that of the whole.

    A share of nothing is 0: a filter that never says spam has precision 0.
    """

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    @property
    def examples(self) -> int:
        """Number of examples counted."""
        return self.positives + self.false_positives + self.true_negatives

    @property
    def correct(self) -> int:
        """Number of examples that were answered rightly."""
        return self.true_positives + self.true_negatives

    @property
    def positives(self) -> int:
        """How many examples are positive, whatever they were called."""
        return self.true_positives + self.false_negatives

    @property
    def precision(self) -> float:
        """How much of what was called positive is positive."""
        return _share(self.true_positives, self.true_positives + self.false_positives)

    @property
    def recall(self) -> float:
        """How much of what is positive was called so."""
        return _share(self.true_positives, self.positives)

    @property
    def false_alarm_rate(self) -> float:
        """How much of what is negative was called positive: of all ham, the part that a filter takes for spam."""
        return _share(self.false_positives, self.false_positives + self.true_negatives)

    @property
    def accuracy(self) -> float:
        """Share of the examples that were answered rightly; 0 without examples."""
        return _share(self.correct, self.examples)

    def __add__(self, other: Confusion) -> Confusion:
        return Confusion(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )


def four_counts(examples: int, correct: int, positives: int, true_positives: int) -> Confusion:
    """Return the counts that have these sums."""
    true_negatives = correct - true_positives
    false_positives = examples - positives - true_negatives
    return Confusion(true_positives, false_positives, positives - true_positives, true_negatives)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
