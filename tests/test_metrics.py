"""Metrics, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.confusion import four_counts
from core.metrics import Confusion, confusion, correct_answers, correct_classes, perplexity


def test_the_largest_logit_is_the_answer():
    logits = np.array([[1.0, 3.0], [2.0, 0.0], [5.0, 6.0]])
    assert correct_classes(logits, np.array([1, 1, 1])) == 2
    assert correct_classes(logits[None], np.array([[1, 0, 0]])) == 2


def test_a_positive_logit_means_yes():
    assert correct_answers(np.array([2.0, -2.0, 0.0, 0.1, -1.0]), np.array([1, 1, 0, 0, 0])) == 3


@pytest.mark.parametrize("count", [correct_answers, confusion])
def test_answers_and_targets_of_different_shapes_are_not_broadcast(count):
    with pytest.raises(ValueError, match=r"\(3, 1\) do not fit targets of shape \(3,\)"):
        count(np.zeros((3, 1)), np.zeros(3))


def test_perplexity_counts_equally_likely_choices():
    assert perplexity(np.log(62)) == pytest.approx(62)


def test_precision_and_recall():
    """Five mails called spam, four of them rightly; two spam mails missed."""
    counts = Confusion(true_positives=4, false_positives=1, false_negatives=2, true_negatives=3)
    assert (counts.precision, counts.recall, counts.accuracy) == pytest.approx((4 / 5, 4 / 6, 7 / 10))
    assert counts.false_alarm_rate == pytest.approx(1 / 4)


def test_sums_give_the_four_counts_back():
    counts = Confusion(true_positives=4, false_positives=1, false_negatives=2, true_negatives=3)
    assert four_counts(counts.examples, counts.correct, counts.positives, counts.true_positives) == counts


def test_confusion_counts_each_kind():
    logits, targets = np.array([1.0, 1, 1, -1, -1, -1, -1]), np.array([1, 1, 0, 1, 0, 0, 0])
    assert confusion(logits, targets) == Confusion(2, 1, 1, 3)


def test_counts_of_each_kind_add_up():
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)


def test_a_share_of_nothing_is_zero():
    nothing = confusion(np.zeros(0), np.zeros(0))
    assert (nothing.precision, nothing.recall, nothing.accuracy, nothing.false_alarm_rate) == (0, 0, 0, 0)
