"""The filter of words and pairs: what it sees, and that 32,769 weights are encoded as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core.data.message import Mail
from core.federated import client_rng, client_update, encoding_for, initial_model
from core.secagg.scheme import PublicKey
from core.tasks.spam import SPAM
from core.tasks.spam_pairs import SPAM_PAIRS, VOCABULARY


def test_a_mail_weighs_by_its_words_and_pairs() -> None:
    inputs, labels = SPAM_PAIRS.prepare([Mail("win now", True)]).batch(np.array([0]))
    assert sorted(VOCABULARY.index(term) for term in ("win", "now", "win now")) == inputs[0].tolist()
    assert labels.tolist() == [1]


def test_pairs_tell_apart_what_words_cannot() -> None:
    """The same words in another order: alike to `spam`, different to `spam-pairs`."""
    mails = [Mail("man bites dog", True), Mail("dog bites man", False)]
    for task, alike in ((SPAM, True), (SPAM_PAIRS, False)):
        (_, offsets), _ = task.prepare(mails).batch(np.array([0, 1]))
        (numbers, _), _ = task.prepare(mails).batch(np.array([0, 1]))
        first, second = numbers[: offsets[1]].tolist(), numbers[offsets[1] :].tolist()
        assert (first == second) == alike


def test_an_update_is_encoded_without_clipping_and_alike_for_every_key() -> None:
    model = initial_model(SPAM_PAIRS, 0)
    mails = SPAM_PAIRS.prepare(SPAM_PAIRS.generate(0, 1))
    update = client_update(SPAM_PAIRS, model, mails, client_rng(0, 1, 1))
    assert 0 < np.abs(update.delta).max() < SPAM_PAIRS.clip
    encodings = [
        encoding_for(SPAM_PAIRS, len(model), PublicKey(scheme, 2048).plaintext_bits, max_cohort=5)
        for scheme in ("paillier", "damgard-jurik", "plain")
    ]
    sums = [encoding.decode(encoding.encode(update), 1) for encoding in encodings]
    assert encodings[0].plaintexts == 345  # 32,769 weights and 5 sums, 95 in a ciphertext
    for found in sums:
        np.testing.assert_allclose(found.delta_sum, update.delta, atol=2.0**-14, rtol=0)
        assert np.array_equal(found.delta_sum, sums[0].delta_sum)
        assert found.confusion == update.confusion


def test_a_mailbox_read_as_numbers_trains_as_its_texts_do(tmp_path: Path) -> None:
    (tmp_path / "box.tsv").write_text("spam\tclick here now\nham\tlet me know\n")
    numbers = SPAM_PAIRS.read_labelled(str(tmp_path / "box.tsv")).examples
    texts = [Mail("click here now", spam=True), Mail("let me know", spam=False)]
    (bags, _), _ = SPAM_PAIRS.prepare(numbers).batch(np.array([0, 1]))
    (expected, _), _ = SPAM_PAIRS.prepare(texts).batch(np.array([0, 1]))
    assert not hasattr(numbers[0], "text")
    assert len(bags) == 10  # twice 3 words and 2 pairs
    assert (bags == expected).all()
