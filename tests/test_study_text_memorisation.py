"""Secrets in text: exposure on numbers known beforehand, the hiding of lines, and the study's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.errors import DataError, SettingsError
from core.federated import initial_model
from experiments.attacks.exposure import exposure, log_likelihoods
from experiments.studies import text_memorisation
from experiments.studies.text_memorisation import (
    BEGINNINGS,
    STUDY,
    TASK,
    Defence,
    Secret,
    Size,
    data_of,
    exposed,
    hide,
    rounds_of,
    secret_of,
    texts_of,
)
from experiments.study import write_files

pytestmark = pytest.mark.slow

# --- The attack ---


@pytest.mark.parametrize(("secret", "bits"), [(2, 2.0), (0, 1.0), (3, 0.0)])
def test_exposure_is_the_bits_that_the_rank_saves(secret: int, bits: float) -> None:
    assert exposure(np.array([-2.0, -3.0, -1.0, -9.0]), secret) == pytest.approx(bits if secret != 3 else 0)


def test_a_model_that_tells_nothing_exposes_nothing_on_either_side() -> None:
    assert exposure(np.zeros(3), 1) == pytest.approx(np.log2(3) - 1)  # rank 2 of 3


def test_every_secret_is_weighed_as_if_it_were_asked_alone() -> None:
    table = np.log(np.array([[0.5, 0.25, 0.25], [0.1, 0.7, 0.2], [0.3, 0.3, 0.4]]))
    asked = []

    def next_logits(texts: np.ndarray) -> np.ndarray:
        asked.append(len(texts))
        return table[texts[:, -1]] + 5.0  # a constant does not matter

    found = log_likelihoods(next_logits, np.array([2, 0]), np.array([1, 2]), 2)
    assert np.exp(found) == pytest.approx([0.25 * 0.7, 0.25 * 0.2, 0.25 * 0.3, 0.25 * 0.4])
    assert asked == [1, 2]


def test_likelihoods_of_a_model_agree_with_reading_each_text() -> None:
    model, secret = initial_model(TASK, 1), Secret("my code is ", 7, 2, 1)
    ranks = [exposed(model, secret)]
    assert 0 <= ranks[0] <= np.log2(100)


# --- Hiding ---


def test_a_line_is_written_as_often_as_said_between_whole_lines() -> None:
    secret = Secret("my code is ", 42, 4, 3)
    lines = hide(secret, "one\ntwo\nthree", np.random.default_rng(1)).split("\n")
    assert lines.count("my code is 0042.") == 3
    assert [line for line in lines if not line.startswith("my")] == ["one", "two", "three"]


def test_a_secret_is_the_same_however_often_it_is_written_and_another_each_repetition(tmp_path: Path) -> None:
    run = Run(tmp_path)
    once, often, other = (secret_of(4, *rest) for rest in ((1, run, 0), (16, run, 0), (1, run, 1)))
    assert (once.line, once.times, often.times) == (often.line, 1, 16)
    assert once.line.startswith(BEGINNINGS[0])
    assert other.line.startswith(BEGINNINGS[1])
    assert once.number != other.number


def test_texts_are_the_clients_own(tmp_path: Path) -> None:
    texts, judged = texts_of(Run(tmp_path), 5, 500, 0)
    assert [len(text) for text in texts] == [500] * 5
    assert len({*texts, judged[:500]}) == 6
    with pytest.raises(DataError, match=r"python -m book\.data\.fetch shakespeare --to"):
        texts_of(Run(tmp_path, data=tmp_path), 5, 500, 0)


# --- Rounds ---


def test_noise_without_a_clip_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"noise is 0\.5 times the clip norm, and the updates are not clipped"):
        Defence(0.0, 0.5)


def test_a_clipped_round_moves_the_model_by_the_clip_at_most_and_noise_adds_its_own(tmp_path: Path) -> None:
    run = Run(tmp_path)
    data = [data_of(text) for text in texts_of(run, 2, 300, 0)[0]]
    start = initial_model(TASK, 100)
    lengths = [
        float(np.linalg.norm(next(rounds_of(data, defence, 1, run, 0)) - start))
        for defence in (Defence(), Defence(0.1), Defence(0.1, 1.0))
    ]
    assert lengths[0] > 0.2
    assert 0.02 < lengths[1] <= 0.1
    assert lengths[2] == pytest.approx(0.1 * np.sqrt(len(start)) / 2, rel=0.05)  # on the sum; the mean has half


# --- The study ---


def test_what_was_written_often_is_exposed_and_noise_hides_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = Size((0, 12), 600, 2, (1, 20), 2, (Defence(), Defence(0.5, 1.0)))
    monkeypatch.setattr(text_memorisation, "CLIENTS", 1)
    monkeypatch.setattr(text_memorisation, "size_of", lambda _run: size)
    rows = list(STUDY.run(Run(tmp_path, quick=True)))
    bits = {(row["defence"], row["rounds"], row["times written"]): float(row["exposure (bits)"]) for row in rows}
    assert bits["none", 20, 12] > 5.5
    assert bits["none", 20, 12] > bits["none", 20, 0] + 2
    assert bits["norm clip 0.5, noise 1 times that", 20, 12] < 4
    assert len(rows) == 8


def test_same_seed_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = Size((0, 2), 200, 2, (1, 2), 2, (Defence(), Defence(0.5, 1.0)))
    monkeypatch.setattr(text_memorisation, "size_of", lambda _run: size)
    written = []
    for folder in ("a", "b"):
        run = Run(tmp_path / folder, quick=True)
        write_files(STUDY, list(STUDY.run(run)), run)
        written.append((run.out / "table.csv").read_bytes())
    assert written[0] == written[1]
