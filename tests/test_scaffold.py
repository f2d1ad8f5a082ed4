"""SCAFFOLD: the paper's algorithm by hand, the same bytes in every way of running, and what its clients keep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from in_process import OPTIONS, RULES, Start
from recomputation import SPAM, VALUES
from test_local_training import One, half_square
from test_virtual_command import invoke

from client.memory import Memory
from core.data.arrays import ArrayDataset
from core.data.generated import generate_mailbox
from core.errors import Reason, Refused, SettingsError
from core.federated import LocalTrainer, add_updates, client_rng, encoding_for, initial_model, mean_update
from core.local_settings import LocalSettings, OptimiserName
from core.nn import Embedding
from core.optim import SGD
from core.privacy.mechanism import Privacy
from core.protocol import AttemptId, digest
from core.scaffold import check_rule, control_after, scaffold_update
from core.secagg.encoding import Encoding
from core.server_rules import RuleName, ServerModel, ServerRule
from core.task_checks import require_local_training
from core.tasks.local import CorrectedSGD
from core.tasks.task import LocalTraining, Task
from core.training import Dataset
from core.wire import federation_pb2 as pb
from core.wire.messages import description_from_bytes
from core.wire.streams import model_bytes
from results.record import RoundRecord
from results.verifying import verify
from server import states
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.in_process import InProcessFederation, Options, play
from simulation.slot_task import known, slot_task
from simulation.virtual import controls as controls_module
from simulation.virtual.block import BlockRunner
from simulation.virtual.controls import Controls
from simulation.virtual.population import Generated
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

SCAFFOLD = ServerRule(RuleName.scaffold)
GRADIENT_DESCENT = LocalSettings(optimiser=OptimiserName.SGD, learning_rate=0.5)
RUN = "5a" * 8


# ------------------------------------------------------------------------------------------------ the equations


def aim(target: float, examples: int = 1) -> Dataset:
    """Data of a client whose loss is (w - target)^2 / 2, so that its gradient is w - target."""
    return ArrayDataset(np.zeros(examples), np.full(examples, target))


AIMS = Task(
    "aims",
    build=lambda _rng: One(0.0),
    loss=half_square,
    correct=lambda _outputs, _targets: 0,
    local=LocalTraining(0.5, epochs=2, batch_size=1, optimiser=SGD),
    clip=4.0,
)
ONE_WEIGHT = Encoding(2, plaintext_bits=256, max_cohort=4, fraction_bits=13)


def after_rounds(clients: Sequence[Dataset], rounds: int, population: int) -> tuple[ServerModel, list[float]]:
    """The model with its c, and all c_i, after some rounds of the product's own functions."""
    model = ServerModel.start(SCAFFOLD.over(population), np.zeros(1))
    own, trainer = [np.zeros(1) for _ in clients], LocalTrainer(AIMS)
    for number in range(1, rounds + 1):
        updates = [
            scaffold_update(trainer, model, control, data, client_rng(0, number, 1), AIMS.local)
            for control, data in zip(own, clients, strict=True)
        ]
        own = [control_after(ONE_WEIGHT, control, update) for control, update in zip(own, updates, strict=True)]
        cohort = add_updates(ONE_WEIGHT, updates)
        model = model.after(mean_update(cohort), cohort.contributors)
    return model, [float(each[0]) for each in own]


