"""pfl's simulator in one process, as it comes, with a model that is one array of NumPy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import FederatedNNAlgorithm, NNAlgorithmParams
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam.base import ModelHyperParams
from pfl.internal.ops import numpy_ops
from pfl.internal.ops.selector import set_framework_module
from pfl.metrics import Metrics
from pfl.model.base import StatefulModel
from pfl.stats import MappedVectorStatistics

from benchmarks.plain_update import WORDS, FloatArray, change


class Vector(StatefulModel):
    """A model that is one vector, shape (values,)."""

    def __init__(self) -> None:
        self.values = np.zeros(WORDS + 1)

    def apply_model_update(self, statistics: Any) -> Any:
        """Add the mean change."""
        self.values = self.values + statistics["values"]
        return self, Metrics()

    def evaluate(self, *_arguments: Any, **_options: Any) -> Any:
        """Judge nothing."""
        return Metrics()

    def _not_needed(self, *_arguments: Any, **_options: Any) -> Any:
        raise NotImplementedError

    get_model_difference = get_parameters = set_parameters = save = load = _not_needed


class Averaging(FederatedNNAlgorithm):
    """Federated averaging of clients that train in plain NumPy."""

    def simulate_one_user(self, model: Any, user_dataset: Any, _context: Any) -> Any:
        """Train as one client."""
        changed = change(model.values, int(user_dataset.raw_data[0][0]), self._current_central_iteration + 1)
        return MappedVectorStatistics({"values": changed}, weight=1), Metrics()

    def train_one_user(self, *_arguments: Any) -> Any:
        """Never called: `simulate_one_user` does all of it."""
        raise NotImplementedError

    def process_aggregated_statistics(self, _context: Any, _metrics: Any, model: Any, statistics: Any) -> Any:
        """Add the mean change to the model."""
        statistics.average()
        return model.apply_model_update(statistics)


class Clock(TrainingProcessCallback):
    """Notes when training begins and when each round ends."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_train_begin(self, **_options: Any) -> Any:
        """Note when training begins."""
        self.ends.append(time.monotonic())
        return Metrics()

    def after_central_iteration(self, *_arguments: Any, **_options: Any) -> Any:
        """Note when a round ends; go on."""
        self.ends.append(time.monotonic())
        return False, Metrics()


def simulate(clients: int, rounds: int) -> tuple[list[float], FloatArray]:
    """Return when the first round began and when each one ended, and the model after the last, shape (values,)."""
    set_framework_module(numpy_ops)
    order, clock, model = iter(range(clients * rounds)), Clock(), Vector()
    data = FederatedDataset(lambda turn: Dataset([np.array([turn % clients + 1])]), lambda: next(order))
    parameters = NNAlgorithmParams(rounds, evaluation_frequency=1, train_cohort_size=clients, val_cohort_size=0)
    Averaging().run(parameters, SimulatedBackend(data, data), model, ModelHyperParams(), callbacks=[clock])
    return clock.ends, model.values
