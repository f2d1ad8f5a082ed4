"""Virtual clients on a Ray cluster of two nodes on this machine, one of which is lost in the middle of a round."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from recomputation import SPAM

from core.errors import SettingsError
from core.tasks.task import Task
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.virtual.block import BlockRunner
from simulation.virtual.on_ray import RayCluster
from simulation.virtual.population import Generated
from simulation.virtual.run import VirtualRun
from simulation.virtual.workers import WorkerPool

ray = pytest.importorskip("ray", reason="Ray is not installed here; `make test-ray` has it")
CLIENTS = 24


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes.second = nodes.add_node(num_cpus=1)
    yield nodes
    nodes.shutdown()


def run_for(task: Task, scheme: str = "plain") -> tuple[VirtualRun, BlockRunner]:
    rules = RoundRules(rounds=1, min_cohort=2, max_cohort=CLIENTS, threshold=1, holders=1)
    settings = RunSettings(task.name, scheme, 256, rules=rules, insecure_demo_keys=True)
    population = Generated(task, 0, CLIENTS)
    return VirtualRun(settings, task, population), BlockRunner(task, population, 0)


def expected_model() -> bytes:
    """The model of workers on this machine."""
    run, runner = run_for(SPAM)
    with WorkerPool(runner, 2, len(run.model), run.slots, CLIENTS) as pool:
        list(run.rounds(pool, lambda _clients: None))
    return run.model.tobytes()


@pytest.mark.parametrize("scheme", ["plain", "paillier"])
def test_a_lost_node_changes_no_byte_of_the_model(cluster: Any, scheme: str) -> None:
    run, runner = run_for(SPAM, scheme)
    counts: list[int] = []

    def lose_a_node(clients: int) -> None:
        if not counts:
            cluster.remove_node(cluster.second, allow_graceful=False)
        counts.append(clients)

    with RayCluster(runner, cluster.address) as engine:
        assert engine.processors == 2
        (result,) = run.rounds(engine, lose_a_node)
    assert result.contributors == CLIENTS == sum(counts)
    assert len(counts) > 2
    assert run.model.tobytes() == expected_model()


def test_a_cluster_that_is_not_there_is_named() -> None:
    _, runner = run_for(SPAM)
    with pytest.raises(SettingsError, match=r"no Ray cluster answers at 'auto' .*`ray start --head` starts one"):
        RayCluster(runner, "auto")
