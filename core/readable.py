"""How the numbers of a tensor are read: its shape, its text, and what it is as a number or an array."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from core.indices import Array


class StandIn:
    """Something that takes the place of a number in a tensor, to take note of what is done with it."""

    @staticmethod
    def fill(array: Array) -> bool:
        """Return whether an array holds such things and nothing else."""
        return bool(array.size) and all(isinstance(entry, StandIn) for entry in array.flat)


class Readable:
    """Something with an array of numbers, `data`."""

    __slots__ = ()
    data: Array
    requires_grad: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self.data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.data.ndim

    @property
    def size(self) -> int:
        """Number of entries."""
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the entries."""
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"Tensor({self.data}{', requires_grad=True' if self.requires_grad else ''})"

    def __format__(self, layout: str) -> str:
        """Write the only entry as a number is written; several can be written without a layout only."""
        return format(self.item(), layout) if layout else str(self)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return operator.index(self.data.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ValueError(f"whether a tensor of shape {self.shape} is true is ambiguous: compare all its numbers")
        return bool(self.item())

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self.requires_grad:
            raise TypeError(
                f"a tensor of shape {self.shape} that requires a gradient would be cut off from its graph as an array: "
                "use the tensor itself, stack() for several, or detach() to cut it on purpose"
            )
        return np.array(self.data, dtype, copy=copy)

    def numpy(self) -> Array:
        """Return the array itself, not a copy."""
        return self.data

    def item(self) -> float:
        """Return the only entry as a Python number."""
        if self.data.size != 1:
            raise ValueError(f"a tensor of shape {self.shape} is not one number")
        return self.data.item()  # type: ignore[no-any-return]
