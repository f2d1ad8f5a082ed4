"""Membership: the scores on numbers known beforehand, shadow networks compared with the product's, and the study's order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.data.drawn import drawn_digits
from core.data.mnist import Images
from core.errors import SettingsError
from core.federated import client_update, initial_model
from core.optim import SGD
from core.tasks.mnist import MNIST_MLP
from core.tasks.task import LocalTraining
from core.training import minibatches
from experiments.attacks.membership import Shadows, by_loss, confidence
from experiments.attacks.shadow_networks import Networks
from experiments.studies import membership
from experiments.studies.membership import STUDY, Setup, Size, federations, random_halves
from experiments.study import write_files

pytestmark = pytest.mark.slow

# --- The attacks ---


def test_confidence_is_the_log_of_odds() -> None:
    logits = np.log([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])
    assert confidence(logits, np.array([0, 1])) == pytest.approx([0, np.log(4)])
    assert confidence(logits[None] + 700, np.array([0, 1])) == pytest.approx(np.array([[0, np.log(4)]]))


def test_the_score_by_loss_is_minus_the_loss() -> None:
    assert by_loss(np.log([1.0, 3.0])) == pytest.approx(np.log([0.5, 0.75]))


@pytest.fixture
def shadows() -> Shadows:
    # Without the example models are 0 or 2 sure of it, with it 4 or 6.
    return Shadows(np.array([[0.0], [2.0], [4.0], [6.0]]), np.array([[False], [False], [True], [True]]))


def test_half_way_between_in_and_out_nothing_can_be_told(shadows: Shadows) -> None:
    spread = 2.0  # the variance of 0, 2 and of 4, 6
    assert shadows.by_likelihood_ratio(np.array([3.0])) == pytest.approx([0])
    assert shadows.by_likelihood_ratio(np.array([5.0])) == pytest.approx([16 / (2 * spread)])
    assert shadows.by_surprise(np.array([3.0])) == pytest.approx([2 / np.sqrt(spread)])
    assert shadows.how_easy().tolist() == [1.0]


def test_a_target_is_not_its_own_shadow() -> None:
    members = np.array([[True], [True], [True], [False], [False]])
    left = Shadows(np.arange(5.0)[:, None], members).without(0)
    assert left.confidences[:, 0].tolist() == [1, 2, 3, 4]
    assert left.members[:, 0].tolist() == [True, True, False, False]


def test_too_few_shadows_are_refused() -> None:
    with pytest.raises(ValueError, match="in, or left out of, 1 shadow models; at least 2"):
        Shadows(np.zeros((3, 1)), np.array([[True], [True], [False]]))


# --- The training of shadows ---


def test_shadow_networks_train_as_clients_do() -> None:
    task = replace(MNIST_MLP, local=LocalTraining(0.1, epochs=2, batch_size=5, optimiser=SGD))
    digits = drawn_digits(15, 1)
    starts = np.stack([initial_model(task, seed) for seed in (1, 2)])
    wanted = [client_update(task, start, digits, np.random.default_rng(7)).delta for start in starts]
    networks, rng = Networks(starts.astype(np.float32), 784, 32, 10), np.random.default_rng(7)
    for rows in [rows for _ in range(2) for rows in minibatches(15, 5, rng)]:
        both = np.stack([rows, rows])
        networks.step(digits.images.reshape(15, -1)[both], digits.labels[both], 0.1)
    assert networks.vectors - starts == pytest.approx(np.stack(wanted), abs=1e-6)
    assert np.abs(wanted[0]).max() > 0.01


def test_vectors_of_another_network_are_refused() -> None:
    with pytest.raises(ValueError, match="not rows of 27 weights"):
        Networks(np.zeros((1, 26), np.float32), 4, 3, 3)


def test_every_digit_is_in_half_of_the_models() -> None:
    members = random_halves(6, 10, np.random.default_rng(1))
    assert members.sum(axis=0).tolist() == [3] * 10
    assert members.sum(axis=1).tolist() == [5] * 6


def test_clipped_updates_move_the_model_by_the_clip_at_most() -> None:
    digits, members = drawn_digits(20, 1), random_halves(4, 20, np.random.default_rng(1))
    starts = np.stack([initial_model(MNIST_MLP, seed) for seed in range(4)]).astype(np.float32)
    for setup, most in ((Setup(2, clip_norm=0.01), 0.01), (Setup(2), 10.0)):
        (models,) = federations(setup, starts, digits, members, 1, np.random.default_rng(2))
        moved = np.linalg.norm(models - starts, axis=1)
        assert (moved <= most * 1.001).all()
        assert (moved > most / 20).all()


# --- The study ---


def test_noise_without_a_clip_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"noise is 0\.5 times the clip norm, and the updates are not clipped"):
        Setup(noise=0.5)


def digits_to_memorise(run: Run, count: int, part: str = "train") -> Images:
    drawn = drawn_digits(200, [run.seed, 0 if part == "train" else 1])
    return drawn.first(count)


def test_members_are_found_and_noise_hides_them_and_same_seed_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(membership, "setups", lambda _run: [Setup(2), Setup(2, 1.0, 3.0)])
    monkeypatch.setattr(membership, "size_of", lambda _run: Size(digits=80, models=8, rounds=(8,), seeds=2))
    monkeypatch.setattr(membership, "digits_for", digits_to_memorise)
    monkeypatch.setattr(membership.pictures, "draw_attacks", lambda *_: None)
    monkeypatch.setattr(membership, "USUAL", Setup(2))
    monkeypatch.setattr(membership.pictures, "draw_defences", lambda *_: None)
    written = []
    for folder in ("a", "b"):
        run = Run(tmp_path / folder, quick=True)
        rows = list(STUDY.run(run))
        write_files(STUDY, rows, run)
        written.append((run.out / "table.csv").read_bytes())
    assert written[0] == written[1]
    area = {(row["defence"], row["attack"]): float(row["AUC"]) for row in rows}
    assert area["none", "LiRA, online"] > 0.7 > area["none", "prior only"]
    assert area["none", "LiRA, online"] > area["norm clip 1, noise 3 times that", "LiRA, online"] + 0.1
    assert "prior only" in {row["attack"] for row in rows}
