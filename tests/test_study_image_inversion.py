"""Pictures from updates: the closed forms on small numbers, and the study's ordering on drawn digits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.data.drawn import drawn_digits
from core.errors import DataError, SettingsError
from core.federated import initial_model
from core.nn import Conv2d
from experiments.attacks.inversion import (
    Convolution,
    input_of_each_unit,
    input_of_one,
    inputs_by_class,
    picture_behind,
    psnr,
)
from experiments.studies import image_inversion
from experiments.studies._inversion_cases import CLIP_NORM, KERNEL_NETWORK, Case, task_of
from experiments.studies._updates import clipped, digits_for
from experiments.studies.image_inversion import STUDY, recovered, seen_update
from experiments.study import write_files

pytestmark = pytest.mark.slow

PICTURE = np.array([0.0, 0.25, 1.0])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "out", quick=True, say=lambda _line: None)


# --- The attacks ---


def test_one_input_is_the_quotient_of_changes() -> None:
    errors = np.array([2.0, -1.0])
    assert input_of_one(np.outer(PICTURE, errors), errors) == pytest.approx(PICTURE)
    assert input_of_one(np.zeros((3, 2)), np.zeros(2)).tolist() == [0, 0, 0]


def test_a_unit_that_one_picture_switched_on_gives_it_and_others_give_mixtures() -> None:
    other = np.array([1.0, 0.0, 0.0])
    changes = np.stack([-2 * PICTURE, PICTURE + other, np.zeros(3)], axis=1)
    assert input_of_each_unit(changes, np.array([-2.0, 2.0, 0.0])) == pytest.approx(
        np.array([PICTURE, [0.5, 0.125, 0.5]])
    )


@pytest.mark.parametrize("labels", [[1], [0, 2]])
def test_inputs_of_the_last_layer_are_taken_apart_by_class(labels: list[int]) -> None:
    inputs = np.array([PICTURE, [0.5, 0.5, 0.0]])[: len(labels)]
    errors = np.eye(4)[labels] - 0.25  # target less probability, when the network is undecided between 4 classes
    found = inputs_by_class(inputs.T @ errors, errors.sum(axis=0))
    assert found == pytest.approx(inputs)


@pytest.fixture
def layer() -> Convolution:
    rng = np.random.default_rng(1)
    return Convolution(rng.normal(0, 0.5, (4, 3, 2)), rng.normal(0, 0.1, 4), (6, 5))


def test_answers_are_those_of_the_network_s_layer(layer: Convolution) -> None:
    picture = np.random.default_rng(2).random((6, 5))
    network = Conv2d(1, 4, (3, 2), bias=False, rng=np.random.default_rng(0))
    network.weight.data[:, 0] = layer.kernels
    assert layer.answers(picture) == pytest.approx(network(picture[None, None]).data[0])


def test_the_transpose_is_one(layer: Convolution) -> None:
    rng = np.random.default_rng(3)
    picture, answers = rng.random((6, 5)), rng.random((4, 4, 4))
    assert (layer.answers(picture) * answers).sum() == pytest.approx((picture * layer.transposed(answers)).sum())


def test_a_picture_behind_kernels_and_tanh_is_found_exactly(layer: Convolution) -> None:
    picture = np.random.default_rng(4).random((6, 5))
    features = np.tanh(layer.answers(picture) + layer.bias[:, None, None]).reshape(-1)
    assert psnr(picture_behind(layer, features).reshape(-1), picture.reshape(-1)) > 150


def test_forty_decibels_are_an_error_of_one_hundredth() -> None:
    assert psnr([0.5, 0.5], [0.51, 0.49]) == pytest.approx(40)
    assert psnr([0.5], [0.5]) == 200
    assert psnr([7.0], [1.0]) == 200  # a viewer of a picture sees ink at most


def test_long_updates_are_shortened_and_short_ones_left() -> None:
    assert clipped(np.array([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]]), 1) == pytest.approx(
        np.array([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])
    )


# --- The study ---


def median_psnr(case: Case, run: Run) -> float:
    found = recovered(case, run, drawn_digits(case.seen, 1), 0)[1]
    return float(np.median(found))


@pytest.mark.parametrize("width", [32, KERNEL_NETWORK])
def test_a_single_picture_comes_back_exactly(width: int, run: Run) -> None:
    assert median_psnr(Case(width), run) > 100


def test_batches_sums_noise_and_coarse_rounding_make_it_harder(run: Run) -> None:
    alone = median_psnr(Case(), run)
    for harder in (Case(pictures=32), Case(clients=32), Case(noise=0.01), Case(bits=8), Case(optimiser="Adam")):
        assert median_psnr(harder, run) < 45 < alone


def test_a_sum_of_clients_tells_what_a_batch_tells(run: Run) -> None:
    digits = drawn_digits(4, 2)
    shares = [(recovered(case, run, digits, 0)[1] > 40).tolist() for case in (Case(pictures=4), Case(clients=4))]
    assert shares[0] == shares[1]


def test_what_would_measure_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="behind kernels"):
        Case(KERNEL_NETWORK, clients=2)


def test_each_clients_update_is_clipped_and_the_noise_is_on_their_sum(run: Run) -> None:
    task, digits = task_of(Case()), drawn_digits(2, 0)
    model = initial_model(task, 0)
    alone, both, noisy = (
        seen_update(case, task, model, digits, run, 0) / CLIP_NORM
        for case in (Case(noise=1e-9), Case(clients=2, noise=1e-9), Case(clients=2, noise=1.0))
    )
    assert np.linalg.norm(alone) == pytest.approx(1, abs=1e-3)
    assert 1 < np.linalg.norm(both) <= 2
    assert np.std(noisy - both) == pytest.approx(1, rel=0.01)


def test_missing_data_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"python -m book\.data\.fetch mnist --to"):
        digits_for(Run(tmp_path, data=tmp_path), 10)


def test_same_seed_same_bytes_and_the_prior_knows_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = [Case(), Case(pictures=4), Case(clients=8), Case(32, optimiser="Adam"), Case(KERNEL_NETWORK)]
    monkeypatch.setattr(image_inversion, "cases", lambda _run: few)
    monkeypatch.setattr(image_inversion, "draw_grid", lambda _run, _known: None)
    monkeypatch.setattr(image_inversion, "digits_for", lambda run, _count: drawn_digits(40, run.seed))
    written = []
    for folder in ("a", "b"):
        run = Run(tmp_path / folder, quick=True)
        rows = list(STUDY.run(run))
        write_files(STUDY, rows, run)
        written.append((run.out / "table.csv").read_bytes())
    assert written[0] == written[1]
    assert rows[1]["share above 40 dB"] == 1.0 > rows[0]["share above 40 dB"]
    assert float(rows[0]["median PSNR (dB)"]) < 20
    assert "100% of single pictures" in STUDY.conclude(rows)
