"""The curve that says how well scores tell two groups apart, on scores that can be counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.attacks.roc import auc, roc_curve, tpr_at_fpr


def test_the_area_is_the_share_of_pairs_in_the_right_order() -> None:
    assert auc([3, 1], [2, 0]) == 3 / 4  # of 3>2, 3>0, 1>2, 1>0 three hold


@pytest.mark.parametrize(("yes", "no", "area"), [([2, 2], [1, 1], 1.0), ([1, 1], [2, 2], 0.0), ([5, 5], [5, 5], 0.5)])
def test_perfect_reversed_and_tied_scores(yes: list[int], no: list[int], area: float) -> None:
    assert auc(yes, no) == area


def test_the_curve_goes_through_every_threshold() -> None:
    false, true = roc_curve([3, 1], [2, 0])
    assert false.tolist() == [0, 0, 0.5, 0.5, 1]
    assert true.tolist() == [0, 0.5, 0.5, 1, 1]


def test_few_false_alarms_allow_only_the_surest() -> None:
    others = np.arange(1000)
    members = np.array([1500, 999.5, 998.5, 0.5])  # above 0, 0, 1 and 999 of the others
    assert tpr_at_fpr(members, others, 0.0) == 0.5
    assert tpr_at_fpr(members, others, 0.001) == 0.75
    assert tpr_at_fpr(members, others, 1.0) == 1.0


@pytest.mark.parametrize("group", [[], [float("nan")]])
def test_what_cannot_be_judged_is_refused(group: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be judged"):
        auc(group, [1.0])
