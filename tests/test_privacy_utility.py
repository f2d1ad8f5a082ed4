"""Training with noise in process: the same integers as in the protocol, and figures that hang together."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from core.data.message import Mail
from core.errors import DataError
from core.privacy.mechanism import Privacy, mechanism_for
from experiments.studies.privacy_utility import (
    STUDY,
    central,
    dealt_out,
    digits,
    distributed,
    epsilon_of,
    in_clear,
    made_up,
    train,
)
from experiments.study import write_files

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PRIVACY = Privacy(1.0, 1.0, 1e-5)
MADE = mechanism_for(PRIVACY, 4, 16)


def bytes_of(seed: int):
    return np.random.default_rng(seed).bytes


@pytest.mark.parametrize("way", ["distributed", "central"])
def test_noise_on_the_sum_is_as_wide_as_promised_whichever_party_adds_it(way: str) -> None:
    updates = [np.zeros(20_000) for _ in range(4)]
    add_up = distributed(MADE, bytes_of(1)) if way == "distributed" else central(MADE, PRIVACY, bytes_of(1))
    assert np.std(add_up(updates)) == pytest.approx(1.0, rel=0.03)


@pytest.mark.parametrize("way", ["distributed", "central"])
def test_updates_are_clipped_before_they_are_added(way: str) -> None:
    updates = [np.eye(1, 8, 0).ravel() * 50 for _ in range(4)]
    weak = Privacy(1.0, 0.01, 1e-5)
    made = mechanism_for(weak, 4, 16)
    add_up = distributed(made, bytes_of(1)) if way == "distributed" else central(made, weak, bytes_of(1))
    assert add_up(updates)[0] == pytest.approx(4.0, abs=0.1)


def test_without_noise_the_sum_is_the_sum() -> None:
    assert in_clear([np.array([1.0, 2.0]), np.array([3.0, 4.0])]).tolist() == [4.0, 6.0]


def test_epsilon_falls_with_noise_and_rises_with_rounds_and_not_with_clients() -> None:
    assert epsilon_of(MADE, 4, 1, 8193) == pytest.approx(4.73, abs=0.01)
    assert epsilon_of(MADE, 4, 5, 8193) > epsilon_of(MADE, 4, 1, 8193)
    many = mechanism_for(PRIVACY, 100, 16)
    assert epsilon_of(many, 100, 1, 8193) == pytest.approx(4.73, abs=0.01)


def test_training_without_noise_learns_and_with_a_great_deal_of_it_does_not() -> None:
    federation = made_up(4, seed=1)
    noisy = Privacy(1.0, 50.0, 1e-5)
    strong = distributed(mechanism_for(noisy, 4, 16), bytes_of(1))
    assert train(federation, 4, 1, in_clear) > 0.7
    assert train(federation, 4, 1, strong) < 0.6


def test_real_mail_is_dealt_out_without_the_mails_that_are_kept() -> None:
    mails = [Mail(f"word{number} cheap", spam=bool(number % 2)) for number in range(20)]
    federation = dealt_out(mails, mails[:4], 5, seed=0)
    assert [len(data) for data in federation.data] == [4] * 5
    assert (len(federation.test), federation.majority) == (4, 0.5)


def test_digits_are_dealt_out_once_each_and_judged_on_the_most_frequent(tmp_path: Path) -> None:
    train = [(np.full((28, 28), number / 1000, np.float32), number % 10) for number in range(900)]
    federation = digits(train, [*train[:3], train[0]], 4, seed=0)
    assert federation.task.name == "mnist-cnn"
    shown = np.concatenate([data.images[:, 0, 0] for data in federation.data])
    assert (len(shown), len(np.unique(shown))) == (800, 800)
    assert (len(federation.test), federation.majority) == (4, 0.5)


def test_public_data_without_a_file_that_is_used_is_refused_and_says_which_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train-images-idx3-ubyte"):
        list(STUDY.run(Run(tmp_path / "out", tmp_path, quick=True)))


def test_same_seed_same_bytes_and_every_way_has_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def little(_self: Run, _full: object, quick: object) -> object:
        return {(10, 100): (3,), (0.5, 4.0): (1.0,), 2: 2, 4: 1}[quick]  # type: ignore[index]

    monkeypatch.setattr(Run, "pick", little)
    files = []
    for name in ("one", "two"):
        run = Run(tmp_path / name, quick=True)
        write_files(STUDY, list(STUDY.run(run)), run)
        files.append((tmp_path / name / "table.csv").read_bytes())
    assert files[0] == files[1]
    rows = list(csv.DictReader(files[0].decode().splitlines()))
    assert len(rows) == 1
    assert {"distributed", "central", "no noise", "majority"} <= set(rows[0])
    assert rows[0]["distributed"] != rows[0]["central"]
    assert "with 3 clients (made-up mail)" in (tmp_path / "one" / "page.md").read_text()
    assert (tmp_path / "one" / "privacy-utility.png").read_bytes().startswith(b"\x89PNG")


def test_the_list_of_experiments_names_both() -> None:
    said = subprocess.run(
        [sys.executable, "-m", "experiments"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "dp-audit" in said
    assert "privacy-utility" in said


def test_a_folder_that_is_not_there_is_one_sentence() -> None:
    command = [sys.executable, "-m", "experiments", "dp-audit", "--data", "nowhere"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip() == "error: nowhere is not a folder; expected one with the public files"