def test_two_rounds_of_two_clients_are_those_of_the_paper() -> None:
    """Algorithm 1, option II, with K = 2 steps at rate 1/2 (so K lr = 1), eta = 1, N = 2, and gradients w - 1 and w + 3.

    Round 1, from x = c = c_i = 0:
        client 1: y = 0, 1/2, 3/4;        dy = 3/4,   c_1 = 0 - 0 + (0 - 3/4) = -3/4
        client 2: y = 0, -3/2, -9/4;      dy = -9/4,  c_2 = 9/4
        x = (3/4 - 9/4) / 2 = -3/4,       c = 0 + 2/2 (-3/4 + 9/4) / 2 = 3/4
    Round 2:
        client 1 adds c - c_1 = 3/2:      y = -3/4, -5/8, -9/16;    dy = 3/16,   c_1 = -3/4 - 3/4 + (-3/4 + 9/16) = -27/16
        client 2 adds c - c_2 = -3/2:     y = -3/4, -9/8, -21/16;   dy = -9/16,  c_2 = 9/4 - 3/4 + (-3/4 + 21/16) = 33/16
        x = -3/4 + (3/16 - 9/16) / 2 = -15/16,   c = 3/4 + (-15/16 - 3/16) / 2 = 3/16
    """
    clients = [aim(1.0), aim(-3.0)]
    first, own = after_rounds(clients, 1, population=2)
    assert (first.model[0], first.state[0], own) == (-3 / 4, 3 / 4, [-3 / 4, 9 / 4])
    second, own = after_rounds(clients, 2, population=2)
    assert (second.model[0], second.state[0], own) == (-15 / 16, 3 / 16, [-27 / 16, 33 / 16])


def test_c_moves_by_the_share_of_all_clients_that_took_part() -> None:
    """c = c + |S| / N mean(dc): 2 of 8 clients move it a quarter as far as both of 2."""
    model, _ = after_rounds([aim(1.0), aim(-3.0)], 1, population=8)
    assert (model.model[0], model.state[0]) == (-3 / 4, 3 / 16)


def test_a_client_counts_its_own_steps_and_without_examples_it_changes_nothing() -> None:
    """Two examples in batches of one: K = 4 in two passes, y = 0, 1/2, 3/4, 7/8, 15/16; c_1 = -15/16 / (4/2) = -15/32."""
    start, trainer, nothing = ServerModel.start(SCAFFOLD.over(1), np.zeros(1)), LocalTrainer(AIMS), np.zeros(1)
    four = scaffold_update(trainer, start, nothing, aim(1.0, examples=2), client_rng(0, 1, 1), AIMS.local)
    assert four.delta.tolist() == [15 / 16, -15 / 32]
    none = scaffold_update(trainer, start, nothing, aim(1.0, examples=0), client_rng(0, 1, 1), AIMS.local)
    assert none.delta.tolist() == [0, 0]
    three = replace(AIMS.local, steps=3)
    assert [three.batches(2), three.batches(0), AIMS.local.batches(2)] == [3, 0, 4]


def test_what_rounding_takes_from_a_control_variate_is_sent_in_a_later_round() -> None:
    """A gradient of a third of a step is never sent by itself; c_i that stays at 0 asks for it again each time."""
    encoding = Encoding(2, plaintext_bits=256, max_cohort=4, fraction_bits=2)
    model, own, data = ServerModel.start(SCAFFOLD.over(1), np.zeros(1)), np.zeros(1), aim(3.3)
    for _ in range(6):
        update = scaffold_update(LocalTrainer(AIMS), model, own, data, client_rng(0, 1, 1), AIMS.local)
        own = control_after(encoding, own, update)
        cohort = add_updates(encoding, [update])
        model = model.after(mean_update(cohort), 1)
        assert own.tolist() == model.state.tolist(), "c is the mean of what clients keep, to the bit"


def test_the_correction_moves_every_weight_also_rows_that_a_batch_does_not_look_up() -> None:
    """y - lr (g - c_i + c): with g = 1 in the row that is looked up, at rate 1/2."""
    rows = Embedding(2, 1, rng=np.random.default_rng(0))
    rows.weight.data[...] = 0.0
    rows(np.array([1])).sum().backward()
    CorrectedSGD(rows.parameters(), 0.5, np.array([0.25, -0.5])).step()
    assert rows.weight.data.tolist() == [[-0.125], [-0.25]]


# ------------------------------------------------------------------------------------------------ every way of running


MAILS = replace(SPAM, generate=lambda seed, number: generate_mailbox(seed, number, 20))
"""The spam task with twenty made-up mails a client, for speed."""


