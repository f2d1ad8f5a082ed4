"""The audit never proves more than was promised, and proves it of mechanisms that are broken on purpose."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from experiments.studies import dp_audit
from experiments.studies.dp_audit import (
    AS_IT_IS,
    BROKEN,
    DELTA,
    STUDY,
    Scene,
    _epsilon,
    _separation,
    _shares,
    accuracy,
    audit,
    best_threshold,
    gaussian_epsilon,
    middle,
)
from experiments.study import write_files

pytestmark = pytest.mark.slow

ALONE = Scene(clients=2, colluders=1, noise=1.0)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng([17, seed])


def test_the_claim_of_one_round_is_the_accountants() -> None:
    assert ALONE.claim == pytest.approx(4.73, abs=0.01)
    assert Scene(4, 0, 1.0).claim == pytest.approx(ALONE.claim, rel=1e-3)


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_mechanism_as_it_is_is_never_refuted(noise: float) -> None:
    for seed in range(7):  # 21 audits in all
        scene = Scene(2, 1, noise)
        found = audit(scene, AS_IT_IS, 100, rng(seed))
        assert found.epsilon <= scene.claim
        assert found.epsilon_gaussian <= scene.claim


def test_the_attack_is_a_good_one_and_comes_near_the_promise() -> None:
    found = audit(ALONE, AS_IT_IS, 500, rng(1))
    assert found.accuracy > 0.6, "the best possible is 69 %"
    assert found.epsilon_gaussian > 0.4 * ALONE.claim


@pytest.mark.parametrize("variant", BROKEN, ids=lambda variant: variant.name)
def test_what_is_broken_is_caught(variant: dp_audit.Variant) -> None:
    assert audit(ALONE, variant, 400, rng(2)).epsilon_gaussian > ALONE.claim


def test_what_is_broken_badly_is_caught_without_taking_anything_for_granted() -> None:
    """Against a smaller promise, since more than log(trials) can never be proved so."""
    gentle = Scene(2, 1, 3.0)
    same = next(variant for variant in BROKEN if "same" in variant.name)
    assert audit(gentle, same, 200, rng(3)).epsilon > gentle.claim


def test_an_attacker_who_learns_nothing_proves_nothing() -> None:
    inside, outside = rng(4).normal(size=500), rng(5).normal(size=500)
    assert abs(accuracy(inside, outside, middle(inside, outside)) - 0.5) < 0.05
    right, wrong = _shares(inside, outside, 0.0)
    assert _epsilon(right, wrong) == 0.0
    assert gaussian_epsilon(_separation(right, wrong), DELTA) < 0.3


def test_certainty_proves_no_more_than_the_number_of_trials_allows() -> None:
    right, wrong = _shares(np.ones(500), np.zeros(500), 0.5)
    assert 4.5 < _epsilon(right, wrong) < np.log(500)


def test_thresholds_lie_where_both_are_distinguished() -> None:
    inside, outside = np.linspace(2.0, 2.2, 51), np.linspace(0.8, 1.0, 51)
    assert middle(inside, outside) == pytest.approx(1.5)
    assert 1.0 <= best_threshold(inside, outside) < 2.0
    assert accuracy(inside, outside, 1.55) == 1.0


@pytest.mark.parametrize("separation", [0.3, 1.0, 2.0])
def test_the_epsilon_of_a_gaussian_is_the_exact_one(separation: float) -> None:
    dp_accounting = pytest.importorskip("dp_accounting")
    exact = dp_accounting.get_epsilon_gaussian(1 / separation, DELTA)
    assert gaussian_epsilon(separation, DELTA) == pytest.approx(exact, rel=1e-6)


def test_same_seed_same_bytes_and_a_page_that_says_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "pick", lambda _self, _full, quick: min(quick, 10))
    files = []
    for name in ("one", "two"):
        run = Run(tmp_path / name, quick=True)
        write_files(STUDY, list(STUDY.run(run)), run)
        files.append((tmp_path / name / "table.csv").read_bytes())
    assert files[0] == files[1]
    rows = list(csv.DictReader(files[0].decode().splitlines()))
    assert {row["mechanism"] for row in rows} == {"as it is", *(variant.name for variant in BROKEN)}
    assert (tmp_path / "one" / "audit.png").read_bytes().startswith(b"\x89PNG")
    words = (tmp_path / "one" / "page.md").read_text()
    for part in (
        "**Question.**",
        "**Adversary.**",
        "**Method.**",
        "**Result.**",
        "**Limits.**",
        "prior knowledge only",
    ):
        assert part in words


def test_the_conclusion_counts_what_was_proved_and_what_was_caught() -> None:
    rows = [
        {"mechanism": "as it is", dp_audit.VERDICT: "0 of 20"},
        {"mechanism": "as it is", dp_audit.VERDICT: "1 of 5"},
        {"mechanism": "half the noise", dp_audit.VERDICT: "5 of 5"},
        {"mechanism": "no clipping", dp_audit.VERDICT: "0 of 5"},
    ]
    said = dp_audit.conclude(rows)
    assert "Of 25 audits of the mechanism as it is, 1 proved more" in said
    assert "caught: half the noise. Not caught: no clipping." in said
