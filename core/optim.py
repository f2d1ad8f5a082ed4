"""Optimisers: move each parameter against its gradient.

    optimiser = SGD(model.parameters(), lr=0.1)
    loss = mse(model(inputs), targets)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

Parameters without a gradient and frozen parameters stay where they are, and so do frozen entries: `Optimiser.freeze`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import GrokfedError
from core.ops import Array
from core.rows import RowMoments, add_to_rows
from core.tensor import Tensor


class DivergedError(GrokfedError):
    """Training went wrong: the loss or a gradient is not finite, or the loss grows without bound."""


class Optimiser(ABC):
    """Base of the optimisers.

    Attributes:
        lr: the learning rate; schedules change it.
        remembered: names of the arrays that are kept of each parameter from step to step.
    """

    remembered: tuple[str, ...] = ()

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters = _trainable(parameters)
        self.lr = float(_positive("lr", lr))
        self._frozen: dict[int, Any] = {}
        self._memories: dict[int, dict[str, Array]] = {}

    def freeze(self, parameter: Tensor, entries: Any) -> None:
        """Keep single entries of a parameter where they are, whatever their gradient, until `unfreeze` (chapter 5).

        To freeze a whole parameter set its `requires_grad` to False. Momentum still gathers the gradients of frozen
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
            if not parameter.requires_grad or not parameter.has_gradient:
                continue
            entries = self._frozen.get(position)
            kept = None if entries is None else parameter.data[entries].copy()
            self._update(position, parameter)
            if kept is not None:
                parameter.data[entries] = kept  # neither momentum nor decay may move them
            parameter.mark_changed()

    def state_dict(self) -> dict[str, Array]:
        """Return a copy of the learning rate and of what is remembered, "0.velocity" of the first parameter say.

        Settings that do not change in training, momentum for example, are not among it.
        """
        state = {"lr": np.asarray(self.lr)}
        for position, memory in sorted(self._memories.items()):
            state |= {f"{position}.{name}": array.copy() for name, array in memory.items()}
        return state

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Take up where another optimiser of such parameters was.

        Raises ValueError, and changes nothing, unless names and shapes are those that `state_dict` gives.
        """
        arrays = {name: np.array(array) for name, array in state.items()}
        rate = arrays.pop("lr", None)
        if rate is None or rate.shape:
            raise ValueError('the state of an optimiser has a single number "lr"')
        memories: dict[int, dict[str, Array]] = {}
        for position, parameter in enumerate(self.parameters):
            memory = {name: arrays.pop(f"{position}.{name}", None) for name in self.remembered}
            if any(array is not None for array in memory.values()):
                memories[position] = {name: _remembered(name, array, parameter) for name, array in memory.items()}
        if arrays:
            raise ValueError(f"the state has {sorted(arrays)}, which this optimiser does not know")
        self.lr, self._memories = float(_positive("lr", float(rate))), memories

    def _update(self, position: int, parameter: Tensor) -> None:
        gradient = parameter.grad
        assert gradient is not None  # or `step` would have left the parameter out
        self._move(position, parameter.data, gradient)

    @abstractmethod
    def _move(self, position: int, data: Array, gradient: Array) -> None:
        """Change `data` in place; `position` tells the parameters apart."""


class SGD(Optimiser):
    """Stochastic gradient descent: data -= lr * velocity, velocity = momentum * velocity + gradient.

    Args:
        momentum: share of the last movement that is kept, in [0, 1).
        weight_decay: adds weight_decay * data to the gradient.
    """

    remembered = ("velocity",)

    def __init__(
        self, parameters: Iterable[Tensor], lr: float, *, momentum: float = 0.0, weight_decay: float = 0.0
    ) -> None:
        super().__init__(parameters, lr)
        self.momentum = _share("momentum", momentum)
        self.weight_decay = _not_negative("weight_decay", weight_decay)

    def _update(self, position: int, parameter: Tensor) -> None:
        """Without momentum and decay only looked-up rows move: a large vocabulary costs no more than a small."""
        by_rows = [] if self.momentum or self.weight_decay else parameter.row_gradients
        for rows in by_rows:
            rows.add_to(parameter.data, -self.lr)
        if not by_rows:
            super()._update(position, parameter)

    def _move(self, position: int, data: Array, gradient: Array) -> None:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        if self.momentum:
            before = self._memories.get(position)
            gradient = gradient.copy() if before is None else self.momentum * before["velocity"] + gradient
            self._memories[position] = {"velocity": gradient}
        data -= self.lr * gradient


class Adam(Optimiser):
    """Adam (Kingma and Ba, 2015): each entry's step is scaled by the running size of its gradient.

    Args:
        betas: shares of the running mean and of the running square that are kept each step, in [0, 1).
        eps: added to the root of the square, so that it never divides by 0.
        weight_decay: adds weight_decay * data to the gradient.
    """

    remembered = ("steps", "mean", "square")

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

        self._by_rows: dict[int, RowMoments] = {}

    def state_dict(self) -> dict[str, Array]:
        """Return what `Optimiser.state_dict` does."""
        for position in list(self._by_rows):
            self._remember_whole(position)
        return super().state_dict()

    def load_state_dict(self, state: Mapping[str, npt.ArrayLike]) -> None:
        """Take up where another optimiser was, as `Optimiser.load_state_dict` does."""
        super().load_state_dict(state)
        self._by_rows.clear()

    def _update(self, position: int, parameter: Tensor) -> None:
        """Without decay rows that were never looked up stay: a large vocabulary costs no more than what is used."""
        parts = [] if self.weight_decay or position in self._memories else parameter.row_gradients
        if parts:
            moments = self._by_rows.setdefault(position, RowMoments(parameter.data))
            gradient = moments.gradient(parts)
            moments.steps += 1
            step = self._step(moments.mean, moments.square, gradient, moments.steps)
            add_to_rows(parameter.data, moments.rows, -step)
        else:
            super()._update(position, parameter)

    def _move(self, position: int, data: Array, gradient: Array) -> None:
        if self.weight_decay:
            gradient = gradient + self.weight_decay * data
        self._remember_whole(position)
        nothing = {"steps": np.zeros((), np.int64), "mean": np.zeros_like(data), "square": np.zeros_like(data)}
        memory = self._memories.setdefault(position, nothing)
        memory["steps"] = memory["steps"] + 1
        data -= self._step(memory["mean"], memory["square"], gradient, int(memory["steps"]))

    def _step(self, mean: Array, square: Array, gradient: Array, steps: int) -> Array:
        """Bring the averages up to date, in place, and return how far to go down."""
        beta1, beta2 = self.betas
        mean *= beta1
        mean += (1 - beta1) * gradient
        square *= beta2
        square += (1 - beta2) * gradient**2
        # Both averages start at 0; dividing by 1 - beta^steps takes that bias out.
        step, size = mean / (1 - beta1**steps), square / (1 - beta2**steps)
        step *= self.lr
        step /= np.sqrt(size) + self.eps
        return step

    def _remember_whole(self, position: int) -> None:
        """Remember rows that were looked up as arrays in the parameter's shape from now on."""
        if position in self._by_rows:
            self._memories[position] = self._by_rows.pop(position).whole()


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
        """Count one pass, and lower the rate after every `step_size` of them."""
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
        may_stay: whether to stop where both sides are worse. Otherwise the walk continues and swings around the goal.

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


