"""Workers that train virtual clients: their deaths wherever they are noticed, and what they do when the parent dies."""

from __future__ import annotations

import errno
import multiprocessing
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recomputation import SPAM
from test_virtual import CLIENTS, ignored, played, pool_for, settings_for

from core.errors import Reason, Refused, RunFailedError, SettingsError, TaskError
from core.tasks import get_task
from core.training import Dataset
from simulation.processes import ROOT
from simulation.virtual import workers
from simulation.virtual.block import BlockRunner
from simulation.virtual.in_worker import Shared, end_with_parent, work
from simulation.virtual.population import Generated
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool, most_workers, require_room

# ------------------------------------------------------------------------------------------------ a worker that dies


def kill(pool: WorkerPool, place: int) -> None:
    """Kill a worker, and wait until it is dead."""
    pool._workers[place].process.kill()
    pool._workers[place].process.join()


def play_and(disturb: Callable[[WorkerPool, int], None], scheme: str = "plain") -> bytes:
    """Play a run of two workers; `disturb` is told how many clients are done each time that some are."""
    population = Generated(SPAM, 0, CLIENTS)
    run = VirtualRun(settings_for(SPAM, scheme=scheme), SPAM, population)
    count = [0]
    with pool_for(run, SPAM, population, 2) as pool:

        def done(clients: int) -> None:
            count[0] += clients
            disturb(pool, count[0])

        for _ in run.rounds(pool, done):
            assert count[0] % CLIENTS == 0
    return run.model.tobytes()


def once(at: int, place: int) -> Callable[[WorkerPool, int], None]:
    """Kill one worker when so many clients are done."""
    killed: list[int] = []

    def disturb(pool: WorkerPool, count: int) -> None:
        if count == at and not killed:
            killed.append(count)
            kill(pool, place)

    return disturb


@pytest.mark.parametrize("scheme", ["plain", "paillier"])
@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("at", [0, CLIENTS])
def test_a_worker_that_dies_idle_is_replaced_and_the_model_stays_the_same(scheme: str, place: int, at: int) -> None:
    """Before the first round, or when its last block is done: what it had encrypted is then not yet collected."""
    assert play_and(once(at, place), scheme) == played(SPAM, 1).model.tobytes()


def test_progress_counts_the_clients_of_a_worker_that_died_while_it_trained_once(tmp_path: Path) -> None:
    def die_once() -> None:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)

    population, told = Failing(die_once), list[int]()
    run = VirtualRun(settings_for(SPAM), SPAM, population)
    with pool_for(run, SPAM, population, 1) as pool:
        next(run.rounds(pool, told.append))
    assert (sum(told), min(told) < 0) == (CLIENTS, True)


@pytest.mark.parametrize("scheme", ["plain", "paillier"])
def test_a_worker_that_dies_idle_a_second_time_is_named_with_the_signal(scheme: str) -> None:
    population = Generated(SPAM, 0, CLIENTS)
    run = VirtualRun(settings_for(SPAM, scheme=scheme), SPAM, population)
    with pool_for(run, SPAM, population, 2) as pool:
        kill(pool, 1)
        rounds = run.rounds(pool, ignored)
        next(rounds)
        kill(pool, 1)
        with pytest.raises(RunFailedError, match="worker 2 ended twice in this run, the second time by signal SIGKILL"):
            next(rounds)


def test_a_worker_that_has_closed_its_pipe_counts_as_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "STOP_SECONDS", 0.01)
    run = VirtualRun(settings_for(SPAM), SPAM, Generated(SPAM, 0, CLIENTS))
    ours, theirs = multiprocessing.Pipe()
    theirs.close()
    with pool_for(run, SPAM, Generated(SPAM, 0, CLIENTS), 1) as pool:
        open_still, pool._workers[0].connection = pool._workers[0].connection, ours
        pool._workers[0].replaced = True
        with pytest.raises(RunFailedError, match="worker 1 ended twice in this run, the second time because it had cl"):
            next(run.rounds(pool, ignored))
    open_still.close()


# ------------------------------------------------------------------------------------------------ a client that fails


class Failing(Generated):
    """Clients of which the third does something else than train."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__(SPAM, 0, CLIENTS)
        self._act = act

    def data(self, number: int) -> Dataset:
        if number == 3:
            self._act()
        return super().data(number)


def raising(error: BaseException) -> Callable[[], object]:
    def act() -> object:
        raise error

    return act


@pytest.mark.parametrize(
    ("error", "kind", "sentence"),
    [
        (TaskError("it failed"), TaskError, "client 3 in round 1: it failed"),
        (KeyboardInterrupt(), TaskError, "client 3 in round 1: KeyboardInterrupt, in code of the task; let it raise"),
        (Refused(Reason.UNBOUNDED, "too large"), Refused, "client 3 in round 1: too large"),
        (OSError(errno.EIO, "broken", "/data"), OSError, "broken: '/data'"),
    ],
)
def test_what_a_client_raises_reaches_the_parent_with_its_number_and_no_trace_back(
    error: BaseException, kind: type[Exception], sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(kind, match=sentence):
        played(SPAM, 2, population=Failing(raising(error)))
    assert capfd.readouterr().err == ""


def test_a_refusal_travels_with_its_reason() -> None:
    again = ForkingPickler.loads(ForkingPickler.dumps(Refused(Reason.COPIED, "it is a copy", ("client-1",))))
    assert (again.reason, str(again), again.clients) == (Reason.COPIED, "it is a copy", ("client-1",))


def test_while_a_client_trains_progress_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The third client waits until progress was told of nothing new, after the round had begun."""
    monkeypatch.setattr(workers, "LOOK_SECONDS", 0.01)
    reader, writer = os.pipe()
    run = VirtualRun(settings_for(SPAM), SPAM, Generated(SPAM, 0, CLIENTS))
    told: list[int] = []

    def done(clients: int) -> None:
        told.append(clients)
        if told.count(0) == 2:
            os.write(writer, b"go on")

    with pool_for(run, SPAM, Failing(lambda: os.read(reader, 1)), 1) as pool:
        next(run.rounds(pool, done))
    assert sum(told) == CLIENTS


