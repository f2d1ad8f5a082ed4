"""The key holder opens the sum of a whole cohort once, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keyholder.spare import SpareKey

from core.errors import Reason, Refused, SettingsError
from core.protocol import AttemptId, Contribution, RoundDescription, digest
from core.secagg.decryption import generate_decryptor
from core.secagg.encoding import Encoding, Update
from core.secagg.roles import adder_for, encryptor_for
from core.secagg.scheme import Decryptor, Policy, split_payload
from keyholder.holder import KeyHolder, ReleaseOrder
from keyholder.ledger import Ledger

ID = AttemptId("0123456789abcdef", 1, 1)
BITS = 256


class Round:
    """A round of honest clients, client i writing i + 1 into slot i, as an aggregator would present it."""

    def __init__(self, holder: KeyHolder, clients: str = "abc", id: AttemptId = ID, scheme: str = "paillier") -> None:
        key = holder.key_for(id, scheme, BITS)
        encoding = Encoding(values=4, plaintext_bits=key.plaintext_bits, max_cohort=5, fraction_bits=0)
        self.description = RoundDescription(id, "spam", digest(b"model"), key, encoding, 2, 60.0)
        self.payloads = {
            client: encryptor_for(key, 2).encrypt(encoding.encode(Update(np.eye(4)[place] * (place + 1), 1, 0.5, 1)))
            for place, client in enumerate(clients)
        }

    def fetch(self, id: AttemptId, client: str, length: int) -> bytes:
        return self.payloads[client]

    def order(self, clients: str = "abc", request: bytes = b"request") -> ReleaseOrder:
        adder = adder_for(self.description.key, self.description.encoding.plaintexts)
        for client in clients:
            adder.add(self.payloads[client])
        contributions = tuple(Contribution(client, digest(self.payloads[client])) for client in clients)
        return ReleaseOrder(self.description, contributions, digest(adder.payload()), digest(request))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger(tmp_path)
    yield ledger
    ledger.close()


@pytest.fixture
def holder(ledger: Ledger) -> KeyHolder:
    return KeyHolder(Policy(min_cohort=2, insecure_demo_keys=True, allow_plain=True), ledger)


def refused(holder: KeyHolder, the_round: Round, order: ReleaseOrder) -> Reason:
    with pytest.raises(Refused) as caught:
        holder.open_sum(order, the_round.fetch)
    return caught.value.reason


def test_an_honest_cohorts_sum_is_opened(holder: KeyHolder) -> None:
    the_round = Round(holder)
    release = holder.open_sum(the_round.order(), the_round.fetch)
    plaintexts = split_payload(release.payload, the_round.description.encoding.plaintexts, BITS // 8)
    assert the_round.description.encoding.decode(plaintexts, 3).delta_sum.tolist() == [1.0, 2.0, 3.0, 0.0]


def test_the_same_request_gets_the_same_answer_even_after_a_restart(holder: KeyHolder, ledger: Ledger) -> None:
    the_round = Round(holder)
    answer = holder.open_sum(the_round.order(), the_round.fetch).payload
    reborn = KeyHolder(Policy(insecure_demo_keys=True), ledger)
    assert holder.open_sum(the_round.order(), the_round.fetch).payload == answer
    assert reborn.open_sum(the_round.order(), the_round.fetch).payload == answer


def test_a_round_is_not_opened_for_a_second_different_request(holder: KeyHolder) -> None:
    the_round = Round(holder)
    holder.open_sum(the_round.order(), the_round.fetch)
    assert refused(holder, the_round, the_round.order("ab", b"n - 1")) is Reason.ALREADY_RELEASED


def test_another_attempt_at_an_opened_round_is_not_opened(holder: KeyHolder) -> None:
    first = Round(holder)
    holder.open_sum(first.order(), first.fetch)
    second = Round(holder, id=AttemptId(ID.run, 1, 2))
    assert refused(holder, second, second.order(request=b"again")) is Reason.ALREADY_RELEASED


def test_the_key_is_gone_after_its_one_use(holder: KeyHolder) -> None:
    the_round = Round(holder)
    holder.open_sum(the_round.order(), the_round.fetch)
    assert ID not in holder._keys


def test_a_single_contribution_is_not_opened(holder: KeyHolder) -> None:
    the_round = Round(holder)
    assert refused(holder, the_round, the_round.order("a")) is Reason.COHORT_TOO_SMALL


def test_the_holders_own_minimum_stands_above_the_aggregators(ledger: Ledger) -> None:
    holder = KeyHolder(Policy(min_cohort=4, insecure_demo_keys=True), ledger)
    the_round = Round(holder)
    assert refused(holder, the_round, the_round.order()) is Reason.COHORT_TOO_SMALL


def test_a_client_named_twice_does_not_make_a_cohort(holder: KeyHolder) -> None:
    the_round = Round(holder)
    assert refused(holder, the_round, the_round.order("aa")) is Reason.DUPLICATE


def test_the_same_ciphertexts_under_two_names_do_not_make_a_cohort(holder: KeyHolder) -> None:
    the_round = Round(holder)
    the_round.payloads["b"] = the_round.payloads["a"]
    assert refused(holder, the_round, the_round.order("ab")) is Reason.DUPLICATE


def test_without_encryption_two_clients_may_well_send_the_same(holder: KeyHolder) -> None:
    the_round = Round(holder, scheme="plain")
    the_round.payloads["b"] = the_round.payloads["a"]
    assert holder.open_sum(the_round.order("ab"), the_round.fetch).payload


def test_another_payload_than_the_listed_one_is_not_added(holder: KeyHolder) -> None:
    the_round = Round(holder)
    order = the_round.order()
    the_round.payloads["c"] = the_round.payloads["b"]
    assert refused(holder, the_round, order) is Reason.WRONG_DIGEST


def test_a_sum_of_something_else_is_not_opened(holder: KeyHolder) -> None:
    the_round = Round(holder)
    order = replace(the_round.order(), sum_digest=digest(b"one client alone"))
    assert refused(holder, the_round, order) is Reason.WRONG_DIGEST


def test_malformed_ciphertexts_are_not_opened(holder: KeyHolder) -> None:
    the_round = Round(holder)
    size = BITS // 4
    the_round.payloads["c"] = (1).to_bytes(size, "big") + the_round.payloads["c"][size:]
    assert refused(holder, the_round, the_round.order()) is Reason.BAD_CIPHERTEXT


def test_a_scaled_contribution_shows_in_the_counters_and_nothing_is_opened(holder: KeyHolder) -> None:
    the_round = Round(holder)
    n = the_round.description.key.modulus
    numbers = split_payload(the_round.payloads["c"], the_round.description.encoding.plaintexts, BITS // 4)
    the_round.payloads["c"] = b"".join(pow(number, 2, n * n).to_bytes(BITS // 4, "big") for number in numbers)
    assert refused(holder, the_round, the_round.order()) is Reason.BAD_SUM
    assert ID in holder._keys, "a declined request must not use up the round"


def test_a_key_of_somebody_else_opens_nothing(holder: KeyHolder, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "other")
    other = Round(KeyHolder(Policy(insecure_demo_keys=True), ledger))
    Round(holder)
    assert refused(holder, other, other.order()) is Reason.UNKNOWN_KEY
    ledger.close()


def test_a_new_attempts_key_replaces_the_old_one(holder: KeyHolder) -> None:
    first = Round(holder)
    again = holder.key_for(ID, "paillier", BITS)
    assert again == first.description.key
    Round(holder, id=AttemptId(ID.run, 1, 2))
    assert refused(holder, first, first.order()) is Reason.UNKNOWN_KEY


def test_a_run_that_encrypts_nothing_needs_the_holders_own_consent(ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match="encrypts nothing"):
        KeyHolder(Policy(insecure_demo_keys=True), ledger).key_for(ID, "plain", BITS)


def test_small_keys_need_the_holders_own_insecure_flag(ledger: Ledger) -> None:
    with pytest.raises(SettingsError, match="256 bits can be broken"):
        KeyHolder(Policy(), ledger).key_for(ID, "paillier", BITS)


def test_the_key_of_an_attempt_comes_from_the_spare(ledger: Ledger) -> None:
    made = [generate_decryptor("paillier", BITS) for _ in range(2)]

    class Spare(SpareKey):
        def take(self, scheme: str, bits: int) -> Decryptor:
            return made.pop()

    expected = made[-1].public_key
    holder = KeyHolder(Policy(insecure_demo_keys=True), ledger, Spare())
    assert holder.key_for(ID, "paillier", BITS) == holder.key_for(ID, "paillier", BITS) == expected
    assert len(made) == 1
