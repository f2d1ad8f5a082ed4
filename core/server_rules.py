"""The server's rule: how the mean update of a round's opened sum makes the next model, as pure functions.

    fedavg      x = x + eta D                                                       McMahan et al., AISTATS 2017
    fedavgm     v = beta v + D;                       x = x + eta v                 Hsu, Qi and Brown 2019, section 4.3
    fedadagrad  v = v + D^2                                                         Reddi et al., ICLR 2021, Algorithm 2
    fedyogi     v = v - (1 - beta2) D^2 sign(v - D^2)
    fedadam     v = beta2 v + (1 - beta2) D^2
                each with  m = beta1 m + (1 - beta1) D;  x = x + eta m / (sqrt(v) + tau)
    scaffold    x = x + eta D;  c = c + |S| / N E                                   Karimireddy et al., ICML 2020

D is the mean update, E the mean change of the clients' control variates, which scaffold's clients send with it
(core/scaffold.py). What a rule remembers (v, m and v, or c) is its state: it begins anew with every run, and follows
from the run's opened sums alone, so whoever follows the rounds computes it. Only additions, multiplications, divisions
and square roots are used, which IEEE 754 rounds correctly: every machine gets the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from decimal import Context, Decimal, localcontext
from enum import StrEnum
from functools import cached_property
from typing import Annotated

import numpy as np
import numpy.typing as npt

from core.errors import SettingsError
from core.settings.setting import Bounds, Setting, Settings

FloatArray = npt.NDArray[np.float64]
STATE_DTYPE = "<f8"


class RuleName(StrEnum):
    """The rules there are."""

    fedavg = "fedavg"
    fedavgm = "fedavgm"
    fedadagrad = "fedadagrad"
    fedadam = "fedadam"
    fedyogi = "fedyogi"
    scaffold = "scaffold"


ADAPTIVE = {"learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "tau": 1e-3}
PARAMETERS: dict[RuleName, dict[str, float]] = {
    RuleName.fedavg: {"learning_rate": 1.0},
    RuleName.fedavgm: {"learning_rate": 1.0, "momentum": 0.9},
    RuleName.fedadagrad: {"learning_rate": 0.01, "beta1": 0.0, "tau": 1e-3},
    RuleName.fedadam: ADAPTIVE,
    RuleName.fedyogi: ADAPTIVE,
    RuleName.scaffold: {"learning_rate": 1.0, "population": 0.0},
}
"""What each rule can be set to, with the defaults; a population of 0 is not known yet (`over`)."""
STATE_VECTORS = {RuleName.fedavg: 0, RuleName.fedavgm: 1, RuleName.scaffold: 1}
"""How many numbers a weight the rule remembers; 2 for the others."""
MOST_STATE_VECTORS = 2
CLIP_RATE = 0.2
MOST_CLIP_FACTOR = 2.0**20
FRACTION = Bounds(at_least=0, below=1)


@dataclass(frozen=True)
class ServerRule(Settings):
    """A rule with its parameters; those it has and that are not given get their defaults, the others are None.

    Raises SettingsError for a parameter that the rule does not have.
    """

    name: Annotated[
        RuleName,
        Setting(
            "How the mean update makes the next model: fedavg, fedavgm, fedadagrad, fedadam, fedyogi, or scaffold, "
            "which also corrects the clients' training (docs/rules.md).",
            option="rule",
        ),
    ] = RuleName.fedavg
    learning_rate: Annotated[
        float | None,
        Setting(
            "The rule's eta; default 1, and 0.01 for fedadagrad, fedadam and fedyogi.",
            bounds=Bounds(above=0, at_most=1e6),
            option="server-learning-rate",
        ),
    ] = None
    momentum: Annotated[
        float | None,
        Setting("With --rule fedavgm: beta, default 0.9.", bounds=FRACTION, option="server-momentum"),
    ] = None
    beta1: Annotated[
        float | None,
        Setting("With --rule fedadam or fedyogi: default 0.9; with fedadagrad: default 0.", bounds=FRACTION),
    ] = None
    beta2: Annotated[float | None, Setting("With --rule fedadam or fedyogi: default 0.99.", bounds=FRACTION)] = None
    tau: Annotated[
        float | None,
        Setting(
            "With --rule fedadagrad, fedadam or fedyogi: how little they adapt, default 0.001.",
            bounds=Bounds(at_least=1e-12, at_most=1e6),
        ),
    ] = None
    population: Annotated[
        float | None,
        Setting(
            "With --rule scaffold: N, of how many clients c is the mean; default as many as are expected.",
            "clients",
            Bounds(at_least=1, at_most=1e9),
        ),
    ] = None

    clip_quantile: Annotated[
        float | None,
        Setting(
            "With privacy: let the clip follow this quantile of the updates' norms, as 0.5; default it stays.",
            bounds=Bounds(above=0, below=1),
        ),
    ] = None
    clip_rate: Annotated[
        float | None,
        Setting("With --clip-quantile: how fast the clip follows; default 0.2.", bounds=Bounds(above=0, at_most=10)),
    ] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", _named(self.name))
        super().__post_init__()
        if self.clip_quantile is None and self.clip_rate is not None:
            raise SettingsError(f"--clip-rate is {self.clip_rate:g}, which only --clip-quantile has; add it")
        if self.clip_quantile is not None:
            object.__setattr__(self, "clip_rate", CLIP_RATE if self.clip_rate is None else float(self.clip_rate))
        has = PARAMETERS[self.name]
        for field in fields(self)[1:-2]:
            value = getattr(self, field.name)
            if field.name in has:
                object.__setattr__(self, field.name, has[field.name] if value is None else float(value))
            elif value is not None:
                option = f"--server-{field.name}" if field.name == "momentum" else f"--{field.name}"
                rules = ", ".join(name for name, known in PARAMETERS.items() if field.name in known)
                raise SettingsError(f"{option} is {value:g}, which --rule {self.name} does not have; it is for {rules}")

    @property
    def is_default(self) -> bool:
        """Whether this is the plain mean, which a round's description does not mention."""
        return self == FEDAVG

    @property
    def vectors(self) -> int:
        """How many numbers a weight the rule remembers."""
        return STATE_VECTORS.get(self.name, MOST_STATE_VECTORS)

    @property
    def corrects_clients(self) -> bool:
        """Whether clients train with the rule's state, and send a second vector for it."""
        return self.name is RuleName.scaffold

    @property
    def exchanged(self) -> int:
        """How many numbers a weight a client is sent, and sends in its update."""
        return 2 if self.corrects_clients else 1

    @property
    def adapts_clip(self) -> bool:
        """Whether the clip follows the updates' norms: each update, and the state, have one more number for it."""
        return self.clip_quantile is not None

    def numbers(self, weights: int) -> int:
        """Return how many numbers an update of a model with so many weights has."""
        return weights * self.exchanged + self.adapts_clip

    def weights(self, numbers: int) -> int:
        """Return how many weights a model has whose updates have so many numbers."""
        return (numbers - self.adapts_clip) // self.exchanged

    def state_numbers(self, weights: int) -> int:
        """Return how many numbers the rule remembers of a model with so many weights."""
        return self.vectors * weights + self.adapts_clip

    def over(self, clients: int) -> ServerRule:
        """Return the rule for a federation of so many clients, where it counts them and was not told."""
        return replace(self, population=float(clients)) if self.population == 0 else self

    @property
    def sentence(self) -> str:
        """The rule with its parameters, for people."""
        said = {"learning_rate": "learning rate"}
        parts = [f"{said.get(name, name)} {getattr(self, name):.10g}" for name in PARAMETERS[self.name]]
        clip = f", clip at quantile {self.clip_quantile:g}, rate {self.clip_rate:g}" if self.adapts_clip else ""
        return f"{self.name.value} ({', '.join(parts)}{clip})"

    def initial_state(self, values: int) -> FloatArray:
        """Return what the rule remembers before a run's first round, shape (vectors * values,); 1 more with a clip."""
        state = np.zeros(self.vectors * values)
        if self.tau is not None:
            state[values:] = self.tau * self.tau  # the paper asks for v of at least tau squared
        return np.append(state, 1.0) if self.adapts_clip else state

    def state_digest(self, state: FloatArray) -> bytes:
        """Return SHA-256 of the rule, its parameters and its state; nothing for the plain mean.

        So a model that was endorsed under one rule does not pass as the start of a round under another.
        """
        if self.is_default:
            return b""
        clip = [self._number(name).hex() for name in ("clip_quantile", "clip_rate") if self.adapts_clip]
        said = repr([self.name.value, *(getattr(self, name).hex() for name in PARAMETERS[self.name]), *clip])
        raw = np.ascontiguousarray(state, dtype=STATE_DTYPE).tobytes()
        return hashlib.sha256(said.encode() + b"\0" + raw).digest()

    def step(
        self, model: FloatArray, state: FloatArray, mean: FloatArray, contributors: int
    ) -> tuple[FloatArray, FloatArray]:
        """Return the next model, shape (values,), and the next state.

        Args:
            mean: the mean update, shape (numbers(values),); the last is the share within the clip, if that adapts.
            contributors: how many updates it is the mean of.
        """
        if self.adapts_clip:
            factor = float(state[-1])
            model, rest = replace(self, clip_quantile=None, clip_rate=None).step(
                model, state[:-1], factor * mean[:-1], contributors
            )
            return model, np.append(rest, self.clip_factor_after(factor, float(mean[-1])))
        eta = self._number("learning_rate")
        match self.name:
            case RuleName.fedavg:
                return model + eta * mean, state
            case RuleName.fedavgm:
                velocity = self._number("momentum") * state + mean
                return model + eta * velocity, velocity
            case RuleName.scaffold:
                population = self._number("population")
                change, control_change = mean[: len(model)], mean[len(model) :]
                return model + eta * change, state + min(contributors, population) / population * control_change
        first, second = state[: len(model)], state[len(model) :]
        beta1 = self._number("beta1")
        first = beta1 * first + (1 - beta1) * mean
        second = SECOND_MOMENTS[self.name](second, mean * mean, self.beta2 or 0.0)
        step = eta * first / (np.sqrt(second) + self._number("tau"))
        return model + step, np.concatenate([first, second])

    def clip_factor_after(self, factor: float, share_within: float) -> float:
        """Return C exp(-rate (b - quantile)), as a multiple of the first C (Andrew et al., NeurIPS 2021, section 2).

        The exponential is the decimal one, which is rounded correctly: every machine gets the same bytes.
        """
        exponent = -self._number("clip_rate") * (share_within - self._number("clip_quantile"))
        with localcontext(Context(prec=30)):
            grown = factor * float(Decimal(min(max(exponent, -20.0), 20.0)).exp())
        return min(max(grown, 1 / MOST_CLIP_FACTOR), MOST_CLIP_FACTOR)

    def _number(self, name: str) -> float:
        """Return a parameter that this rule has."""
        return float(getattr(self, name))


