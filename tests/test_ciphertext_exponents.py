"""Words read off exponents: phe's own rule, information counted by hand, and the study on a few clients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phe import EncodedNumber, PaillierPublicKey

from book.run import Run
from core.federated import client_update, initial_model
from core.tasks.spam import SPAM
from experiments.attacks.exponents import changed, entropy, exponent_of, mutual_information
from experiments.studies import _mailroom, ciphertext_exponents
from experiments.studies._columns import means
from experiments.studies.ciphertext_exponents import FLOATS, PACKED, WHOLE, Onlooker, Sent

pytestmark = pytest.mark.slow

KEY = PaillierPublicKey(2**1200 + 1)  # of the right size; nothing is encrypted with it
MODEL = initial_model(SPAM, 1)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> _mailroom.Mailroom:
    quiet = Run(tmp_path_factory.mktemp("room"), quick=True, say=lambda _line: None)
    return _mailroom.open_mailroom(quiet, owners=4, mails_each=60)


@pytest.fixture(scope="module")
def onlooker() -> Iterator[Onlooker]:
    made = Onlooker(len(MODEL))
    yield made
    made.close()


@given(st.floats(-1000, 1000))
def test_the_exponent_is_the_one_that_phe_sends(value: float) -> None:
    assert exponent_of(value) == EncodedNumber.encode(KEY, value).exponent


def test_a_small_change_has_another_exponent_than_zero_and_one_of_a_sixteenth_has_not() -> None:
    assert exponent_of(0.0) == exponent_of(1 / 16) == exponent_of(-0.9) == -14
    assert exponent_of(0.05) == -15
    assert exponent_of(1.0) == -13


def test_weights_with_another_exponent_than_before_have_changed() -> None:
    assert changed([-14, -15, -13], [-14, -14, -14]) == {1, 2}


def test_information_is_counted_in_bits() -> None:
    assert entropy("abab") == 1
    assert entropy("aaab") == pytest.approx(0.8113, abs=1e-4)
    assert mutual_information([0, 0, 1, 1], "xxyy") == pytest.approx(1)
    assert mutual_information([0, 1, 0, 1], "xxyy") == pytest.approx(0)
    assert mutual_information([0, 1, 1, 1], "xxxx") == 0
    with pytest.raises(ValueError, match="nothing was seen"):
        entropy([])


def test_exponents_of_encrypted_floats_give_the_words_away(room: _mailroom.Mailroom, onlooker: Onlooker) -> None:
    rows = room.deal(1, 5, np.random.default_rng(1))[0]
    sent = Sent(FLOATS, "Adam")
    update = client_update(sent.task, MODEL, room.data_of(rows), np.random.default_rng(2))
    sample = list(range(0, 8192, 30))
    seen = ciphertext_exponents.read(sent, onlooker.sees(sent, update, MODEL, sample), MODEL, sample)
    assert seen == room.numbers_of(rows) & set(sample) != set()


def test_whole_numbers_and_packed_updates_look_the_same_for_any_two_mailboxes(
    room: _mailroom.Mailroom, onlooker: Onlooker
) -> None:
    for way in (WHOLE, PACKED):
        looks = set()
        for rows in room.deal(3, 5, np.random.default_rng(1)):
            update = client_update(SPAM, MODEL, room.data_of(rows), np.random.default_rng(2))
            looks |= set(onlooker.sees(Sent(way, "Adam"), update, MODEL, range(5)))
        assert len(looks) == 1


def test_the_study_reads_floats_and_learns_nothing_from_packed_integers(
    room: _mailroom.Mailroom, onlooker: Onlooker, tmp_path: Path
) -> None:
    run = Run(tmp_path, quick=True)
    sample = ciphertext_exponents.draw_sample(run, room, 200)
    floats, packed = (
        ciphertext_exponents.attack(run, room, onlooker, Sent(way, "Adam", mails=5), MODEL, sample, 1)
        for way in (FLOATS, PACKED)
    )
    assert (means([floats], "recall"), means([floats], "precision")) == ([1.0], [1.0])
    assert floats["bits a weight"] == floats["of"] > 0
    assert packed["bits a weight"] == 0
    assert packed["recall"] == packed["blind"] == floats["blind"]
    assert str(packed["in clear"]).endswith(" bytes")
    again = ciphertext_exponents.attack(run, room, onlooker, Sent(FLOATS, "Adam", mails=5), MODEL, sample, 1)
    assert again == floats
