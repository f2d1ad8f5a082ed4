"""The comparison of spam filters runs without scikit-learn, and judges by mail that nothing was trained on."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from benchmarks import spam_filters
from benchmarks.spam_filters import federated, main, split_mail
from core.data.generated import generate_mailbox
from core.data.mail import write_tsv
from core.metrics import confusion
from core.tasks.spam import SPAM

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two mailboxes of 60 mails, each held twice."""
    for owner in (1, 2):
        write_tsv(tmp_path / f"owner-{owner}.tsv", generate_mailbox(0, owner, 60) * 2)
    return tmp_path


def test_without_scikit_learn_the_command_compares_ours(folder, monkeypatch, capsys) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    main(["--data", str(folder), "--rounds", "1", "--splits", "0", "3"])
    said = capsys.readouterr().out
    assert "`make bench-spam` installs it" in said
    for name in ("spam, all mail in one place", "spam, federated", "spam-pairs, federated"):
        assert said.count(f"\n{name}") == 2
    assert "split 3: " in said


def test_a_folder_without_mail_is_one_sentence(tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        main(["--data", str(tmp_path)])
    assert "holds no mailbox" in capsys.readouterr().err


def test_each_mailbox_is_a_client_and_held_out_texts_are_distinct_and_new(folder) -> None:
    split = split_mail(folder, 0)
    held_out = [mail.text for mail in split.held_out]
    assert len(split.clients) == 2
    assert len(set(held_out)) == len(held_out) > 0
    assert not set(held_out) & {mail.text for mail in split.training}


def test_one_file_is_dealt_out_among_five(folder) -> None:
    sizes = [len(mails) for mails in split_mail(folder / "owner-1.tsv", 0).clients]
    assert len(sizes) == 5
    assert max(sizes) - min(sizes) <= 1


def test_the_answers_of_the_federated_model_are_all_counted(folder) -> None:
    split = split_mail(folder, 0)
    answers = federated(SPAM, split, 2, 0)
    assert answers.examples == len(split.held_out)
    assert answers.positives == sum(mail.spam for mail in split.held_out)


def test_scikit_learn_is_given_the_numbers_that_our_model_sees() -> None:
    """A linear model on the rows is our model on the bags."""
    pytest.importorskip("scipy")
    mails = generate_mailbox(0, 1, 30)
    bags = SPAM.prepare(mails)
    model = SPAM.build(np.random.default_rng(0))
    weights = np.random.default_rng(1).normal(size=8192)
    model.words.weight.data[:, 0] = weights  # type: ignore[attr-defined]
    inputs, labels = bags.batch(np.arange(len(bags)))
    logits = spam_filters._matrix(SPAM, bags) @ weights
    np.testing.assert_allclose(model(inputs).numpy(), logits)
    assert confusion(logits, labels).examples == 30