SECOND_MOMENTS: dict[RuleName, Callable[[FloatArray, FloatArray, float], FloatArray]] = {
    RuleName.fedadagrad: lambda second, square, _: second + square,
    RuleName.fedadam: lambda second, square, beta2: beta2 * second + (1 - beta2) * square,
    RuleName.fedyogi: lambda second, square, beta2: second - (1 - beta2) * square * np.sign(second - square),
}
"""How each adaptive rule takes in the square of the mean update."""


def _named(name: str) -> RuleName:
    try:
        return RuleName(name)
    except ValueError:
        raise SettingsError(f"the server's rule is {name!r}; known are {', '.join(RuleName)}") from None


def endorsed_digest(model_digest: bytes, state_digest: bytes) -> bytes:
    """Return what key holders sign: the digest of the model, or of model and state where there is a state."""
    return hashlib.sha256(model_digest + state_digest).digest() if state_digest else model_digest


FEDAVG = ServerRule()


@dataclass(frozen=True, eq=False)
class ServerModel:
    """A model, shape (values,), with its rule and what the rule remembers, shape (rule.vectors * values,)."""

    rule: ServerRule
    model: FloatArray
    state: FloatArray

    @classmethod
    def start(cls, rule: ServerRule, model: FloatArray) -> ServerModel:
        """Return the model before a run's first round, of which the rule remembers nothing yet."""
        return cls(rule, model, rule.initial_state(len(model)))

    @classmethod
    def from_vector(cls, rule: ServerRule, vector: FloatArray) -> ServerModel:
        """Return what `vector` gave. Raises ValueError if its length cannot be right."""
        values, left = divmod(len(vector) - rule.adapts_clip, 1 + rule.vectors)
        if left:
            raise ValueError(f"a model with the state of {rule.name} has {len(vector)} numbers")
        return cls(rule, vector[:values], vector[values:])

    @property
    def vector(self) -> FloatArray:
        """Model and state in one vector, shape ((1 + rule.vectors) * values,); one more with a clip that adapts."""
        return np.concatenate([self.model, self.state]) if len(self.state) else self.model

    @property
    def clip_factor(self) -> float:
        """By what the first clip norm is multiplied in the next round; 1 unless the clip adapts."""
        return float(self.state[-1]) if self.rule.adapts_clip else 1.0

    @property
    def for_clients(self) -> FloatArray:
        """What clients train from, shape (rule.exchanged * values,): the model, and the state where they need it."""
        return self.vector if self.rule.corrects_clients else self.model

    def after(self, mean: FloatArray, contributors: int) -> ServerModel:
        """Return the model after a round with this mean of so many updates, shape (rule.exchanged * values,)."""
        return ServerModel(self.rule, *self.rule.step(self.model, self.state, mean, contributors))

    @cached_property
    def model_digest(self) -> bytes:
        """SHA-256 of the model alone, from which clients train."""
        return hashlib.sha256(np.ascontiguousarray(self.model, dtype=STATE_DTYPE).tobytes()).digest()

    @cached_property
    def state_digest(self) -> bytes:
        """SHA-256 of the rule and its state; empty for the plain mean."""
        return self.rule.state_digest(self.state)

    @property
    def endorsed(self) -> bytes:
        """What key holders sign."""
        return endorsed_digest(self.model_digest, self.state_digest)