def virtual_run(rounds: int, clients: int = 3) -> VirtualRun:
    rules = RoundRules(rounds=rounds, min_cohort=2, max_cohort=clients, target=clients, threshold=1, holders=1)
    settings = RunSettings(
        "spam", "plain", 256, 0, rules, insecure_demo_keys=True, server_rule=SCAFFOLD, local=GRADIENT_DESCENT
    )
    return VirtualRun(settings, MAILS, Generated(MAILS, 0, clients))


def play_on(run: VirtualRun, controls: Controls, workers: int = 1) -> np.ndarray:
    runner = BlockRunner(MAILS, Generated(MAILS, 0, 3), 0, controls)
    with WorkerPool(runner, workers, len(run.start), run.slots, 3) as pool:
        list(run.rounds(pool, lambda _clients: None))
    return run.model


def fresh(folder: Path) -> Controls:
    folder.mkdir(exist_ok=True)
    controls = Controls(folder / "controls.bin", 3, VALUES)
    controls.prepare(3)
    return controls


def in_clear(rounds: int) -> np.ndarray:
    """The model of three clients with made-up mail, computed without parties, encoded as theirs."""
    encoding = encoding_for(SPAM, 2 * VALUES, plaintext_bits=224, max_cohort=3)
    model = ServerModel.start(SCAFFOLD.over(3), initial_model(SPAM, 0))
    own, local, trainer = (
        dict.fromkeys((1, 2, 3), np.zeros(VALUES)),
        SPAM.local_in(GRADIENT_DESCENT, 1),
        LocalTrainer(SPAM),
    )
    for number in range(1, rounds + 1):
        updates = []
        for client in own:
            data, rng = MAILS.made_up(0, client), client_rng(0, number, client)
            updates.append(scaffold_update(trainer, model, own[client], data, rng, local))
            own[client] = control_after(encoding, own[client], updates[-1])
        model = model.after(mean_update(add_updates(encoding, updates)), 3)
    return model.model


def test_parties_virtual_clients_and_the_algorithm_in_clear_give_the_same_bytes(tmp_path: Path) -> None:
    federation = play(
        MAILS, clients=3, rounds=2, scheme="plain", options=Options(server_rule=SCAFFOLD, local=GRADIENT_DESCENT)
    )
    assert federation.model is not None
    virtual = play_on(virtual_run(2), fresh(tmp_path), workers=2)
    assert digest(model_bytes(federation.model)) == digest(model_bytes(virtual)) == digest(model_bytes(in_clear(2)))


def test_encrypted_rounds_take_the_drift_out_and_the_public_record_holds() -> None:
    """Each client pulls its own weight up by 1. Knowing c, all move alike in round 2: every weight by 1/3."""
    with known(slot_task(3)) as task:
        federation = play(task, clients=3, rounds=2, key_bits=320, options=Options(server_rule=SCAFFOLD))
        records = [RoundRecord.from_line(line, "a line") for line in federation.record]
        models = [each.model for each in verify(records, federation.identities["server"].registrar)]
    assert models[0] == pytest.approx(np.full(3, 1 / 3))
    assert models[1] == pytest.approx(np.full(3, 2 / 3), abs=1e-4)
    submission = federation.clients["client-1"].session.participant.last
    assert submission is not None
    assert submission.description.encoding.values == 6, "both vectors are encrypted, and proven to lie in their ranges"
    assert submission.description.proven is not None


async def test_parties_refuse_another_c_than_was_signed_and_training_that_cannot_be_corrected(start: Start) -> None:
    options = replace(OPTIONS, local=GRADIENT_DESCENT)
    federation = await start(replace(RULES, rounds=2), rule=SCAFFOLD, options=options)
    await federation.play(lambda: len(federation.run.results) == 1 and isinstance(federation.phase, states.Committing))
    run = federation.run.context.id
    description = description_from_bytes(federation.signed_round().body)
    participant = federation.new_client(federation.identities["client-1"]).participant
    vector = federation.store.server_model(run, 1)[1].for_clients
    signatures = federation.store.endorsements(run, 1)
    participant.verify_model(description, vector, signatures)
    for place in (0, -1):
        other = vector.copy()
        other[place] += 1
        with pytest.raises(Refused) as refused:
            participant.verify_model(description, other, signatures)
        assert refused.value.reason is Reason.WRONG_DIGEST
    for cannot in (
        replace(description, local=None),
        replace(description, local=replace(GRADIENT_DESCENT, prox_mu=1.0)),
    ):
        with pytest.raises(Refused, match="--rule scaffold") as refused:
            require_local_training(federation.verifier.require, cannot, SPAM, federation.policy)
        assert refused.value.reason is Reason.LOCAL_TRAINING
    short = replace(description, encoding=replace(description.encoding, values=VALUES))
    with pytest.raises(Refused, match="encoding is not that of the task 'spam'"):
        federation.verifier.verify_encoding(short, SPAM, VALUES)


