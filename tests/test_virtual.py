"""Virtual clients: the very model of real parties, whatever the number of workers, and also when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest
from recomputation import SPAM

from core.bounds.verification import verify
from core.data.generated import generate_mailbox
from core.errors import Refused, RunFailedError, SettingsError
from core.optim import DivergedError
from core.privacy.mechanism import Privacy
from core.protected_update import usual_bytes
from core.secagg.factory import payload_bytes
from core.secagg.scheme import PublicKey
from core.tasks import TASKS as KNOWN
from core.tasks import get_task
from core.tasks.task import Source, Task
from core.training import Dataset
from server.rounds.waiting import select
from server.rules import RoundRules
from server.settings import Bound, RunSettings
from simulation.in_process import play
from simulation.virtual.block import BlockRunner, EncryptedSum, PartialSum, RoundJob
from simulation.virtual.population import Generated, Population, draw, nth_in_text_order
from simulation.virtual.progress import Lines
from simulation.virtual.run import VirtualResult, VirtualRun
from simulation.virtual.times import MeasuredSpeeds, RandomPresence, Stopwatch
from simulation.virtual.workers import Progress, WorkerPool

FloatArray = npt.NDArray[np.float64]
CLIENTS, ROUNDS = 5, 2
MNIST, PLAYS = get_task("mnist-mlp"), get_task("shakespeare-rnn")
TASKS = {
    "spam": SPAM,
    "mnist-mlp": replace(MNIST, generate=lambda seed, number: MNIST.generate(seed, 1)[number::9]),
    "shakespeare-rnn": replace(PLAYS, generate=lambda seed, number: PLAYS.generate(seed, 1)[number : number + 2]),
}


def settings_for(task: Task, *, clients: int = CLIENTS, scheme: str = "plain", **more: object) -> RunSettings:
    rules = RoundRules(rounds=ROUNDS, min_cohort=2, max_cohort=clients, threshold=1, holders=1)
    return RunSettings(task.name, scheme, 256, rules=rules, insecure_demo_keys=True, **more)  # type: ignore[arg-type]


def played(
    task: Task, workers: int, settings: RunSettings | None = None, population: Population | None = None
) -> VirtualRun:
    """Play a whole run of virtual clients."""
    settings = settings or settings_for(task)
    population = population or Generated(task, 0, CLIENTS)
    run = VirtualRun(settings, task, population)
    with pool_for(run, task, population, workers) as pool:
        for _ in run.rounds(pool, ignored):
            pass
    return run


def pool_for(run: VirtualRun, task: Task, population: Population, workers: int) -> WorkerPool:
    return WorkerPool(BlockRunner(task, population, 0), workers, len(run.model), run.slots, run.largest_round)


def ignored(_clients: int) -> None:
    """Show no progress."""


# ------------------------------------------------------------------------------------------------ the same model


@pytest.fixture(scope="module", params=sorted(TASKS))
def task(request: pytest.FixtureRequest) -> Task:
    return TASKS[request.param]


@pytest.fixture(scope="module")
def real(task: Task) -> FloatArray:
    """The model of real parties in one process, with checks and keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(KNOWN, task.name, task)
        federation = play(task, clients=CLIENTS, rounds=ROUNDS, scheme="plain")
    assert federation.model is not None
    return federation.model


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_the_model_is_that_of_real_parties_to_the_bit(task: Task, real: FloatArray, workers: int) -> None:
    run = played(task, workers)
    assert run.model.tobytes() == real.tobytes()
    assert [result.contributors for result in run.results] == [CLIENTS] * ROUNDS


def test_encrypted_updates_give_the_same_model(real: FloatArray, task: Task) -> None:
    if task.name != "spam":
        pytest.skip("one task shows it")
    run = played(task, 2, settings_for(task, scheme="paillier", insecure_unbounded=True))
    assert run.model.tobytes() == real.tobytes()
    assert run.results[0].encrypt_seconds > 0


def test_virtual_clients_prove_their_bounds_as_real_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[int] = []
    monkeypatch.setattr(
        "simulation.virtual.block.verify", lambda *about, later: checked.append(len(about[2])) or verify(*about, later)
    )
    settings = settings_for(SPAM, clients=2, scheme="paillier")
    settings = replace(settings, rules=replace(settings.rules, rounds=1), bound=Bound.NORM, largest_norm=0.5)
    population = Generated(SPAM, 0, 2)
    run = VirtualRun(settings, SPAM, population)
    job = run._job(1, run._key()[0])
    total = EncryptedSum(job)
    seconds = BlockRunner(SPAM, population, 0).run(job, run.model, [1, 2], total)
    assert len(total.payload()) == payload_bytes(job.key, run.encoding.plaintexts)
    total._equations[1] = replace(total._equations[1], message=total._equations[0].message)
    with pytest.raises(Refused, match="do not hold the numbers that are proven"):
        total.payload()
    usual = run._bytes_up - usual_bytes(PublicKey("paillier", 256), run.encoding, None)
    assert checked == pytest.approx([usual] * 2, rel=0.02)
    assert seconds.encrypt > 0


