"""The judge of all fault scenarios finds every kind of lie that it is there for."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.federated import initial_model, next_model
from core.protocol import SubmissionHeader
from core.round_sums import RoundAdder
from core.secagg.encoding import CohortSum
from faults.breaking import LEDGER_WRITES, WRITES, Breaker, Crash, break_store
from faults.crash_points import CLIENTS, RULES, points_of
from faults.oracle import Evidence, Noted, mean_of, violations
from faults.parties import Parties
from faults.surprises import surprises
from faults.world import PROVEN, World
from keyholder.ledger import Ledger
from server.records import FILE
from server.store import Store
from simulation.slot_task import known, slot_task


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Evidence]:
    """The files of an honest run of two rounds."""
    folder = tmp_path_factory.mktemp("honest")

    async def story() -> Evidence:
        (folder / "world").mkdir()
        world = World(parties, folder / "world", task, RULES)
        await world.start()
        await world.play()
        assert await world.end() == []
        ledgers = [world.ledger_of(name) for name in world.holders]
        server = world.aggregator.folder / FILE
        return Evidence(server, ledgers, parties.numbers(), 2, 2, world.receipts, world.opened)

    with known(slot_task(CLIENTS)) as task:
        parties = Parties(folder, clients=CLIENTS)
        yield asyncio.run(story())


@pytest.fixture
def evidence(honest: Evidence, tmp_path: Path) -> Evidence:
    """A copy of it, to tamper with."""
    ledgers = []
    for path in honest.ledgers:
        (tmp_path / path.parent.name).mkdir()
        ledgers.append(Path(shutil.copy(path, tmp_path / path.parent.name)))
    return replace(honest, server=Path(shutil.copy(honest.server, tmp_path)), ledgers=ledgers)


def change(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(statement, values)


def test_an_honest_run_has_nothing_wrong_with_it(evidence: Evidence) -> None:
    assert violations(evidence) == []
    assert len(list(evidence.receipts)) == 2 * 2 * CLIENTS
    assert evidence.opened == {(1, 1): [1.0] * CLIENTS, (2, 1): [1.0] * CLIENTS}


def test_a_receipt_for_an_update_that_is_not_on_the_disk_is_a_loss(evidence: Evidence) -> None:
    change(evidence.server, "UPDATE submissions SET bytes_up = NULL WHERE round = 1 AND client = 'client-2'")
    assert "lost: a receipt for submit of client-2 in round 1.1" in violations(evidence)


def test_a_receipt_for_another_commitment_is_a_loss(evidence: Evidence) -> None:
    wrong = Noted("client-1", 1, 1, "commit", bytes(32))
    assert violations(replace(evidence, receipts=[wrong])) == ["lost: a receipt for commit of client-1 in round 1.1"]


@pytest.mark.parametrize("slots", [[2.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]], ids=["twice", "missing"])
def test_a_client_that_is_in_the_model_twice_or_not_at_all_shows(evidence: Evidence, slots: list[float]) -> None:
    model = np.array(slots) / CLIENTS
    change(evidence.server, "UPDATE models SET vector = ? WHERE round = 1", model.tobytes())
    assert any(found.startswith("round 1: the model is not that of") for found in violations(evidence))


def test_a_model_that_is_off_by_the_last_bit_shows(evidence: Evidence) -> None:
    model = np.full(CLIENTS, np.nextafter(0.5, 1.0))
    change(evidence.server, "UPDATE models SET vector = ? WHERE round = 2", model.tobytes())
    assert any(found.startswith("round 2: the model is not that of") for found in violations(evidence))


@pytest.mark.parametrize("slots", [[2.0, 1.0, 1.0, 1.0], [0.0, 1.0, 1.0, 1.0]], ids=["twice", "missing"])
def test_a_sum_that_was_opened_with_a_client_twice_or_missing_shows(evidence: Evidence, slots: list[float]) -> None:
    assert any("are 1," in found for found in violations(replace(evidence, opened={(1, 1): slots})))


def test_a_cohort_below_the_minimum_shows(evidence: Evidence) -> None:
    assert any("contributors counted" in found for found in violations(replace(evidence, min_cohort=CLIENTS + 1)))


def test_a_round_that_was_opened_twice_shows(evidence: Evidence) -> None:
    others = []
    for path in evidence.ledgers:  # as many holders again, who opened it for another request
        other = Path(shutil.copy(path, path.with_name("another.sqlite")))
        change(other, "UPDATE releases SET request_sha256 = zeroblob(32) WHERE round = 1")
        others.append(other)
    both = replace(evidence, ledgers=[*evidence.ledgers, *others])
    assert "round 1 was opened for 2 different requests" in violations(both)


def test_a_key_that_served_two_attempts_shows(evidence: Evidence) -> None:
    released = [path for path in evidence.ledgers if holders_releases(path)]
    change(released[0], "UPDATE releases SET key_serial = 1 WHERE round = 2")
    change(released[1], "UPDATE releases SET key_serial = 1 WHERE round = 1")
    assert any(found.startswith("key 1 served the attempts") for found in violations(evidence))


def holders_releases(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute("SELECT count(*) FROM releases").fetchone()[0])


def test_a_ledger_whose_chain_was_changed_shows(evidence: Evidence) -> None:
    change(evidence.ledgers[0], "UPDATE entries SET content = '{}' WHERE number = 1")
    assert any("entry 1 of" in found for found in violations(evidence))


def test_an_endorsement_of_another_model_shows(evidence: Evidence) -> None:
    endorsed = "UPDATE models SET sha256 = zeroblob(32)"
    change(evidence.ledgers[0], endorsed)
    change(evidence.ledgers[1], endorsed)
    assert any(found.endswith("endorsed another model") for found in violations(evidence))


def test_a_run_that_calls_itself_completed_without_all_rounds_shows(evidence: Evidence) -> None:
    change(evidence.server, "UPDATE attempts SET state = 'abandoned' WHERE round = 2")
    assert any("only [1] are" in found for found in violations(evidence))


def test_the_judges_arithmetic_is_the_published_rule() -> None:
    model = np.array([0.1, 0.2, 0.7])
    theirs = next_model(model, CohortSum(2, np.array([1.0, 0.0, 1.0]), 2, 0.0, 2))
    assert mean_of(model, [1, 3]).tobytes() == theirs.tobytes()


# ------------------------------------------------------------------------------------------ breaking


def test_every_method_of_the_store_that_commits_can_be_broken() -> None:
    assert methods_that_use(Store, "_commit") - {"__init__"} == set(WRITES)


def test_a_run_without_a_fault_passes_the_points_of_all_usual_writes(tmp_path: Path) -> None:
    with known(slot_task(CLIENTS)) as task:
        parties = Parties(tmp_path, clients=CLIENTS)
        (tmp_path / "world").mkdir()
        points = set(points_of(parties, tmp_path / "world", task))
    usual = {"begin_run", "enrol", "open_attempt", "add_commitment", "announce_list", "add_payload", "keep_opened",
             "complete_attempt", "end_run", "set_state closing", "set_state releasing"}  # fmt: skip
    assert {f"{when} {write}" for write in usual for when in ("before", "after")} <= points
    assert {"before answer Commit", "after answer Submit", "before answer Release", "after answer Join"} <= points


@pytest.mark.parametrize(("when", "kept"), [("before", False), ("after", True)])
def test_a_crash_before_a_commit_keeps_nothing_and_after_it_everything(tmp_path: Path, when: str, kept: bool) -> None:
    store = Store(tmp_path)
    breaker = Breaker(f"{when} enrol")
    break_store(store, breaker)
    with pytest.raises(Crash):
        store.enrol("run", "client-1")
    with pytest.raises(Crash):  # nothing of a dead process writes any more
        store.enrol("run", "client-2")
    store.close()
    again = Store(tmp_path)
    assert again.is_enrolled("run", "client-1") is kept
    assert not again.is_enrolled("run", "client-2")
    again.close()


def test_ledger_writes_are_all_that_append() -> None:
    assert methods_that_use(Ledger, "_append") == {*LEDGER_WRITES, "record_start"} - {"began"}


def methods_that_use(kind: type, name: str) -> set[str]:
    codes = {method: getattr(found, "__code__", None) for method, found in vars(kind).items()}
    return {method for method, code in codes.items() if code is not None and name in code.co_names}


# ------------------------------------------------------------------------------------------ a product that is wrong


def broken_run(folder: Path, sabotage: Callable[[World], None]) -> list[str]:
    """What the judge says of a run whose aggregator is not right."""

    async def story() -> list[str]:
        (folder / "world").mkdir()
        world = World(parties, folder / "world", task, RULES)
        sabotage(world)
        await world.start()
        await world.play(most=3000)
        return await world.end()

    with known(slot_task(CLIENTS)) as task:
        parties = Parties(folder, clients=CLIENTS)
        return asyncio.run(story())


def test_an_aggregator_that_acknowledges_and_does_not_store_is_caught(tmp_path: Path) -> None:
    def sabotage(world: World) -> None:
        store = world.aggregator.store
        add = store.add_payload

        def forgetful(header: SubmissionHeader, client: str, payload: bytes, bytes_up: int) -> bool:
            return client == "client-1" or add(header, client, payload, bytes_up)

        vars(store)["add_payload"] = forgetful

    assert "lost: a receipt for submit of client-1 in round 1.1" in broken_run(tmp_path, sabotage)


def test_an_aggregator_that_adds_an_update_twice_is_caught(tmp_path: Path) -> None:
    def sabotage(world: World) -> None:
        def twice(*about: Any) -> RoundAdder:
            adder = RoundAdder(*about)
            add = adder.add
            vars(adder)["add"] = lambda *update: (add(*update), add(*update))
            return adder

        patch.setattr("server.attempt.RoundAdder", twice)

    with pytest.MonkeyPatch.context() as patch:
        found = broken_run(tmp_path, sabotage)
    assert any("declined: wrong_sum" in sentence for sentence in found)


def test_the_starting_model_of_the_task_is_all_zero() -> None:
    assert not initial_model(slot_task(5), 7).any()


async def test_a_lying_client_is_left_out_and_one_that_did_not_lie_is_not_accused(tmp_path: Path) -> None:
    with known(slot_task(CLIENTS)) as task:
        parties = Parties(tmp_path, clients=CLIENTS)
        (tmp_path / "world").mkdir()
        world = World(parties, tmp_path / "world", task, RULES, scheme=PROVEN)
        await world.start()
        world.lies["client-2"] = "another proof"
        await world.play()
        assert surprises(world) == []
        assert world.run.results[0].contributors == CLIENTS - 1
        world.lies.clear()
        found = surprises(world)
        assert [sentence for sentence in found if sentence.startswith("client-2 is said to have sent a false update")]
        assert [sentence for sentence in found if sentence.startswith("client-2 ended: Refused")]
        await world.close()