# ------------------------------------------------------------------------------------------------ no room for workers


def test_more_workers_than_open_files_allow_are_refused_before_any_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_open_files", lambda: 64)
    assert most_workers() == 6
    require_room(6)
    with pytest.raises(
        SettingsError, match=r"^--workers is 60, which needs 332 open files, and the limit is 64; choos"
    ):
        require_room(60)
    monkeypatch.setattr(workers, "processors", lambda: 60)
    assert workers.default_workers() == 6
    monkeypatch.setattr(workers, "_open_files", lambda: None)
    require_room(1000)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EAGAIN])
def test_a_worker_that_cannot_start_is_named_and_the_others_end(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    context = type(multiprocessing.get_context("fork"))
    pipe, pipes, others, started = context.Pipe, list[int](), multiprocessing.active_children(), list[Any]()

    def narrow(self: Any, *arguments: Any) -> Any:
        pipes.append(number)
        if len(pipes) == 3:
            started.extend(each for each in multiprocessing.active_children() if each not in others)
            raise OSError(number, os.strerror(number))
        return pipe(self, *arguments)

    monkeypatch.setattr(context, "Pipe", narrow)
    with pytest.raises(SettingsError, match="worker 3 cannot be started: .*; choose fewer with --workers"):
        played(SPAM, 4)
    assert [process.exitcode for process in started] == [-signal.SIGTERM] * 2


def test_a_worker_that_is_ended_while_it_starts_does_not_run_the_clean_up_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signal comes in the worker before it has handlers of its own."""
    fork, parent = os.fork, os.getpid()

    def fork_and_signal() -> int:
        child = fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return child

    def as_the_parent_does(*_: object) -> None:
        (tmp_path / "cleaned").touch()
        os._exit(1)

    before = signal.signal(signal.SIGTERM, as_the_parent_does)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fork", fork_and_signal)
            run, population = VirtualRun(settings_for(SPAM), SPAM, Generated(SPAM, 0, 5)), Generated(SPAM, 0, 5)
            with pool_for(run, SPAM, population, 1) as pool:
                pool._workers[0].process.join()
                assert pool._workers[0].process.exitcode == -signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, before)
    assert os.getpid() == parent
    assert not (tmp_path / "cleaned").exists()


# ------------------------------------------------------------------------------------------------ a parent that dies


HANGING = """
import os, signal, sys
sys.path.insert(0, "tests")
from test_virtual_workers import Failing
from test_virtual import *

def hang():
    os.write({writer}, str(os.getpid()).encode())
    signal.pause()

if __name__ == "__main__":
    played(SPAM, 1, population=Failing(hang))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_worker_whose_client_hangs_ends_with_its_killed_parent() -> None:
    """What it holds open of the pipe is closed when it is gone."""
    reader, writer = os.pipe()
    with subprocess.Popen([sys.executable, "-c", HANGING.format(writer=writer)], cwd=ROOT, pass_fds=[writer]) as parent:
        os.close(writer)
        worker = int(os.read(reader, 20))
        parent.kill()
    ready = select.select([reader], [], [], 30)[0]
    if not ready:
        os.kill(worker, signal.SIGKILL)
    assert ready, "it trains on"
    assert os.read(reader, 1) == b""


@pytest.mark.parametrize(("alive", "code"), [(True, 0), (False, 1)])
def test_a_worker_whose_parent_died_before_it_could_watch_ends_at_once(alive: bool, code: int) -> None:
    context: Any = multiprocessing.get_context("fork")
    process = context.Process(target=end_with_parent, args=(os.getpid() if alive else 1 << 30,))
    process.start()
    process.join()
    assert process.exitcode == code


@pytest.mark.parametrize("unread", [True, False])
def test_a_worker_ends_silently_however_its_parent_has_left(unread: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that left an answer unread resets the connection, as `kill -9` does; else it is only closed."""
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    context: Any = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    if unread:
        theirs.send("an answer")
    ours.close()
    if unread:
        with pytest.raises(ConnectionResetError):
            theirs.recv()
        ours, theirs = context.Pipe()
        theirs.send("an answer")
        ours.close()
    task = get_task("spam")
    shared = [Shared(context, 1, np.float64) for _ in range(3)]
    work(BlockRunner(task, Generated(task, 0, 1), 0), *shared, theirs, [])