def test_clients_that_count_by_their_examples_give_the_same_model_in_any_number_of_workers() -> None:
    counted = settings_for(SPAM, count_cap=50)
    assert played(SPAM, 1, counted).model.tobytes() == played(SPAM, 3, counted).model.tobytes()


def test_noise_is_added_by_each_client_and_accounted_for() -> None:
    privacy = Privacy(clip_norm=0.5, noise_multiplier=1.0, delta=1e-5)
    run = played(SPAM, 2, settings_for(SPAM, privacy=privacy))
    assert run.results[1].epsilon > run.results[0].epsilon > 0
    assert run.model.tobytes() != played(SPAM, 2, settings_for(SPAM, privacy=privacy)).model.tobytes()


# ------------------------------------------------------------------------------------------------ who is drawn


@pytest.mark.parametrize("size", [1, 9, 10, 11, 99, 100, 101, 1234])
def test_places_in_the_order_of_names_are_found_without_listing_them(size: int) -> None:
    in_order = sorted(range(1, size + 1), key=str)
    assert [nth_in_text_order(place, size) for place in range(size)] == in_order


@pytest.mark.parametrize(("size", "most"), [(30, 7), (5, 5), (200, 20)])
def test_the_same_clients_are_drawn_as_an_aggregator_draws(size: int, most: int) -> None:
    names = frozenset(f"client-{number}" for number in range(1, size + 1))
    for round_number in (1, 2, 3):
        chosen = select(names, round_number, 1, most)
        assert chosen == {f"client-{number}" for number in draw(size, round_number, 1, most)}


def test_a_cohort_of_a_billion_clients_is_drawn_at_once() -> None:
    drawn = draw(10**9, 1, 1, 1000)
    assert len(set(drawn)) == 1000
    assert max(drawn) > 10**8


# ------------------------------------------------------------------------------------------------ what goes wrong


class Deadly(Generated):
    """A population in which asking for one client's data kills the worker, the first time or each time."""

    def __init__(self, flag: Path, times: int) -> None:
        super().__init__(SPAM, 0, CLIENTS)
        self._flag, self._times = flag, times

    def data(self, number: int) -> Dataset:
        if number == 3 and len(self._flag.read_text()) < self._times:
            with self._flag.open("a") as file:
                file.write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        return super().data(number)


def test_a_worker_that_dies_is_replaced_and_its_clients_train_again(tmp_path: Path) -> None:
    flag = tmp_path / "deaths"
    flag.write_text("")
    run = played(SPAM, 2, population=Deadly(flag, times=1))
    assert flag.read_text() == "x"
    assert run.model.tobytes() == played(SPAM, 1).model.tobytes()


def test_a_worker_that_dies_again_is_named_with_the_signal(tmp_path: Path) -> None:
    flag = tmp_path / "deaths"
    flag.write_text("")
    with pytest.raises(RunFailedError, match=r"worker 1 ended twice in this run, the second time by signal SIGKILL"):
        played(SPAM, 1, population=Deadly(flag, times=9))


def test_a_worker_that_dies_is_replaced_where_updates_are_encrypted_too(tmp_path: Path) -> None:
    flag = tmp_path / "deaths"
    flag.write_text("")
    run = played(SPAM, 2, settings_for(SPAM, scheme="paillier"), Deadly(flag, times=1))
    assert run.model.tobytes() == played(SPAM, 1).model.tobytes()


def test_a_training_that_diverges_ends_the_run_with_its_sentence() -> None:
    wild = replace(SPAM, local=replace(SPAM.local, learning_rate=1e300))
    with pytest.raises(DivergedError, match=r"client \d in round 1: .*diverged"):
        played(wild, 2, population=Generated(wild, 0, CLIENTS))


class Recording:
    """An engine that notes whom it was asked for, and hands on."""

    def __init__(self, pool: WorkerPool) -> None:
        self.pool, self.asked = pool, list[Sequence[int]]()

    def sum(self, job: RoundJob, model: FloatArray, numbers: Sequence[int], done: Progress) -> PartialSum:
        self.asked.append(numbers)
        return self.pool.sum(job, model, numbers, done)


def test_each_client_of_the_round_trains_once_and_progress_counts_each_once() -> None:
    settings = settings_for(SPAM)
    run = VirtualRun(settings, SPAM, Generated(SPAM, 0, CLIENTS))
    counts: list[int] = []
    with pool_for(run, SPAM, Generated(SPAM, 0, CLIENTS), 3) as pool:
        engine = Recording(pool)
        for _ in run.rounds(engine, counts.append):
            assert sum(counts) == CLIENTS
            counts.clear()
    assert [list(asked) for asked in engine.asked] == [[1, 2, 3, 4, 5]] * ROUNDS