def clip_grad_norm_(parameters: Iterable[Tensor] | Tensor, max_norm: float) -> float:
    """Scale all gradients together so that their global norm is at most `max_norm`; return the norm before.

    Raises DivergedError if a gradient is not finite: no factor would bring it back.
    """
    _positive("max_norm", max_norm)
    parameters = [parameters] if isinstance(parameters, Tensor) else parameters
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
        if not math.isfinite(loss) or loss > self.growth * max(self.first, 1.0):
            raise DivergedError(
                f"training diverged: the loss of step {self.steps} is {loss:.6g}, that of step 1 was "
                f"{self.first:.6g}; a smaller learning rate usually helps"
            )


def _trainable(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return what an optimiser moves; TypeError or ValueError for what would train nothing, or something twice."""
    if isinstance(parameters, Tensor):
        raise TypeError(f"parameters are several tensors, not one of shape {parameters.shape}: put it into a list")
    if hasattr(parameters, "parameters"):
        raise TypeError(f"parameters are tensors, not a {type(parameters).__name__}: pass its parameters()")
    found = list(parameters)
    for parameter in found:
        if not isinstance(parameter, Tensor):
            raise TypeError(f"parameters are tensors, not {type(parameter).__name__}")
        if parameter.is_computed:
            raise ValueError(f"a tensor of shape {parameter.shape} is a result: only what it was computed from learns")
    if not found:
        raise ValueError("there are no parameters to train; a generator of them can be used only once")
    if len(set(map(id, found))) < len(found):
        raise ValueError("a parameter is there twice, and would move twice a step")
    return found


def _remembered(name: str, array: Array | None, parameter: Tensor) -> Array:
    """Check what an optimiser is to remember of a parameter; return it in the parameter's type."""
    shape = () if name == "steps" else parameter.shape
    if array is None or array.shape != shape:
        found = "missing" if array is None else f"of shape {array.shape}"
        raise ValueError(f"{name} of a parameter of shape {parameter.shape} is {found}; {shape} is needed")
    if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
        raise ValueError(f"{name} of a parameter of shape {parameter.shape} holds what is no finite number")
    return array if name == "steps" else array.astype(parameter.dtype)


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
