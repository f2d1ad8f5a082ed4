"""Groups over the parties' own protocol: who is in which, what is opened, who refuses what, and which model follows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from asking import endorse, no_fetch, open_sum, restarted, sign_request
from federations import HonestAttempt, small_federation
from in_process import BITS, OPTIONS, RULES, Start, mailbox
from parties import Parties
from recomputation import SPAM, VALUES
from refusals import refused_with

from core.errors import Reason
from core.federated import encoding_for
from core.local_settings import LocalSettings, OptimiserName
from core.protocol import ClosedList, digest
from core.robust import Grouping, Robust
from core.round_sums import RoundAdder, groups_of
from core.secagg.opening import combine
from core.server_rules import RuleName, ServerRule
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import list_statement
from core.wire.messages import certificate_from_bytes, description_from_bytes, description_to_bytes
from keyholder.difference import DifferenceRule, sums_told
from keyholder.holder import KeyHolder
from keyholder.orders import ReleaseOrder
from results.record import RoundRecord
from results.verifying import WrongRecordError, verify
from server import states
from server.settings import RunSettings
from simulation.in_process import Options, play
from simulation.virtual.block import BlockRunner
from simulation.virtual.population import Generated
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

NINE = replace(RULES, groups=3, min_cohort=2, max_cohort=12, target=9)
SIX = tuple(f"client-{number}" for number in range(1, 7))
SEVEN = (*SIX, "client-7")
federation = small_federation(clients=6)
seven = small_federation(clients=7)


@pytest.fixture
def attempt(federation: Any) -> HonestAttempt:
    """Six clients, three groups of two; client i changes weight i - 1 by 1."""
    return HonestAttempt(federation, federation.deal()[0], grouping=Grouping(3))


def groups_in(attempt: HonestAttempt, names: Sequence[str] = SIX) -> list[list[str]]:
    return groups_of(attempt.description, attempt.digest, attempt.commitment_digests(), names)


# ------------------------------------------------------------------------------------------------ who is in which


def test_the_closed_list_alone_decides_by_sha_256_of_its_statement_and_each_name(attempt: HonestAttempt) -> None:
    statement = list_statement(attempt.digest, attempt.commitment_digests())
    domain = b"grokfed division v1"
    parts = b"".join(len(part).to_bytes(8, "big") + part for part in (domain, statement))
    seed = hashlib.sha256(parts).digest()
    order = sorted(SIX, key=lambda name: hashlib.sha256(seed + b" " + name.encode()).digest())
    assert groups_in(attempt) == [sorted(order[:1] + order[3:4]), sorted(order[1:5:3]), sorted(order[2::3])]


def test_another_commitment_of_one_client_divides_everyone_anew(attempt: HonestAttempt) -> None:
    seen = {str(groups_in(attempt))}
    for _ in range(9):
        attempt.commit_to("client-1", attempt.encrypt(1))
        seen.add(str(groups_in(attempt)))
    assert len(seen) > 5


def test_a_client_that_drops_out_leaves_groups_whose_sizes_differ_by_one_at_most(attempt: HonestAttempt) -> None:
    assert sorted(map(len, groups_in(attempt, SIX[1:]))) == [1, 2, 2]
    assert groups_in(attempt, SIX[::-1]) == groups_in(attempt), "the order in which they are named says nothing"


def test_groups_are_in_the_signed_description_and_come_back_from_it(attempt: HonestAttempt) -> None:
    made = replace(attempt.description, grouping=Grouping(3, Robust.trimmed_mean))
    assert description_from_bytes(description_to_bytes(made)) == made
    for groups, robust in ((2, "median"), (10_001, "median"), (3, "mean"), (3, "")):
        message = pb.RoundDescription.FromString(description_to_bytes(made))
        message.grouping.groups, message.grouping.robust = groups, robust
        with refused_with(Reason.MALFORMED):
            description_from_bytes(message.SerializeToString(deterministic=True))


def test_without_groups_a_description_has_the_bytes_that_it_had(attempt: HonestAttempt) -> None:
    message = pb.RoundDescription.FromString(description_to_bytes(replace(attempt.description, grouping=None)))
    assert not message.HasField("grouping")


# ------------------------------------------------------------------------------------------------ key holders


def test_holders_open_the_sum_of_each_group(federation: Any, attempt: HonestAttempt, tmp_path: Path) -> None:
    order = attempt.release_order()
    partials = {n: open_sum(federation.key_holder(n, tmp_path / str(n)), order, attempt.fetch).partial for n in (1, 2)}
    opened = combine(attempt.description.key, 2, 3, attempt.total(SIX), partials)
    count = attempt.description.encoding.plaintexts
    for place, group in enumerate(groups_in(attempt)):
        part = opened.plaintexts[place * count : (place + 1) * count]
        changed = attempt.description.encoding.decode(part, 2).delta_sum[:6]
        assert [f"client-{at + 1}" for at in np.flatnonzero(changed)] == group
    assert len(opened.plaintexts) == 3 * count


def test_a_holder_endorses_the_median_of_the_groups_and_nothing_else(
    federation: Any, attempt: HonestAttempt, tmp_path: Path
) -> None:
    """Each weight is changed by a half in the mean of one group of three, and not at all in their median."""
    holder = federation.key_holder(1, tmp_path / "1")
    assert np.array_equal(attempt.next_model(attempt.opened(), 6), attempt.model)
    mean = attempt.model.copy()
    mean[:6] += 1 / 6
    with refused_with(Reason.WRONG_MODEL):
        endorse(holder, attempt, model_digest=digest(np.ascontiguousarray(mean, dtype="<f8").tobytes()))
    assert endorse(holder, attempt)


def divided_as_it_likes(attempt: HonestAttempt) -> ReleaseOrder:
    """The sums of an aggregator that puts clients into other groups than the list says."""
    groups = groups_in(attempt)
    groups[0][0], groups[1][0] = groups[1][0], groups[0][0]
    adder = RoundAdder(attempt.description, groups)
    for name in SIX:
        adder.add(name, attempt.payloads[name])
    return attempt.release_order(sum_digest=digest(adder.payload()))


def test_a_false_assignment_is_refused_and_the_right_one_is_signed(
    federation: Any, attempt: HonestAttempt, tmp_path: Path
) -> None:
    holder = federation.key_holder(1, tmp_path / "1")
    with refused_with(Reason.WRONG_SUM):
        sign_request(holder, divided_as_it_likes(attempt), attempt.fetch)
    assert [kind for _, kind, _ in holder.ledger.entries()] == []
    assert sign_request(holder, attempt.release_order(), attempt.fetch)


def test_a_holder_refuses_a_group_below_the_minimum_cohort(
    federation: Any, attempt: HonestAttempt, tmp_path: Path
) -> None:
    holder: KeyHolder = federation.key_holder(1, tmp_path / "1")
    with refused_with(Reason.COHORT_TOO_SMALL, "5 contributors in 3 groups; sums of fewer than 2 are not opened"):
        sign_request(holder, attempt.release_order(SIX[1:]), no_fetch)
    assert sign_request(holder, attempt.release_order(), attempt.fetch)


def test_a_holder_refuses_a_list_that_is_too_short_for_its_groups(federation: Any, tmp_path: Path) -> None:
    holder = federation.key_holder(1, tmp_path / "1")
    key = federation.deal()[0]
    short = HonestAttempt(federation, key, clients=SIX[:5], grouping=Grouping(3))
    with refused_with(Reason.COHORT_TOO_SMALL):
        holder.sign_list(short.list_order())
    assert holder.sign_list(HonestAttempt(federation, key, grouping=Grouping(3)).list_order())


def test_a_holder_whose_own_minimum_is_larger_asks_it_of_each_group(
    federation: Any, attempt: HonestAttempt, tmp_path: Path
) -> None:
    policy = replace(federation.key_holder(1, tmp_path / "1")._policy, min_cohort=3)
    with refused_with(Reason.COHORT_TOO_SMALL):
        federation.key_holder(2, tmp_path / "2", policy=policy).sign_list(attempt.list_order())


def test_a_description_with_groups_and_a_rule_that_needs_one_sum_is_refused(federation: Any, tmp_path: Path) -> None:
    rule, key = ServerRule(RuleName.scaffold, population=6), federation.deal()[0]
    bits = certificate_from_bytes(key.body).key.plaintext_bits
    described = {
        "rule": rule,
        "local": LocalSettings(learning_rate=0.5, optimiser=OptimiserName.SGD),
        "encoding": encoding_for(SPAM, rule.numbers(VALUES), bits, max_cohort=8),
        "state_digest": rule.state_digest(rule.initial_state(VALUES)),
    }
    holder = federation.key_holder(1, tmp_path / "1")
    with refused_with(Reason.LOCAL_TRAINING, "--groups is 3, and --rule scaffold needs the mean of one sum"):
        holder.sign_list(HonestAttempt(federation, key, grouping=Grouping(3), **described).list_order())
    assert holder.sign_list(HonestAttempt(federation, key, **described).list_order())


def test_the_difference_rule_compares_every_group_with_every_earlier_one(seven: Any, tmp_path: Path) -> None:
    """Of seven clients one group has three; it tells of one client where an earlier group has the two others."""
    found: list[bool] = []
    for number in range(20):
        first, second = (
            HonestAttempt(seven, key, round_number=at, grouping=Grouping(3)) for at, key in enumerate(seven.deal(2), 1)
        )
        earlier = [set(group) for group in groups_in(first, SEVEN)]
        similar = any(len(set(group) ^ other) == 1 for group in groups_in(second, SEVEN) for other in earlier)
        if similar in found:
            continue
        found.append(similar)
        reports = seven.key_holder(1, tmp_path / f"reports {number}", rule=DifferenceRule.REPORT)
        assert sign_request(reports, first.release_order(), first.fetch).exposure == ""
        said = sign_request(reports, second.release_order(), second.fetch).exposure
        assert ("together with the sum of round 1 it tells what 1 of the clients sent" in said) == similar
        enforces = seven.key_holder(2, tmp_path / f"enforces {number}", rule=DifferenceRule.ENFORCE)
        sign_request(enforces, first.release_order(), first.fetch)
        with refused_with(Reason.TOO_SIMILAR) if similar else nullcontext():
            sign_request(enforces, second.release_order(), second.fetch)
    assert sorted(found) == [False, True]


def test_a_release_makes_the_sums_of_the_groups_and_of_all_clients_known() -> None:
    assert sums_told(["a", "b"]) == [frozenset("ab")]
    assert sums_told([["a", "b"], ["c", "d"]]) == [frozenset("ab"), frozenset("cd"), frozenset("abcd")]


def test_a_ledger_with_groups_is_opened_again_and_remembers_each(
    federation: Any, attempt: HonestAttempt, tmp_path: Path
) -> None:
    holder = federation.key_holder(1, tmp_path / "1")
    sign_request(holder, attempt.release_order(), attempt.fetch)
    again = restarted(federation, holder, tmp_path / "1")
    assert [each for _, _, each in again.ledger.latest_cohorts(9)] == sums_told(groups_in(attempt))


# ------------------------------------------------------------------------------------------------ clients


def closed(attempt: HonestAttempt) -> ClosedList:
    digests = attempt.commitment_digests()
    return ClosedList(1, 1, attempt.digest, digests, attempt.list_signatures())


@pytest.mark.parametrize(("others", "uploads"), [(5, True), (4, False)])
def test_a_client_uploads_only_if_each_group_has_its_minimum_cohort(
    federation: Any, others: int, uploads: bool
) -> None:
    client = federation.participant(1)
    key, names = federation.deal()[0], SIX[: others + 1]
    attempt = HonestAttempt(federation, key, clients=names, grouping=Grouping(3))
    description = client.verify(attempt.signed)
    client.verify_model(description, attempt.model, ())
    submission = client.answer(description, attempt.signed, attempt.model)
    attempt.commitments["client-1"] = submission.commitment
    if uploads:
        client.verify_list(closed(attempt), submission)
        return
    with refused_with(
        Reason.COHORT_TOO_SMALL, "5 clients in 3 groups are on the closed list; this client wants at least 2 in each"
    ):
        client.verify_list(closed(attempt), submission)


# ------------------------------------------------------------------------------------------------ whole runs


@pytest.mark.parametrize("robust", Robust)
async def test_the_model_is_the_robust_mean_of_the_groups_that_everyone_computes(start: Start, robust: Robust) -> None:
    federation = await start(replace(NINE, rounds=2), clients=9, robust=robust)
    await federation.finish()
    assert [result.contributors for result in federation.run.results] == [9, 9]


async def test_encrypted_and_proven_groups_give_that_model_too(start: Start) -> None:
    rules = replace(NINE, min_cohort=2, target=6)
    federation = await start(rules, clients=6, scheme="paillier", bounded=True)
    await federation.finish()


async def test_a_client_that_drops_out_after_the_list_leaves_its_group_smaller(start: Start) -> None:
    federation = await start(NINE, clients=9)
    await federation.play_until(states.Uploading)
    await federation.clients["client-4"].stop()
    await federation.finish()
    assert federation.run.results[0].contributors == 8


async def test_a_round_whose_groups_would_be_too_small_is_abandoned(start: Start) -> None:
    federation = await start(replace(NINE, min_cohort=3, max_attempts=1), clients=9)
    await federation.play_until(states.Uploading)
    await federation.clients["client-4"].stop()
    await federation.play()
    assert isinstance(federation.phase, states.Failed)
    assert "8 updates came before the deadline, 9 are needed" in federation.phase.message


@pytest.mark.parametrize("phase", [states.Committing, states.Uploading, states.Releasing, states.Endorsing])
async def test_the_aggregator_goes_on_where_it_was(start: Start, phase: type[states.Phase]) -> None:
    federation = await start(NINE, clients=9)
    await federation.play_until(phase)
    await federation.restart_aggregator()
    await federation.finish()
    assert federation.run.results[0].contributors == 9


async def test_an_aggregator_that_divides_as_it_likes_opens_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = await start(replace(NINE, max_attempts=1), clients=9)
    honest = groups_of
    turned = lambda *about: [group[1:] + other[:1] for group, other in _pairs(honest(*about))]  # noqa: E731
    monkeypatch.setattr("server.attempt.groups_of", turned)
    await federation.play()
    assert isinstance(federation.phase, states.Failed)
    assert "the aggregator's sum is not the sum of the contributions" in federation.phase.message
    for holder in federation.holders.values():
        assert not any(kind == "release" for _, kind, _ in holder.session.holder.ledger.entries())


def _pairs(groups: list[list[str]]) -> list[tuple[list[str], list[str]]]:
    return list(zip(groups, [*groups[1:], groups[0]], strict=True))


async def test_the_history_counts_the_answers_of_all_groups(start: Start) -> None:
    """The twenty mails of each of nine clients are answered once, whichever group they are in."""
    federation = await start(NINE, clients=9)
    await federation.finish()
    result = federation.run.results[0]
    counts = [
        getattr(result, f"cohort_{kind}_{what}") for kind in ("true", "false") for what in ("positives", "negatives")
    ]
    assert sum(counts) == 9 * len(mailbox(0, 1)) == 180


@pytest.mark.slow
def test_processes_open_the_sums_of_groups_and_say_so(parties: Parties, tmp_path: Path) -> None:
    run, usual = tmp_path / "run", ("--key-bits", "256", "--insecure-demo-keys", "--min-cohort", "2")
    arguments = ("--clients", "6", "--groups", "3", "--robust", "trimmed-mean", "--rounds", "2", *usual, "--out", run)
    code, said = parties.start("simulation", *arguments).end()
    assert code == 0, said
    groups = "every round opens 3 sums of at least 2 clients each instead of one, and the trimmed-mean of their means"
    assert groups in said
    assert groups.replace("every", "Groups: every") in (run / "report.md").read_text()
    code, said = parties.start("results", "verify", run).end()
    assert (code, "2 rounds with 12 contributions: all signatures, sums and models hold" in said) == (0, True), said


async def test_given_the_same_division_virtual_clients_arrive_at_the_same_model(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    federation = await start(NINE, clients=9, options=replace(OPTIONS, load=lambda _seed, number: whole(number)))
    await federation.play()
    groups = groups_of(*federation.signed_list(), list(federation.clients))
    numbers = [[federation.identities[name].number for name in group] for group in groups]
    monkeypatch.setattr(Grouping, "divide", lambda *_: numbers)
    rules = replace(NINE, target=None, max_cohort=9)
    settings = RunSettings("spam", "plain", BITS, 0, rules, insecure_demo_keys=True)
    run = VirtualRun(settings, SPAM, Generated(SPAM, 0, 9))
    with WorkerPool(BlockRunner(SPAM, Generated(SPAM, 0, 9), 0), 1, len(run.model), run.slots, 9) as pool:
        list(run.rounds(pool, lambda _clients: None))
    assert np.array_equal(run.model, federation.store.model(federation.run.context.id, 1)[1])


def whole(number: int) -> Any:
    return SPAM.prepare(SPAM.generate(0, number))


# ------------------------------------------------------------------------------------------------ the record


def records(federation: Any) -> list[RoundRecord]:
    return [RoundRecord.from_line(line, "the record") for line in federation.record]


def test_a_record_with_groups_is_verified_and_one_divided_otherwise_is_not() -> None:
    played = play(SPAM, clients=15, rounds=1, scheme="plain", options=Options(groups=3, robust=Robust.median))
    registrar = played.identities["server"].registrar
    (verified,) = verify(records(played), registrar)
    assert played.model is not None
    assert np.array_equal(verified.model, played.model)
    (record,) = records(played)
    third = len(record.opened) // 3
    swapped = record.opened[third:] + record.opened[:third]
    assert swapped != record.opened
    with pytest.raises(WrongRecordError, match="round 1 does not hold"):
        list(verify([replace(record, opened=swapped)], registrar))
