"""The network of an in-process federation: how long messages take, and which of them are lost or arrive twice."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

Delay = Callable[[random.Random], float]


def at_once(_rng: random.Random) -> float:
    """Deliver without delay."""
    return 0.0


def between(shortest: float, longest: float) -> Delay:
    """Draw each delay uniformly, in seconds; messages of different parties then overtake one another."""
    return lambda rng: rng.uniform(shortest, longest)


@dataclass
class Network:
    """What happens to messages. All of it can be changed while the federation runs.

    Attributes:
        delay: draws the seconds that a message takes.
        loss: chance that a request, its reply, or a stream is lost; the party tries again after `retry_seconds`.
        duplicates: chance that a request arrives a second time, later.
        cut_off: names of parties that cannot reach the aggregator.
        seed: of all that is drawn here.
    """

    delay: Delay = at_once
    loss: float = 0.0
    duplicates: float = 0.0
    retry_seconds: float = 1.0
    cut_off: set[str] = field(default_factory=set)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, chance in (("loss", self.loss), ("duplicates", self.duplicates)):
            if not 0 <= chance < 1:
                raise ValueError(f"the chance of {name} is {chance}; expected 0 to less than 1")
        self._rng = random.Random(self.seed)  # noqa: S311  it decides what is lost, and nothing secret

    def seconds(self) -> float:
        """Draw how long one message takes."""
        return self.delay(self._rng)

    def loses(self, party: str) -> bool:
        """Draw whether a message from or to a party is lost."""
        return party in self.cut_off or self._happens(self.loss)

    def repeats(self) -> bool:
        """Draw whether a request arrives twice."""
        return self._happens(self.duplicates)

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self._rng.random() < chance
