"""What an attack got, and how much of it is true."""

from __future__ import annotations

from dataclasses import dataclass

from experiments.arrays import IntArray


@dataclass(frozen=True)
class Loot:
    """What the attacker says is the victim's update, held against what it was.

    Attributes:
        right: weights that are exactly right, of `weights`.
        moved_right: of the `moved` weights that the victim moved, how many are exactly right. Most words occur in
            no client's mail, so that "not moved" is right most of the time: an attacker who guesses that knows nothing.
    """

    right: int
    weights: int
    moved_right: int
    moved: int

    @classmethod
    def of(cls, guess: IntArray, truth: IntArray) -> Loot:
        """Compare a guess with the truth, both of shape (weights,)."""
        same, moved = guess == truth, truth != 0
        return cls(int(same.sum()), len(truth), int((same & moved).sum()), int(moved.sum()))

    def at_least(self, share: float) -> bool:
        """Tell whether this share of the weights is right, and of the moved ones too."""
        return self.moved > 0 and self.right >= share * self.weights and self.moved_right >= share * self.moved

    @property
    def brief(self) -> str:
        """For a narrow column."""
        return f"{self.right} of {self.weights}"

    def __str__(self) -> str:
        return f"{self.right} of {self.weights} weights, {self.moved_right} of the {self.moved} moved"


@dataclass(frozen=True)
class Overspent(Loot):
    """An epsilon that a client's data was made to cost, above the one allowed; the counts say whether it is above."""

    epsilon: float = 0.0
    allowed: float = 0.0

    @classmethod
    def of_epsilon(cls, epsilon: float, allowed: float) -> Overspent:
        """Return what was spent, which is all that was wanted if it is more than is allowed."""
        above = int(epsilon > allowed)
        return cls(above, 1, above, 1, epsilon, allowed)

    @property
    def brief(self) -> str:
        return f"epsilon {self.epsilon:.3g}"

    def __str__(self) -> str:
        return f"an epsilon of {self.epsilon:.3g} where {self.allowed:g} is allowed"