def test_the_order_of_partial_sums_does_not_matter() -> None:
    population = Generated(replace(SPAM, generate=lambda seed, number: generate_mailbox(seed, number, 20)), 0, 4)
    run = VirtualRun(settings_for(SPAM, clients=4), SPAM, population)
    job = RoundJob(1, run.encoding)
    sums = []
    for numbers in ([1, 2, 3, 4], [4, 2, 1, 3]):
        with pool_for(run, SPAM, population, 2) as pool:
            sums.append(pool.sum(job, run.model, numbers, ignored).slots)
    assert np.array_equal(*sums)


@pytest.mark.slow
def test_workers_that_start_as_new_interpreters_give_the_same_model() -> None:
    spam = get_task("spam")
    population = Generated(spam, 0, CLIENTS)
    models = []
    for method in ("spawn", "fork"):
        run = VirtualRun(settings_for(spam), spam, population)
        runner = BlockRunner(spam, population, 0)
        with WorkerPool(runner, 1, len(run.model), run.slots, run.largest_round, method) as pool:
            for _ in run.rounds(pool, ignored):
                pass
        models.append(run.model.tobytes())
    assert models[0] == models[1]


def test_an_own_task_is_refused_where_workers_cannot_be_forked() -> None:
    own = replace(SPAM, name="own", source=Source("own.py", b""))
    with pytest.raises(SettingsError, match="the task own of your own needs forked workers"):
        ForkingPickler.dumps(own)
    assert ForkingPickler.loads(ForkingPickler.dumps(get_task("spam"))) is get_task("spam")


def test_where_there_is_no_terminal_progress_is_a_line_every_ten_seconds() -> None:
    run = VirtualRun(settings_for(SPAM, clients=260), SPAM, Generated(SPAM, 0, 260))
    assert run.training == 260
    run.training = 200  # of those chosen, as simulated time decides
    now, said = [0.0], list[str]()
    lines = Lines(said.append, run, lambda: now[0])
    for seconds, clients in ((0, 0), (4, 20), (10, 30), (15, 30), (20, 20), (21, 100)):
        now[0] = seconds
        lines.done(clients)
    assert said == [
        "round 1: 50 of 200 clients, 5.0 updates a second, 30 s left",
        "round 1: 100 of 200 clients, 5.0 updates a second, 20 s left",
    ]


def test_the_rate_of_a_round_counts_from_its_beginning() -> None:
    """The first block is done after 8 seconds of round 2, which began 12 seconds after the one before."""
    run = VirtualRun(settings_for(SPAM, clients=260), SPAM, Generated(SPAM, 0, 260))
    now, said = [0.0], list[str]()
    lines = Lines(said.append, run, lambda: now[0])
    lines.done(0)
    lines.done(260)
    run.results.append(cast("VirtualResult", None))
    for seconds, clients in ((12, 0), (20, 160), (22, 40)):
        now[0] = seconds
        lines.done(clients)
    assert said == [
        "round 2: 0 of 260 clients",
        "round 2: 200 of 260 clients, 20 updates a second, 3 s left",
    ]


def test_of_slow_clients_progress_says_the_seconds_of_an_update_and_of_one_that_hangs_how_long_it_waits() -> None:
    run = VirtualRun(settings_for(SPAM), SPAM, Generated(SPAM, 0, CLIENTS))
    now, said = [0.0], list[str]()
    lines = Lines(said.append, run, lambda: now[0])
    for seconds, clients in ((0, 0), (9, 0), (11, 0), (14, 2), (21, 0), (24, 0), (41, 0)):
        now[0] = seconds
        lines.done(clients)
    assert said == [
        "round 1: 0 of 5 clients; waiting for 11 s for the next",
        "round 1: 2 of 5 clients, 10.5 seconds an update, 32 s left",
        "round 1: 2 of 5 clients, 20.5 seconds an update, 62 s left; waiting for 27 s for the next",
    ]


def test_with_more_clients_chosen_than_wanted_progress_ends_full() -> None:
    rules = RoundRules(rounds=2, min_cohort=2, max_cohort=4, cohort=2, over_selection=2.0, threshold=1, holders=1)
    settings, population = replace(settings_for(SPAM), rules=rules), Generated(SPAM, 0, CLIENTS)
    stopwatch = Stopwatch(MeasuredSpeeds(((10.0, 1e6), (20.0, 1e6))), RandomPresence(1.0, 0), 2, 100.0)
    run = VirtualRun(settings, SPAM, population, stopwatch)
    told: list[int] = []
    with pool_for(run, SPAM, population, 1) as pool:
        for result in run.rounds(pool, told.append):
            assert (result.contributors, result.late, run.training, run.largest_round) == (2, 2, 2, 4)
            assert sum(told) == run.training
            told.clear()
