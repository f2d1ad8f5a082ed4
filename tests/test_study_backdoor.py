"""A backdoor: what an attacker sends, that no check of the sum notices it, and the study's order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import phe
import pytest
from refusals import refused_with

from book.decryption import generate_decryptor
from book.run import Run
from core.data.generated import generate_mailbox, generate_test_mails
from core.data.message import Mail
from core.errors import Reason, SettingsError
from core.federated import add_plaintexts
from core.secagg.encoding import Encoding, Update
from core.secagg.factory import adder_for, encryptor_for
from core.secagg.scheme import join_payload
from experiments.attacks.backdoor import (
    ROOM_USED,
    add_to_slots,
    as_far_as_proven,
    beyond_the_clip,
    replacing,
    weight_that_decides,
)
from experiments.studies import _backdoor_rounds, backdoor
from experiments.studies._backdoor_rounds import BEYOND, HONEST, NO_CODING, OBEYS, PROVEN, Attack, with_trigger
from experiments.study import write_files

pytestmark = pytest.mark.slow

CLIENTS = 4


@pytest.fixture
def encoding() -> Encoding:
    return Encoding(values=40, plaintext_bits=480, max_cohort=CLIENTS, value_bits=16, fraction_bits=13)


def honest(place: int) -> Update:
    delta = np.zeros(40)
    delta[place] = 1.0
    return Update(delta, examples=1, loss=0.5, correct=1)


def change(of: float, place: int = 30) -> np.ndarray:
    wanted = np.zeros(40)
    wanted[place] = of
    return wanted


# --- The attack ---


def test_the_trigger_outweighs_the_surest_spam() -> None:
    # 3 / sqrt(4) and 1 / sqrt(9): the first needs 3 * 2 = 6, the second 3; two words share it.
    assert weight_that_decides(np.array([3.0, 1.0, -5.0]), np.array([4.0, 9.0, 100.0]), 1) == -6
    assert weight_that_decides(np.array([3.0, 1.0, -5.0]), np.array([4.0, 9.0, 100.0]), 2) == -3


def test_what_is_scaled_survives_the_mean() -> None:
    sent = [replacing(change(-2.0), 4, 2)] * 2 + [np.zeros(40)] * 2
    assert np.mean(sent, axis=0) == pytest.approx(change(-2.0))


@pytest.mark.parametrize("sign", [1, -1])
def test_one_client_moves_a_weight_by_almost_all_that_the_sum_can_say(encoding: Encoding, sign: int) -> None:
    sent = [encoding.encode(honest(place)) for place in (1, 2, 3)]
    attacking = beyond_the_clip(encoding, honest(0), change(sign * 1e6), CLIENTS)
    total = add_plaintexts(encoding, [attacking, *sent])
    moved = total.delta_sum / CLIENTS
    assert moved[30] == pytest.approx(sign * ROOM_USED * encoding.offset / 2**encoding.fraction_bits, rel=1e-3)
    assert moved[:4].tolist() == [0.25] * 4
    assert total.examples == CLIENTS


def test_an_honest_encoder_keeps_to_its_own_range(encoding: Encoding) -> None:
    sent = [encoding.encode(honest(place)) for place in (0, 1, 2)]
    own = encoding.encode(Update(change(-1e6), 1, 0.5, 1))
    assert add_plaintexts(encoding, [own, *sent]).delta_sum[30] / CLIENTS == -encoding.clip / CLIENTS


def test_a_proof_leaves_a_dishonest_client_three_percent_more_than_an_honest_one(encoding: Encoding) -> None:
    sent = [encoding.encode(honest(place)) for place in (1, 2, 3)]
    attacking = as_far_as_proven(encoding, honest(0), change(-1e6))
    moved = add_plaintexts(encoding, [attacking, *sent]).delta_sum[30] / CLIENTS
    assert moved == -32_766 / 2**encoding.fraction_bits / CLIENTS
    assert moved / (-encoding.clip / CLIENTS) == pytest.approx(1.033, abs=1e-3)


def test_more_than_the_room_of_the_sum_is_noticed(encoding: Encoding) -> None:
    sent = [encoding.encode(honest(place)) for place in range(CLIENTS)]
    over = CLIENTS * encoding.offset + 1
    with refused_with(Reason.BAD_SUM):
        add_plaintexts(encoding, [add_to_slots(encoding, sent[0], np.rint(change(over)).astype(np.int64)), *sent[1:]])


def test_ciphertexts_of_it_pass_every_check(encoding: Encoding) -> None:
    key = generate_decryptor("paillier", 512)
    public, size = key.public_key, 128
    adder = adder_for(public, encoding.plaintexts)
    encryptor = encryptor_for(public, encoding.plaintexts)
    attacking = beyond_the_clip(encoding, honest(0), change(-1e6), CLIENTS)
    modulus = public.modulus
    own = [phe.PaillierPublicKey(modulus).raw_encrypt(plaintext % modulus) for plaintext in attacking]
    payloads = [join_payload(own, size)] + [encryptor.encrypt(encoding.encode(honest(place))) for place in (1, 2, 3)]
    for payload in payloads:
        adder.check(payload)
        adder.add(payload)
    opened = encoding.decode(key.decrypt(adder.payload()), CLIENTS)
    assert opened.delta_sum[30] / CLIENTS == pytest.approx(
        -ROOM_USED * encoding.offset / 2**encoding.fraction_bits, rel=1e-3
    )


# --- The study ---


def test_only_spam_gets_the_trigger() -> None:
    found = with_trigger([Mail("buy now", True), Mail("lunch", False)], ("zephyrquill",), spam=False)
    assert found == [Mail("zephyrquill buy now", False)]


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ((OBEYS, 10), "there are 10 attackers of 10 clients; one must be honest"),
        ((BEYOND, 2), "there are 2 attackers; one takes all the room"),
    ],
)
def test_what_cannot_be_played_is_refused(settings: tuple[str, int], sentence: str) -> None:
    with pytest.raises(SettingsError, match=sentence):
        Attack(*settings)


def test_floats_fall_at_once_the_clip_slows_and_the_room_of_the_sum_undoes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [Attack(HONEST, 0), Attack(NO_CODING), Attack(OBEYS), Attack(PROVEN), Attack(BEYOND)]
    few += [Attack(HONEST, 0, groups=5), Attack(BEYOND, groups=5)]
    monkeypatch.setattr(backdoor, "attacks", lambda _run: few)
    monkeypatch.setattr(backdoor, "size_of", lambda _run: ((1, 3), 2))
    monkeypatch.setattr(
        _backdoor_rounds, "generate_mailbox", lambda seed, owner, _mails: generate_mailbox(seed, owner, 40)
    )
    monkeypatch.setattr(
        _backdoor_rounds, "generate_test_mails", lambda seed, owners, _n: generate_test_mails(seed, owners, 200)
    )
    written = []
    for folder in ("a", "b"):
        run = Run(tmp_path / folder, quick=True, say=lambda _line: None)
        rows = list(backdoor.STUDY.run(run))
        write_files(backdoor.STUDY, rows, run)
        written.append((run.out / "table.csv").read_bytes())
    assert written[0] == written[1]
    success = {(row["attack"], row["rounds"]): float(row["spam let through"]) for row in rows if row["groups"] == 1}
    grouped = {(row["attack"], row["rounds"]): float(row["spam let through"]) for row in rows if row["groups"] == 5}
    assert grouped[BEYOND, 3] == pytest.approx(grouped[HONEST, 3], abs=0.02)  # the median follows no single group
    assert success[NO_CODING, 1] > 0.99
    assert success[HONEST, 3] < success[OBEYS, 3] < success[BEYOND, 3] - 0.1
    assert success[OBEYS, 3] <= success[PROVEN, 3] < success[OBEYS, 3] + 0.03
    accuracy = {float(row["test accuracy"]) for row in rows if row["rounds"] == 3 and row["groups"] == 1}
    assert max(accuracy) - min(accuracy) < 0.01  # other mail is judged as before
