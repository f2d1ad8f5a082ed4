"""Labels read off the last bias: gradients by hand, and the study on a few clients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from book.run import Run
from core.federated import initial_model
from core.parameters import layout
from core.tasks.mnist import MNIST_MLP
from core.tasks.spam import SPAM
from experiments.attacks import labels
from experiments.studies import label_leakage
from experiments.studies._columns import means
from experiments.studies._label_data import Subject, digits, spam
from experiments.studies.label_leakage import ADAM, DESCENT, Setting

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("labels"), quick=True, say=lambda _line: None)


@pytest.fixture(scope="module")
def mail(run: Run) -> Subject:
    return spam(run)


def test_a_change_is_minus_rate_times_steps_times_the_mean_gradient() -> None:
    assert labels.mean_gradient(np.array([-0.5]), rate=0.1, steps=5) == pytest.approx([1.0])
    with pytest.raises(ValueError, match="0 steps at a rate of 0.1"):
        labels.mean_gradient(np.zeros(1), 0.1, 0)


def test_shares_follow_from_gradient_and_predictions() -> None:
    alike = np.full((2, 2), 0.5)  # an untrained model: every mail is half spam
    assert labels.shares_of_labels(np.array([-0.25, 0.25]), alike) == pytest.approx([0.75, 0.25])
    sure = np.array([[0.9, 0.1], [0.2, 0.8]])
    shares = np.array([0.25, 0.75])
    assert labels.shares_of_labels(shares @ sure - shares, sure) == pytest.approx(shares)


def test_of_one_example_the_label_is_the_only_negative_gradient() -> None:
    gradient = np.full(10, 0.1) - np.eye(10)[3]
    found = labels.shares_of_labels(gradient, np.full((10, 10), 0.1))
    assert labels.whole_counts(found, 1).tolist() == np.eye(10, dtype=int)[3].tolist()


@settings(max_examples=40)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=10), st.integers(1, 100))
def test_whole_counts_add_up_and_are_less_than_one_away(shares: list[float], examples: int) -> None:
    found = np.array(shares)
    counts = labels.whole_counts(found, examples)
    assert counts.sum() == examples
    assert counts.min() >= 0
    if found.sum() > 1e-9:
        assert np.abs(counts - found / found.sum() * examples).max() < 1 + 1e-6


def test_labels_are_right_as_a_multiset() -> None:
    assert labels.labels_right(np.array([3, 1, 0]), np.array([2, 1, 1])) == 0.75


def test_a_linear_rule_is_learned_and_applied() -> None:
    changes = np.array([[0.0], [1.0], [2.0]])
    learned = labels.fit(changes, np.column_stack([0.4 * changes[:, 0] + 0.1, 0.9 - 0.4 * changes[:, 0]]))
    assert labels.apply_fit(np.array([1.5]), learned) == pytest.approx([0.7, 0.3])
    assert labels.apply_fit(np.array([9.0]), learned) == pytest.approx([1.0, 0.0])  # no share is outside 0 to 1


@pytest.mark.parametrize(("task", "biases"), [(SPAM, 1), (MNIST_MLP, 10)])
def test_the_last_values_of_an_update_are_the_last_bias(task: object, biases: int) -> None:
    name, shape = layout(task.build(np.random.default_rng(0)))[-1]  # type: ignore[attr-defined]
    assert (name.rpartition(".")[2], shape) == ("bias", (biases,))


def test_clients_are_drawn_by_their_shares(mail: Subject) -> None:
    rows = mail.private.rows_of(np.array([0.0, 1.0]), 20, np.random.default_rng(1))
    assert mail.private.labels[rows].tolist() == [1] * 20
    assert "Mail" not in repr(mail.private)


def test_one_step_of_descent_gives_every_label_of_spam(run: Run, mail: Subject) -> None:
    model = initial_model(SPAM, run.seed)
    row = label_leakage.attack(run, mail, Setting(DESCENT, 8, 1), model, (0, 0))
    assert means([row], "bias") == means([row], "fitted") == means([row], "metric") == [1.0]
    assert means([row], "blind")[0] < 0.95
    assert row == label_leakage.attack(run, mail, Setting(DESCENT, 8, 1), model, (0, 0))


def test_one_step_of_adam_gives_less_and_still_more_than_a_blind_guess(run: Run, mail: Subject) -> None:
    row = label_leakage.attack(run, mail, Setting(ADAM, 16, 1), initial_model(SPAM, run.seed), (0, 1))
    assert means([row], "blind")[0] < means([row], "fitted")[0] < 1


def test_one_step_of_descent_gives_every_digit(run: Run) -> None:
    drawn = digits(run)
    row = label_leakage.attack(run, drawn, Setting(DESCENT, 8, 1), initial_model(MNIST_MLP, run.seed), (1, 0))
    assert means([row], "bias")[0] > 0.95
    assert means([row], "blind")[0] < 0.8
    assert "metric" not in row
