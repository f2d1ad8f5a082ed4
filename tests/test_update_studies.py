"""The studies of single updates and of sums, from the first row to the page, on as little as will do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from book.run import Run
from core.errors import DataError
from experiments.studies import (
    _mailroom,
    ciphertext_exponents,
    differencing,
    get_study,
    label_leakage,
    sum_leakage,
    weak_key,
    word_leakage,
)
from experiments.study import write_files

pytestmark = pytest.mark.slow

SMALL: dict[str, tuple[Any, dict[str, Any]]] = {
    "word-leakage": (word_leakage, {}),
    "ciphertext-exponents": (ciphertext_exponents, {"SAMPLE": 60, "SENT": ciphertext_exponents.SENT[1::3]}),
    "sum-leakage": (sum_leakage, {"COHORTS": (1, 3)}),
    "differencing": (
        differencing, {"COHORTS": (3, 8), "DROPOUTS": (0.0, 0.1), "FEDERATIONS": ((10, 3),), "SHADOWS": 5},
    ),
    "label-leakage": (
        label_leakage,
        {"TRAININGS": ((4, 1),), "SETTINGS": [label_leakage.Setting(how, 4, 1) for how in ("gradient descent", "Adam")]},
    ),
    "weak-key": (weak_key, {"SMALLEST_KEY_BITS": 96}),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_study_gives_a_page_and_pictures_and_the_same_table_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, settings = SMALL[name]
    for constant, value in settings.items():
        monkeypatch.setattr(module, constant, value)
    study, tables = get_study(name), []
    for folder in ("one", "two"):
        run = Run(tmp_path / folder, quick=True, say=lambda _line: None)
        write_files(study, list(study.run(run)), run)
        tables.append((run.out / "table.csv").read_bytes())
        monkeypatch.setattr(module, "draw", lambda *_: None)  # once is enough
    assert tables[0] == tables[1]
    page = (tmp_path / "one" / "page.md").read_text()
    assert re.search(r"!\[\w+\]\(\w+\.png\)", page)
    assert "nan" not in page
    for heading in ("Question", "Adversary", "Method", "Result", "Limits"):
        assert f"**{heading}.**" in page


@pytest.mark.parametrize(
    "name", ["word-leakage", "ciphertext-exponents", "sum-leakage", "differencing", "label-leakage"]
)
def test_mail_that_is_not_there_is_asked_for_by_name(name: str, tmp_path: Path) -> None:
    run = Run(tmp_path, data=tmp_path, quick=True, say=lambda _line: None)
    with pytest.raises(DataError, match="enron1.tsv.gz.*Enron-Spam collection"):
        next(get_study(name).run(run))


def test_a_mailroom_shows_no_mail() -> None:
    room = _mailroom.open_mailroom(Run(Path(), quick=True, say=lambda _line: None), owners=1, mails_each=4)
    assert "Subject" not in repr(room)
