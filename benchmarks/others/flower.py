"""Flower's simulator: its FedAvg, its messages, and its workers, which are actors of Ray."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation

from benchmarks.others import AT_ONCE
from benchmarks.plain_update import WORDS, FloatArray, change


class TimedFedAvg(FedAvg):
    """Federated averaging that notes when the first round begins and when each one ends."""

    ends: list[float]

    def configure_train(self, server_round: int, arrays: Any, config: Any, grid: Any) -> Iterable[Any]:
        """Choose the clients of a round."""
        if server_round == 1:
            self.ends = [time.monotonic()]
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round: int, replies: Any) -> Any:
        """Average what they sent."""
        result = super().aggregate_train(server_round, replies)
        self.ends.append(time.monotonic())
        return result


def train(message: Message, context: Context) -> Message:
    """Train as one client."""
    model, number = message.content["arrays"].to_numpy_ndarrays()[0], message.content["config"]["server-round"]
    trained = model + change(model, context.node_config["partition-id"] + 1, number)
    content = RecordDict({"arrays": ArrayRecord([trained]), "metrics": MetricRecord({"num-examples": 1})})
    return Message(content, reply_to=message)


def simulate(clients: int, rounds: int) -> tuple[list[float], FloatArray]:
    """Return when the first round began and when each one ended, and the model after the last, shape (values,)."""
    client_app, server_app, found = ClientApp(), ServerApp(), []
    client_app.train()(train)
    rule = TimedFedAvg(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=clients, min_available_nodes=clients)

    @server_app.main()
    def main(grid: Grid, _context: Context) -> None:
        start = ArrayRecord([np.zeros(WORDS + 1)])
        result = rule.start(grid=grid, initial_arrays=start, num_rounds=rounds, train_config=ConfigRecord({}))
        found.append(result.arrays.to_numpy_ndarrays()[0])

    resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": AT_ONCE, "include_dashboard": False}}
    run_simulation(server_app, client_app, num_supernodes=clients, backend_config=resources)
    return rule.ends, found[0]
