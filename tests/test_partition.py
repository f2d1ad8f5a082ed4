"""Holding mails out and sharing them out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.data.mail import Mail
from core.data.partition import partition_dirichlet, partition_groups, partition_iid, split_held_out
from core.errors import DataError, SettingsError


def numbered(ham: int, spam: int) -> list[Mail]:
    return [Mail(f"mail {number}", number >= ham) for number in range(ham + spam)]


def test_every_mail_lands_on_one_side_and_about_a_fifth_is_held_out() -> None:
    mails = numbered(1000, 1000)
    train, held_out = split_held_out(mails)
    assert sorted(train + held_out, key=mails.index) == mails
    assert 350 < len(held_out) < 450  # 400 expected, standard deviation 18


def test_repeats_of_a_text_fall_on_one_side_in_all_mailboxes_whatever_their_spaces() -> None:
    for number in range(50):
        text = f"offer {number} for you"
        repeats = [Mail(text, True), Mail(f"  offer {number}\nfor  you ", True)]
        sides = [bool(split_held_out(mailbox)[0]) for mailbox in ([repeats[0]], [repeats[1]], repeats)]
        assert len(set(sides)) == 1
        assert len(split_held_out(repeats)[0]) in (0, 2)


def test_a_mail_keeps_its_side_when_others_come_and_go() -> None:
    mails = numbered(50, 50)
    assert split_held_out(mails)[1][:3] == split_held_out(mails[:60])[1][:3]


def test_another_seed_holds_out_other_mails_and_the_same_seed_the_same() -> None:
    mails = numbered(100, 0)
    assert split_held_out(mails, seed=1) == split_held_out(mails, seed=1)
    assert split_held_out(mails, seed=1) != split_held_out(mails, seed=2)


def test_the_fraction_is_the_share_that_is_held_out() -> None:
    assert 850 < len(split_held_out(numbered(1000, 0), 0.9)[1]) < 950


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.2, float("nan")])
def test_a_fraction_that_leaves_a_side_empty_is_refused(fraction: float) -> None:
    with pytest.raises(SettingsError, match="fraction is"):
        split_held_out(numbered(3, 3), fraction)


def test_iid_shares_are_as_large_as_each_other_or_one_more() -> None:
    assert [len(rows) for rows in partition_iid(31, 4, np.random.default_rng(0))] == [8, 8, 8, 7]


@given(
    st.integers(1, 12), st.lists(st.integers(0, 2), max_size=60), st.sampled_from([0.01, 0.5, 100.0]), st.integers(0, 9)
)
def test_every_example_is_shared_out_once_and_no_client_goes_without(
    clients: int, labels: list[int], alpha: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    found = []
    if len(labels) >= clients:
        found += [partition_iid(len(labels), clients, rng), partition_dirichlet(labels, clients, alpha, rng)]
    if len(set(labels)) >= clients:
        found.append(partition_groups(labels, clients))
    for parts in found:
        assert len(parts) == clients
        assert all(part and part == sorted(part) for part in parts)
        assert sorted(row for part in parts for row in part) == list(range(len(labels)))


def shares_of_the_second_label(alpha: float) -> list[float]:
    labels = [0] * 1000 + [1] * 1000
    parts = partition_dirichlet(labels, 5, alpha, np.random.default_rng(3))
    return [sum(labels[row] for row in rows) / len(rows) for rows in parts]


def test_a_small_alpha_makes_unlike_clients_and_a_large_one_makes_them_alike() -> None:
    unlike, alike = shares_of_the_second_label(0.1), shares_of_the_second_label(1e6)
    assert max(unlike) - min(unlike) > 0.8
    assert max(alike) - min(alike) < 0.02


def test_within_a_label_chance_decides_who_gets_what() -> None:
    first = partition_dirichlet([0] * 100, 2, 1e6, np.random.default_rng(0))[0]
    assert first != list(range(len(first)))


def test_a_label_goes_wholly_to_one_client_the_largest_first() -> None:
    assert partition_groups(list("abbcccab"), 2) == [[0, 1, 2, 6, 7], [3, 4, 5]]


def test_shares_depend_on_the_generator_only() -> None:
    for partition in (
        partition_iid,
        lambda count, *rest: partition_dirichlet([0, 1] * (count // 2), rest[0], 0.5, rest[1]),
    ):
        first, same, other = (partition(40, 3, np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first == same != other


def test_more_clients_than_examples_or_labels_is_a_data_error() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(DataError, match="2 examples are too few for 3 clients"):
        partition_iid(2, 3, rng)
    with pytest.raises(DataError, match="2 examples are too few for 3 clients"):
        partition_dirichlet([0, 1], 3, 0.5, rng)
    with pytest.raises(DataError, match="2 groups of examples are too few for 3 clients"):
        partition_groups([0, 1, 1, 1], 3)


def test_settings_that_cannot_work_are_named() -> None:
    rng = np.random.default_rng(0)
    for partition in (
        lambda: partition_iid(2, 0, rng),
        lambda: partition_dirichlet([0, 1], 0, 0.5, rng),
        lambda: partition_groups([0, 1], 0),
    ):
        with pytest.raises(SettingsError, match="the number of clients is 0"):
            partition()
    for alpha in (0.0, -1.0, float("inf")):
        with pytest.raises(SettingsError, match="alpha is"):
            partition_dirichlet([0, 1], 1, alpha, rng)
