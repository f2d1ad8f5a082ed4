"""Optimisers: move each parameter against its gradient.

    optimiser = SGD(model.parameters(), lr=0.1)
    loss = mse(model(inputs), targets)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

Parameters without a gradient and frozen parameters stay where they are, and so do frozen entries: `Optimiser.freeze`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from core.errors import GrokfedError
from core.ops import Array
from core.tensor import Tensor


class DivergedError(GrokfedError):
    """Training went wrong: the loss or a gradient is not finite, or the loss grows without bound."""


class Optimiser(ABC):
    """Base of the optimisers.

    Attributes:
        lr: the learning rate; schedules change it.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = list(parameters)
        self.lr = _positive("lr", lr)
        self._frozen: dict[int, Any] = {}

    def freeze(self, parameter: Tensor, entries: Any) -> None:
        """Keep single entries of a parameter where they are, whatever their gradient, until `unfreeze` (chapter 5).

        To freeze a whole parameter set its `requires_grad` to False. Momentum goes on gathering the gradients of frozen
        entries, and moves them when they are let go.

        Args:
            entries: which, as an index of the parameter's array: a boolean mask of its shape, or row numbers for
                example. They take the place of what was frozen of this parameter before.

        Raises:
            ValueError: the parameter is not among those of this optimiser.
            IndexError: the index does not fit the parameter.
        """
        _ = parameter.data[entries]
        self._frozen[self._position(parameter)] = entries

    def unfreeze(self, parameter: Tensor) -> None:
        """Let all entries of a parameter learn again. Raises ValueError as `freeze` does."""
        self._frozen.pop(self._position(parameter), None)

    def _position(self, parameter: Tensor) -> int:
        for position, own in enumerate(self.parameters):
            if own is parameter:
                return position
        raise ValueError(f"a tensor of shape {parameter.shape} is not among the parameters of this optimiser")

    def zero_grad(self) -> None:
        """Forget the gradients; call it before `backward`, which adds to them."""
        for parameter in self.parameters:
            parameter.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient, but not its frozen entries."""
        for position, parameter in enumerate(self.parameters):
            if not parameter.requires_grad:
                continue
            entries = self._frozen.get(position)
            kept = None if entries is None else parameter.data[entries].copy()
            self._update(position, parameter)
            if kept is not None:
                parameter.data[entries] = kept  # neither momentum nor decay may move them

    def _update(self, position: int, parameter: Tensor) -> None:
        if parameter.grad is not None:
            self._move(position, parameter.data, parameter.grad)

    @abstractmethod
    def _move(self, position: int, data: Array, gradient: Array) -> None:
        """Change `data` in place; `position` tells the parameters apart."""


class SGD(Optimiser):
    """Stochastic gradient descent: data -= lr * velocity, velocity = momentum * velocity + gradient.

    Args:
        momentum: share of the last movement that is kept, in [0, 1).
        weight_decay: adds weight_decay * data to the gradient.
    """

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum = _share("momentum", momentum)
        self.weight_decay = _not_negative("weight_decay", weight_decay)
        self._velocities: dict[int, Array] = {}

    def _update(self, position: int, parameter: Tensor) -> None:
        """Without momentum and decay only looked-up rows move: a large vocabulary costs no more than a small."""
        if parameter.row_gradients and not self.momentum and not self.weight_decay:
            for rows in parameter.row_gradients:
                rows.add_to(parameter.data, -self.lr)
        else:
            super()._update(position, parameter)

    def _move(self, position: int, data: Array, gradient: Array) -> None:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        if self.momentum:
            gradient = self.momentum * self._velocities.get(position, 0.0) + gradient
            self._velocities[position] = gradient
        data -= self.lr * gradient


class Adam(Optimiser):
    """Adam (Kingma and Ba, 2015): each entry's step is scaled by the running size of its gradient.

    Args:
        betas: shares of the running mean and of the running square that are kept each step, in [0, 1).
        eps: added to the root of the square, so that it never divides by 0.
        weight_decay: adds weight_decay * data to the gradient.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas = (_share("betas[0]", betas[0]), _share("betas[1]", betas[1]))
        self.eps = _positive("eps", eps)
        self.weight_decay = _not_negative("weight_decay", weight_decay)
        self._states: dict[int, tuple[int, Array, Array]] = {}

    def _move(self, position: int, data: Array, gradient: Array) -> None:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        step, mean, square = self._states.get(position, (0, np.zeros_like(data), np.zeros_like(data)))
        step += 1
        beta1, beta2 = self.betas
        mean = beta1 * mean + (1 - beta1) * gradient
        square = beta2 * square + (1 - beta2) * gradient**2
        self._states[position] = (step, mean, square)
        # Both averages start at 0; dividing by 1 - beta^step takes that bias out.
        unbiased_mean, unbiased_square = mean / (1 - beta1**step), square / (1 - beta2**step)
        data -= self.lr * unbiased_mean / (np.sqrt(unbiased_square) + self.eps)


