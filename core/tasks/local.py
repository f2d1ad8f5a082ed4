"""How a client trains a model of the core in one round, and with which settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from numbers import Integral, Real

import numpy as np
import numpy.typing as npt

from core.errors import SettingsError
from core.local_settings import LocalSettings, OptimiserName
from core.losses import Loss
from core.nn import Module
from core.optim import SGD, Adam, Optimiser
from core.randomness import Rng, generator
from core.tensor import Tensor
from core.training import Dataset, train_epoch, train_steps

FloatArray = npt.NDArray[np.float64]
MakeOptimiser = Callable[[Iterable[Tensor], float], Optimiser]
OPTIMISERS: dict[OptimiserName, MakeOptimiser] = {
    OptimiserName.SGD: SGD,
    OptimiserName.MOMENTUM: partial(SGD, momentum=0.9),
    OptimiserName.ADAM: Adam,
}


@dataclass(frozen=True)
class LocalTraining:
    """How a client trains in one round. Raises SettingsError for settings that cannot work.

    Attributes:
        learning_rate: of the optimiser.
        epochs: passes over the client's own data, in one round.
        batch_size: examples in a batch.
        optimiser: makes an optimiser from parameters and learning rate. It is made anew in every round: what it
            remembers of a round never leaves the client and is not carried to the next.
        steps: batches to train on in one round, instead of passes; None for passes.
        prox_mu: mu of FedProx (Li et al., MLSys 2020): mu/2 |w - w_global|^2 is added to the loss; 0 for none.
        correction: what SCAFFOLD adds to each gradient, c - c_i, shape (values,); None for nothing. Only SGD takes it.
    """

    learning_rate: float
    epochs: int = 1
    batch_size: int = 32
    optimiser: MakeOptimiser = Adam
    steps: int | None = None
    prox_mu: float = 0.0
    correction: FloatArray | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.learning_rate, Real) and 0 < self.learning_rate < inf):
            raise SettingsError(f"learning_rate is {self.learning_rate!r}; it must be a positive number")
        if not (isinstance(self.prox_mu, Real) and 0 <= self.prox_mu < inf):
            raise SettingsError(f"prox_mu is {self.prox_mu!r}; it must be 0 or a positive number")
        for name, number in (("epochs", self.epochs), ("batch_size", self.batch_size), ("steps", self.steps)):
            if number is not None and not (isinstance(number, Integral) and number >= 1):
                raise SettingsError(f"{name} is {number!r}; it must be a whole number of at least 1")

    def changed_by(self, asked: LocalSettings, round_number: int) -> LocalTraining:
        """Return the same with what a run asks for in one round. Raises SettingsError if that cannot work."""
        changed = replace(self, learning_rate=asked.rate(self.learning_rate, round_number), prox_mu=asked.prox_mu)
        if asked.batch_size is not None:
            changed = replace(changed, batch_size=asked.batch_size)
        if asked.optimiser is not None:
            changed = replace(changed, optimiser=OPTIMISERS[asked.optimiser])
        if asked.local_epochs is not None:
            changed = replace(changed, epochs=asked.local_epochs, steps=None)
        return changed if asked.local_steps is None else replace(changed, steps=asked.local_steps)

    def passes(self, examples: int) -> int:
        """Return how many passes over this many examples are begun in a round."""
        batches = -(-max(examples, 1) // self.batch_size)
        return self.epochs if self.steps is None else -(-self.steps // batches)

    def batches(self, examples: int) -> int:
        """Return how many batches are trained on in a round, of this many examples: the K of papers."""
        if not examples:
            return 0
        return self.epochs * -(-examples // self.batch_size) if self.steps is None else self.steps

    def trained_on(self, examples: int) -> int:
        """Return how many examples are trained on in a round, of this many: each once for each pass over it."""
        if self.steps is None or not examples:
            return self.epochs * examples
        passes, batches = divmod(self.steps, -(-examples // self.batch_size))
        return passes * examples + min(batches * self.batch_size, examples)


class CorrectedSGD(SGD):
    """Gradient descent with SCAFFOLD's correction: y = y - lr (g - c_i + c), Karimireddy et al. 2020, Algorithm 1.

    Args:
        correction: c - c_i, shape (values,), in the order of the flat vector of all `parameters`.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, correction: FloatArray) -> None:
        parameters, start = list(parameters), 0
        super().__init__(parameters, lr)
        self._parts = []
        for parameter in parameters:
            part = correction[start : start + parameter.size].reshape(parameter.shape)
            self._parts.append((parameter, part.astype(parameter.dtype)))
            start += parameter.size

    def step(self) -> None:
        """Move every parameter against its gradient, and then against the correction, which is not 0 where that is."""
        super().step()
        for parameter, part in self._parts:
            if parameter.requires_grad:
                parameter.data -= self.lr * part
                parameter.mark_changed()


def train_in_place(model: Module, data: Dataset, loss: Loss, local: LocalTraining, rng: Rng) -> None:
    """Train a model for one round of one client. Raises DivergedError as `train_epoch`."""
    optimiser, rng = _optimiser(model, local), generator(rng)
    if local.prox_mu:
        loss = proximal(loss, model, local.prox_mu)
    if local.steps is not None:
        train_steps(model, data, loss, optimiser, local.batch_size, rng, local.steps)
        return
    for _ in range(local.epochs):
        train_epoch(model, data, loss, optimiser, local.batch_size, rng)


def _optimiser(model: Module, local: LocalTraining) -> Optimiser:
    if local.correction is None:
        return local.optimiser(model.parameters(), local.learning_rate)
    return CorrectedSGD(model.parameters(), local.learning_rate, local.correction)


def proximal(loss: Loss, model: Module, mu: float) -> Loss:
    """Return FedProx's loss: F(w) + mu/2 |w - w_t|^2, where w_t are the weights that the model has now.

    Li et al., Federated Optimization in Heterogeneous Networks (MLSys 2020), equation 2.
    """
    weights = [(parameter, parameter.data.copy()) for parameter in model.parameters()]

    def with_pull(outputs: Tensor, targets: npt.NDArray[np.generic]) -> Tensor:
        total = loss(outputs, targets)
        for parameter, before in weights:
            away = parameter - Tensor(before)
            total = total + (away * away).sum() * (mu / 2)
        return total

    return with_pull