async def model_after_restarts(start: Start, of: Sequence[str]) -> np.ndarray:
    """The model of three rounds; these clients are started again whenever a round is completed."""
    options = replace(OPTIONS, local=GRADIENT_DESCENT, memories={})
    federation = await start(replace(RULES, rounds=3), rule=SCAFFOLD, options=options)
    for completed in (1, 2):
        await federation.play(partial(_has_results, federation, completed))
        for name in of:
            await federation.clients[name].restart()
    await federation.play()
    assert federation.phase == states.Finished()
    model: np.ndarray = federation.store.model(federation.run.context.id, 3)[1]
    return model


def _has_results(federation: InProcessFederation, rounds: int) -> bool:
    return len(federation.run.results) == rounds


async def test_a_client_started_again_goes_on_with_its_control_variate(start: Start) -> None:
    """Its memory has it: a run with restarts in between ends with the model of one without."""
    whole = await model_after_restarts(start, [])
    assert np.array_equal(await model_after_restarts(start, ["client-1", "client-3"]), whole)


# ------------------------------------------------------------------------------------------------ what clients keep


def at(round_number: int, attempt: int = 1, run: str = RUN) -> AttemptId:
    return AttemptId(run, round_number, attempt)


def test_a_client_finds_what_its_last_completed_round_left_and_forgets_other_runs(tmp_path: Path) -> None:
    memory = Memory(tmp_path)
    assert memory.controls.before(at(1), 2).tolist() == [0, 0]
    memory.controls.keep(at(1), np.array([1.0, -1.0]))
    memory.controls.keep(at(3), np.array([3.0, -3.0]))
    memory.close()
    memory = Memory(tmp_path)
    assert memory.controls.before(at(3, 2), 2).tolist() == [1, -1], "another attempt at the same round starts the same"
    assert memory.controls.before(at(4), 2).tolist() == [3, -3]
    other = at(1, run="ff" * 8)
    assert memory.controls.before(other, 2).tolist() == [0, 0]
    memory.controls.keep(other, np.array([9.0, 9.0]))
    assert memory.controls.before(at(4), 2).tolist() == [0, 0]
    memory.close()


def test_an_abandoned_attempt_leaves_no_control_variate() -> None:
    controls = Memory().controls
    controls.keep(at(1), np.ones(1))
    controls.closed(at(1), completed=True)
    controls.keep(at(2), np.full(1, 2.0))
    controls.closed(at(2), completed=False)
    assert controls.before(at(3), 1).tolist() == [1]
    controls.keep(at(3), np.full(1, 3.0))
    controls.closed(at(3, 2), completed=True)  # the round was completed without this client's first attempt
    assert controls.before(at(4), 1).tolist() == [1]


async def test_the_notice_of_an_abandoned_attempt_takes_the_control_variate_back(start: Start) -> None:
    federation = await start(rule=SCAFFOLD, options=replace(OPTIONS, local=GRADIENT_DESCENT, memories={}))
    await federation.play()
    session, run = federation.clients["client-1"].session, federation.run.context.id
    controls = session.participant.memory.controls
    assert controls.before(at(2, run=run), VALUES).any()
    list(session.answer(pb.Notice(round_closed=pb.RoundClosed(round=1, attempt=1, sentence="too few"))))
    assert not controls.before(at(2, run=run), VALUES).any()


