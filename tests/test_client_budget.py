"""A client's privacy budget: one for its data over all runs, charged before it commits, and refused when it is spent."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from federations import POLICY, RUN, SmallFederation
from private_attempts import OTHER, private_round
from refusals import refused_with
from typer.testing import CliRunner

from client.__main__ import app
from client.budget import FILE, Budget
from client.memory import Memory
from core.errors import Reason, StorageError
from core.protocol import RoundDescription
from core.wire.messages import commitment_from_bytes


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory):
    federation = SmallFederation(tmp_path_factory.mktemp("budget") / "federation")
    yield federation
    federation.close()


def take_part(federation, memory, attempt, *, policy=POLICY, number=1):
    """Have a client answer a round; return its commitment."""
    client = federation.participant(number, memory=memory, policy=policy, run=attempt.id.run)
    description = client.verify(attempt.signed)
    return commitment_from_bytes(client.answer(description, attempt.signed, attempt.model).commitment.body)


def own_cost(memory: Memory) -> float:
    return memory.budget.own.cost


# ------------------------------------------------------------------------------------------------ charging


def test_a_round_is_charged_before_the_commitment_and_its_entry_is_in_it(federation):
    memory = Memory()
    first = take_part(federation, memory, private_round(federation))
    second = take_part(federation, memory, private_round(federation, run=OTHER))
    assert (first.memory.number, second.memory.number) == (1, 2)
    assert first.memory.hash != second.memory.hash
    assert own_cost(memory) == pytest.approx(2.0)
    assert (memory.budget.own.rounds, memory.budget.own.runs) == (2, 2)


def test_all_attempts_at_a_round_are_charged_once_with_the_most_expensive(federation):
    memory = Memory()
    numbers = [
        take_part(federation, memory, private_round(federation, attempt=attempt, noise=noise)).memory.number
        for attempt, noise in ((1, 2.0), (2, 2.0), (3, 1.0), (4, 4.0))
    ]
    assert numbers == [1, 1, 2, 2], "only the third costs more than what was charged"
    assert own_cost(memory) == pytest.approx(1.0)
    assert memory.budget.own.rounds == 1


def test_a_run_of_the_same_name_in_another_federation_is_charged_again(federation):
    memory, description = Memory(), private_round(federation).description
    for each in (description, replace(description, federation="e" * 16)):
        memory.budget.charge(each, 1.0, lambda _cost: None)
    assert own_cost(memory) == 2.0


def test_the_noise_of_those_who_may_collude_is_not_counted_on_even_if_the_round_does_not_say_so(federation):
    description = private_round(federation).description
    three = replace(description, min_cohort=3)
    assert description.cost(0) == pytest.approx(1.0)
    assert three.cost(1) == pytest.approx(3 / 2)
    assert description.cost(2) == inf


# ------------------------------------------------------------------------------------------------ refusing


def test_the_round_that_would_exceed_the_budget_is_refused_in_a_sentence_and_not_charged(federation):
    memory, policy = Memory(), replace(POLICY, max_epsilon=7.0)
    for run in (RUN, OTHER):
        take_part(federation, memory, private_round(federation, run=run), policy=policy)
    with refused_with(
        Reason.BUDGET_SPENT, "would bring what generated has cost in privacy to an epsilon of 8.38.* max-epsilon is 7.0"
    ):
        take_part(federation, memory, private_round(federation, run="a" * 16), policy=policy)
    assert own_cost(memory) == pytest.approx(2.0)


def test_a_round_that_just_fits_is_taken_part_in(federation):
    memory, policy = Memory(), replace(POLICY, max_epsilon=4.38)
    take_part(federation, memory, private_round(federation), policy=policy)
    take_part(federation, memory, private_round(federation, attempt=2), policy=policy)


def test_a_round_without_privacy_costs_without_bound_and_is_refused_where_there_is_a_limit(federation):
    memory = Memory()
    with refused_with(Reason.BUDGET_SPENT, "to no bound"):
        take_part(federation, memory, private_round(federation, noise=0), policy=replace(POLICY, max_epsilon=1e6))
    assert take_part(federation, memory, private_round(federation, noise=0)).memory.number == 1
    assert own_cost(memory) == inf
    with refused_with(Reason.BUDGET_SPENT):
        take_part(federation, memory, private_round(federation, run=OTHER), policy=replace(POLICY, max_epsilon=1e6))


# ------------------------------------------------------------------------------------------------ on the disk


def test_the_budget_is_kept_when_the_client_starts_again_and_by_data_set(federation, tmp_path):
    with closing(Memory(tmp_path / "m", Budget(tmp_path / "b", "mail"))) as memory:
        take_part(federation, memory, private_round(federation))
    with closing(Memory(tmp_path / "m", Budget(tmp_path / "b", "other mail"))) as memory:
        assert own_cost(memory) == 0
        take_part(federation, memory, private_round(federation, run=OTHER))
    with closing(Budget(tmp_path / "b", "mail")) as budget:
        assert [(each.dataset, round(each.cost, 6)) for each in budget.spent()] == [("mail", 1.0), ("other mail", 1.0)]


def test_two_identities_may_share_a_budget_at_the_same_time(federation, tmp_path):
    policy, shared = replace(POLICY, max_epsilon=5.0), tmp_path / "shared"
    one, two = (Memory(tmp_path / name, Budget(shared, "mail")) for name in ("one", "two"))
    with closing(one), closing(two):
        take_part(federation, one, private_round(federation), policy=policy)
        with refused_with(Reason.BUDGET_SPENT):
            take_part(federation, two, private_round(federation, run=OTHER), policy=policy, number=2)


def test_charges_of_two_processes_do_not_overtake_each_other(federation, tmp_path):
    one, two = Budget(tmp_path), Budget(tmp_path)
    first, second = (private_round(federation, run=run).description for run in (RUN, OTHER))
    with closing(one), closing(two):
        heads = [budget.charge(each, 1.0, lambda _cost: None) for budget, each in ((one, first), (two, second))]
    assert [head.number for head in heads] == [1, 2]
    Budget(tmp_path).close()


@pytest.mark.parametrize(
    "damage", ["UPDATE charges SET cost = 0.001 WHERE number = 1", "DELETE FROM charges WHERE number = 1",
               "UPDATE charges SET dataset = 'other'", "UPDATE identity SET id = x'00'"],
)  # fmt: skip
def test_a_budget_that_was_changed_is_not_used(federation, tmp_path, damage):
    with closing(Budget(tmp_path)) as budget:
        for run in (RUN, OTHER):
            budget.charge(private_round(federation, run=run).description, 1.0, lambda _cost: None)
        with budget._database.commit() as db:
            db.execute(damage)
    with pytest.raises(StorageError, match="does not follow from the one before: the budget was changed or damaged"):
        Budget(tmp_path)


def test_two_budgets_with_the_same_charges_have_different_entries(federation):
    description: RoundDescription = private_round(federation).description
    assert Budget().charge(description, 1.0, lambda _cost: None) != Budget().charge(description, 1.0, lambda _: None)


# ------------------------------------------------------------------------------------------------ the command


def shown(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["budget", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def spent_twice(federation: SmallFederation, identity: Path) -> None:
    with closing(Budget(identity / "memory" / "budget", "mail")) as budget:
        for run in (RUN, OTHER):
            budget.charge(private_round(federation, run=run).description, 1.0, lambda _cost: None)


def test_the_command_shows_what_was_spent_and_what_is_left(federation, tmp_path):
    spent_twice(federation, tmp_path)
    (tmp_path / "policy.toml").write_text("max-epsilon = 8\nmax-delta = 1e-5\nmin-cohort = 7\n")
    assert shown("--identity", tmp_path) == (
        "mail: 2 rounds of 2 runs, epsilon 6.573 at delta 1e-05; 1.427 of 8 left\n"
    )


def test_the_command_gives_json_with_the_names_that_were_agreed_on(federation, tmp_path):
    spent_twice(federation, tmp_path)
    folder = tmp_path / "memory" / "budget"
    (found,) = json.loads(shown("--identity", tmp_path / "nowhere", "--budget", folder, "--json"))["datasets"]
    assert found == {
        "dataset": "mail", "epsilon": pytest.approx(6.573, abs=1e-3), "delta": 1e-5, "max_epsilon": None, "rounds": 2,
        "runs": 2,
    }  # fmt: skip


def test_the_command_says_so_where_there_is_no_budget(tmp_path):
    result = CliRunner().invoke(app, ["budget", "--identity", str(tmp_path)])
    assert result.exit_code == 1
    assert f"there is no budget in {tmp_path / 'memory' / 'budget'}" in " ".join(result.output.split())
    assert not (tmp_path / "memory" / "budget" / FILE).exists()
