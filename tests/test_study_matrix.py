"""The table of attacks and defences: what each defence leaves is seen in its cells, which link to their studies."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from book.run import Run
from experiments import studies
from experiments.studies import _backdoor_rounds as backdoor
from experiments.studies._mailroom import open_mailroom
from experiments.studies._matrix_attacks import (
    DEFENCES,
    SEEN,
    Seen,
    _total,
    backdoors,
    members,
    pictures,
    words_and_labels,
)
from experiments.studies._updates import digits_for
from experiments.studies.matrix import ATTACKED, HONEST, LABEL, MEMBER, PICTURE, PROPERTY, STUDY, TRIGGER, WORDS
from experiments.study import Linked, page, write_files
from experiments.web_page import Answered, write_page


def test_what_is_seen_of_a_victim_is_the_sum_of_its_own_group() -> None:
    sent = np.arange(20.0)[:, None] * np.ones((1, 3))
    rng = np.random.default_rng(0)
    assert _total(sent, 7, Seen(1), rng).tolist() == [7, 7, 7]
    assert _total(sent, 7, Seen(5), rng).tolist() == [35, 35, 35], "clients 5 to 9"
    assert _total(sent, 7, Seen(20), rng).tolist() == [190, 190, 190]
    assert [seen.clients for seen in SEEN] == [1, 20, 20, 5]


LINKED = [{"attack": "words", "sum": Linked("0.92 ±0.02", "sum-leakage")}]


def test_a_cell_links_to_its_study_if_that_was_run_too_and_not_in_the_table(tmp_path: Path) -> None:
    run = Run(tmp_path / "matrix", quick=True)
    other = Answered(replace(STUDY_OF_TWO, name="sum-leakage"), [{"a": 1}], Run(tmp_path / "sum-leakage"))
    write_files(other.study, other.rows, other.run)
    write_files(STUDY_OF_TWO, LINKED, run)
    assert "| words | [0.92 ±0.02](../sum-leakage/page.md) |" in (run.out / "page.md").read_text(encoding="utf-8")
    assert (run.out / "table.csv").read_text(encoding="utf-8") == "attack,sum\nwords,0.92 ±0.02\n"
    write_page(tmp_path / "index.html", [other, Answered(STUDY_OF_TWO, LINKED, run)], [])
    assert '<a href="#sum-leakage">0.92 ±0.02</a>' in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_study_that_is_run_alone_has_no_dead_links_and_says_how_the_others_are_run(tmp_path: Path) -> None:
    run = Run(tmp_path / "matrix", quick=True)
    assert "| words | 0.92 ±0.02 |" in page(STUDY_OF_TWO, LINKED, run)
    write_page(tmp_path / "index.html", [Answered(STUDY_OF_TWO, LINKED, run)], [])
    written = (tmp_path / "index.html").read_text(encoding="utf-8")
    links, places = re.findall(r'href="#([^"]*)"', written), re.findall(r'id="([^"]*)"', written)
    assert set(links) == set(places) == {"matrix"}
    assert '<span title="python -m experiments sum-leakage">0.92 ±0.02</span>' in written


STUDY_OF_TWO = replace(STUDY, conclude=lambda rows: f"{len(rows)} row.")


@pytest.mark.slow
def test_the_words_of_a_client_hide_in_noise_and_less_in_a_group_than_in_a_cohort(tmp_path: Path) -> None:
    run = Run(tmp_path, quick=True, say=lambda _line: None)
    words, labels = words_and_labels(run, open_mailroom(run, 25, 50), 0)
    _blind, plain, whole, noisy, group = words
    assert plain > 0.99
    assert plain > group > noisy
    assert whole > noisy
    assert noisy < 0.55
    assert labels[1] > 0.9


@pytest.mark.slow
def test_digits_and_members_hide_in_noise_and_less_in_a_group_than_in_a_cohort(tmp_path: Path) -> None:
    run = Run(tmp_path, quick=True, say=lambda _line: None)
    digits, test = digits_for(run, 1200), digits_for(run, 300, "test")
    blind, plain, whole, noisy, group = pictures(run, digits, 0)
    assert (blind, plain, noisy) == (0, 1, 0)
    assert plain > group > whole
    blind, plain, whole, noisy, group = members(run, digits, test, 0)
    assert blind == pytest.approx(0.5, abs=0.1)
    assert plain > 0.9
    assert plain > group > whole
    assert noisy == pytest.approx(0.5, abs=0.1)


@pytest.mark.slow
def test_one_attacker_moves_a_sum_noisy_or_not_and_not_the_median_of_groups(tmp_path: Path) -> None:
    run = Run(tmp_path, quick=True)
    through, _, honest = backdoors(run, backdoor.world_of(run, 0), 0, rounds=3)
    blind, plain, whole, noisy, groups = through
    assert plain == whole > 0.5 + blind
    assert noisy > 0.5
    assert groups < blind + 0.2
    assert len(honest) == 1 + len(DEFENCES)
    assert min(honest) > 0.8


def test_the_matrix_is_listed_after_the_studies_that_its_lines_come_from() -> None:
    assert studies.get_study("matrix") is STUDY
    lines = {attack.study for attack in (WORDS, LABEL, PROPERTY, MEMBER, PICTURE, TRIGGER, ATTACKED, HONEST)}
    assert lines <= set(studies.NAMES[: studies.NAMES.index("matrix")])