def test_a_virtual_round_that_is_done_again_finds_what_it_found_at_first(tmp_path: Path) -> None:
    controls = fresh(tmp_path)
    assert not controls.before(2, 1).any()
    for round_number in (1, 2, 2, 4):  # round 2 twice: a worker died
        found = controls.before(2, round_number)
        controls.keep(2, round_number, np.full(VALUES, float(round_number)))
        assert np.array_equal(controls.before(2, round_number), found)
    assert controls.before(2, 4)[0] == 2, "an interrupted run begins its last round anew"
    assert controls.before(2, 5)[0] == 4
    assert not controls.before(1, 9).any()
    assert not controls.before(3, 9).any()


def test_an_interrupted_virtual_run_goes_on_to_the_same_model(tmp_path: Path) -> None:
    kept = fresh(tmp_path / "kept")
    begun, resumed = virtual_run(2), virtual_run(3)
    play_on(begun, kept)
    kept.keep(1, 3, np.ones(VALUES))  # of a round 3 that was interrupted in the middle
    resumed.go_on(begun.vector, begun.results, begun.now)
    assert np.array_equal(play_on(resumed, kept), play_on(virtual_run(3), fresh(tmp_path / "whole")))


def test_a_disk_without_room_for_control_variates_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    controls = Controls(tmp_path / "controls.bin", 1_000_000, 100)
    monkeypatch.setattr(controls_module.shutil, "disk_usage", lambda _path: type("", (), {"free": 16_160})())
    controls.prepare(10)
    with pytest.raises(
        SettingsError, match=r"keeps 1,616 bytes of each client .* up to 11 clients, and .* 16,160 left"
    ):
        controls.prepare(11)


# ------------------------------------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"local": None}, "clients of the task spam take others; add --optimiser sgd"),
        ({"local": LocalSettings(optimiser=OptimiserName.MOMENTUM)}, "add --optimiser sgd"),
        ({"local": replace(GRADIENT_DESCENT, prox_mu=0.5)}, "--prox-mu is 0.5, another correction"),
        ({"count_cap": 10}, "--count-cap is 10: c is the mean of clients that count alike"),
        ({"privacy": Privacy(1.0, 1.0, 1e-5)}, "the run has privacy"),
        ({"rules": RoundRules()}, "add --population, how many there are"),
    ],
)
def test_a_run_whose_clients_cannot_be_corrected_is_refused(settings: dict[str, object], sentence: str) -> None:
    usual = {"rules": RoundRules(target=5, min_cohort=5), "local": GRADIENT_DESCENT, "server_rule": SCAFFOLD}
    RunSettings(**usual).check_training(SPAM)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=sentence):
        RunSettings(**(usual | settings)).check_training(SPAM)  # type: ignore[arg-type]


def test_a_task_that_trains_by_its_own_code_is_refused() -> None:
    own = type("Own", (Task,), {"trains_by_steps": False})(
        "own", AIMS.build, AIMS.loss, AIMS.correct, local=AIMS.local, clip=1.0
    )
    with pytest.raises(SettingsError, match="the task own trains by its own code"):
        check_rule(SCAFFOLD.over(3), own, None)


def test_the_command_runs_it_and_names_what_does_not_go_with_it(tmp_path: Path) -> None:
    usual = ["--virtual", "--clients", "20", "--cohort", "5", "--rule", "scaffold", "--rounds", "2"]
    descent = ["--optimiser", "sgd", "--learning-rate", "0.5"]
    code, said = invoke(*usual, *descent, "--workers", "1", "--out", tmp_path / "run")
    assert code == 0, said
    assert "the server's rule: scaffold (learning rate 1, population 20)" in said
    assert not (tmp_path / "run" / "controls.bin").exists()
    for more, sentence in (
        ([], "add --optimiser sgd"),
        (
            [*descent, "--cohort", "6", "--groups", "3", "--min-cohort", "2"],
            "--rule scaffold needs the mean of one sum",
        ),
        ([*descent, "--engine", "ray", "--dry-run"], "leave --engine out"),
    ):
        code, said = invoke(*usual, *more, "--out", tmp_path / "refused")
        assert code != 0
        assert sentence in said
