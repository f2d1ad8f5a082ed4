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
            nobody's mail, so that "not moved" is right most of the time: an attacker who guesses that knows nothing.
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

    def __str__(self) -> str:
        return f"{self.right} of {self.weights} weights, {self.moved_right} of the {self.moved} moved"
