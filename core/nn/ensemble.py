"""Several networks that answer together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from core.nn.module import Module
from core.tensor import Tensor


class Ensemble(Module):
    """Answer with the mean of the members' outputs: networks that started differently err differently (chapter 8).

    To average probabilities let each member end in a softmax. Members may be plain functions of tensors.
    """

    def __init__(self, members: Iterable[Callable[[Any], Tensor]]) -> None:
        self.members = list(members)
        if not self.members:
            raise ValueError("an ensemble without members has no answer; at least 1 is needed")

    def forward(self, inputs: Any) -> Tensor:
        """Return the mean of the members' outputs, in their shape."""
        total, *others = (member(inputs) for member in self.members)
        for output in others:
            total = total + output
        return total / len(self.members)