# --- Schedules of the learning rate ---


class StepDecay:
    """Multiply the learning rate by `gamma` after every `step_size` calls of `step`, one call a pass."""

    def __init__(self, optimiser: Optimiser, step_size: int, gamma: float) -> None:
        if step_size < 1:
            raise ValueError(f"step_size must be at least 1, not {step_size}")
        self.optimiser = optimiser
        self.step_size = step_size
        self.gamma = _positive("gamma", gamma)
        self.passes = 0

    def step(self) -> None:
        self.passes += 1
        if self.passes % self.step_size == 0:
            self.optimiser.lr *= self.gamma


class ExponentialDecay(StepDecay):
    """Multiply the learning rate by `gamma` at every call of `step`, one call a pass."""

    def __init__(self, optimiser: Optimiser, gamma: float) -> None:
        super().__init__(optimiser, 1, gamma)


# --- Learning without gradients ---


@dataclass(frozen=True)
class Move:
    """One step of `hot_and_cold`: the weight and its error before the step."""

    weight: float
    error: float


def hot_and_cold(
    error: Callable[[float], float], weight: float, step: float, moves: int, *, may_stay: bool = False
) -> list[Move]:
    """Walk to and fro: try the weight a step up and a step down and go where the error is smaller.

    Args:
        may_stay: whether to stop where both sides are worse. Otherwise the walk goes on and swings around the goal.

    Returns:
        The path, from the starting weight to where the walk ends: at most moves + 1 entries.
    """
    path = [Move(weight, error(weight))]
    for _ in range(moves):
        up, down = (Move(path[-1].weight + change, error(path[-1].weight + change)) for change in (step, -step))
        better = down if down.error < up.error else up
        if may_stay and better.error >= path[-1].error:
            break
        path.append(better)
    return path


# --- Gradients and losses out of bounds ---


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float) -> float:
    """Scale all gradients together so that their global norm is at most `max_norm`; return the norm before.

    Raises DivergedError if a gradient is not finite: no factor would bring it back.
    """
    _positive("max_norm", max_norm)
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    norm = float(np.sqrt(sum(float(np.vdot(gradient, gradient)) for gradient in gradients)))
    if not np.isfinite(norm):
        raise DivergedError(f"training diverged: the global norm of the gradients is {norm}")
    if norm > max_norm:
        for gradient in gradients:
            gradient *= max_norm / norm
    return norm


class DivergenceCheck:
    """Watch the losses of a training run.

    Args:
        growth: how many times the first loss (or 1, if that is more) is taken for growth without bound.
    """

    def __init__(self, growth: float = 1e6) -> None:
        self.growth = _positive("growth", growth)
        self.first: float | None = None
        self.steps = 0

    def __call__(self, loss: float) -> None:
        """Look at the loss of one more step; raise DivergedError if training diverged."""
        self.steps += 1
        if self.first is None:
            self.first = loss
            if not np.isfinite(loss):
                raise DivergedError(
                    f"training cannot begin: the loss of step 1 is {loss:.6g}; "
                    "the data or the weights hold numbers that are not finite, or too large"
                )
        if not np.isfinite(loss) or loss > self.growth * max(self.first, 1.0):
            raise DivergedError(
                f"training diverged: the loss of step {self.steps} is {loss:.6g}, that of step 1 was "
                f"{self.first:.6g}; a smaller learning rate usually helps"
            )


def _positive(name: str, value: float) -> float:
    if not (np.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a positive number, not {value}")
    return value


def _not_negative(name: str, value: float) -> float:
    if not (np.isfinite(value) and value >= 0):
        raise ValueError(f"{name} must be a number of at least 0, not {value}")
    return value


def _share(name: str, value: float) -> float:
    if not 0 <= value < 1:
        raise ValueError(f"{name} must be in [0, 1), not {value}")
    return value
