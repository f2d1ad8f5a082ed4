"""The record of how arrays were computed, and the walk back over it that finds gradients (reverse-mode autograd).

A node holds an array and, if it was computed, one edge to each input that requires a gradient. `backward` visits each
node after everything computed from it, so that its gradient is complete before it is handed on. `core.tensor` adds
the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import numpy as np
import numpy.typing as npt

from core.ops import Array, Derivative, unbroadcast
from core.rows import RowGradient

_recording: ContextVar[bool] = ContextVar("recording", default=True)


@contextmanager
def no_grad() -> Iterator[None]:
    """Compute without recording a graph: for evaluation and for changing parameters."""
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def is_recording() -> bool:
    """Return whether what is computed now gets a place in the graph."""
    return _recording.get()


# How the gradient of a result reaches an input: the input, its derivative, and which version of the input's array that
# was computed from.
Edge = tuple["Node", Derivative, int]


class Node:
    """An array with a place in the graph and, where asked for, a gradient."""

    __slots__ = (
        "__weakref__",
        "_edges",
        "_grad",
        "_keeps_grad",
        "_rows",
        "_spent",
        "_version",
        "data",
        "requires_grad",
    )

    def __init__(self, data: Array, requires_grad: bool = False) -> None:
        self.data = data
        self.requires_grad = requires_grad
        self._grad: Array | None = None
        self._rows: tuple[RowGradient, ...] = ()
        self._edges: tuple[Edge, ...] = ()
        self._spent = False
        self._keeps_grad = False
        self._version = 0

    @property
    def grad(self) -> Array | None:
        """None, or an array of the tensor's shape and dtype to which every `backward` adds."""
        if self._rows:
            rows, self._rows = self._rows, ()
            for part in rows:
                self._deposit(np.asarray(part.dense(), self.data.dtype))
        return self._grad

    @grad.setter
    def grad(self, gradient: npt.ArrayLike | None) -> None:
        self._grad = None if gradient is None else self._fitting(gradient, copy=None)
        self._rows = ()

    @property
    def row_gradients(self) -> list[RowGradient]:
        """The whole gradient as the sum of these, if only a few rows of this table were looked up; else empty.

        Reading `.grad` gives the same as one array, and empties this list.
        """
        return list(self._rows)

    @property
    def has_gradient(self) -> bool:
        """Whether a `backward` has left a gradient here."""
        return self._grad is not None or bool(self._rows)

    @property
    def is_computed(self) -> bool:
        """Whether this is the result of other tensors, and not a leaf that can learn."""
        return bool(self._edges) or self._spent

    def mark_changed(self) -> None:
        """Note that the array was changed in place: graphs that were computed from it have no gradient any more."""
        self._version += 1

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in `.grad` too, to look at it."""
        self._keeps_grad = True

    def backward(self, gradient: npt.ArrayLike | None = None, retain_graph: bool = False) -> None:
        """Add the derivative of this tensor with respect to every leaf to the leaf's `.grad`; free the graph.

        Args:
            gradient: what the entries of this tensor weigh, in its shape; 1 for a scalar if left out.
            retain_graph: keep the graph instead, for another backward pass.

        Raises:
            RuntimeError: nothing here requires a gradient, the graph was freed by an earlier backward pass, or an
                optimiser has changed a parameter since the forward pass.
            ValueError: the gradient's shape is not the tensor's, or is left out though this is no scalar.
        """
        if not self.requires_grad:
            raise RuntimeError("this tensor has no gradient: nothing it was computed from requires one")
        open_uses = _count_uses(self)
        waiting = {self: self._seed(gradient)}
        ready = [self]
        while ready:  # each node comes after everything computed from it
            node = ready.pop()
            incoming = waiting.pop(node)
            if node._keeps_grad or not node._edges:
                node._deposit(np.array(incoming))
            for source, derivative, _ in node._edges:
                outgoing = derivative(incoming)
                if isinstance(outgoing, RowGradient):
                    if source._takes_rows(outgoing):
                        continue
                    outgoing = outgoing.dense()
                outgoing = _of_type(source.data, outgoing)
                if source._edges:
                    waiting[source] = waiting[source] + outgoing if source in waiting else outgoing
                    open_uses[source] -= 1
                    if not open_uses[source]:
                        ready.append(source)
                else:  # a leaf owns its gradient: what derivatives hand on unchanged is copied
                    source._deposit(outgoing.copy() if _shares_memory(outgoing, incoming) else outgoing)
            if not retain_graph:
                node._spent, node._edges = bool(node._edges), ()

    def _seed(self, gradient: npt.ArrayLike | None) -> Array:
        if gradient is not None:
            return self._fitting(gradient, copy=True)
        if self.data.size != 1:
            raise ValueError(f"backward of a tensor of shape {self.data.shape} needs a gradient of that shape")
        one = np.empty_like(self.data)
        one.fill(1)
        return one

    def _fitting(self, gradient: npt.ArrayLike, copy: bool | None) -> Array:
        array = np.array(gradient, self.data.dtype, copy=copy)
        if array.shape != self.data.shape:
            raise ValueError(f"a gradient of shape {array.shape} does not fit a tensor of shape {self.data.shape}")
        return array

    def _deposit(self, gradient: Array) -> None:
        whole = self.grad if self._rows else self._grad  # as one array, whatever rows came before
        if whole is None:
            self._grad = gradient
        else:
            whole += gradient

    def _takes_rows(self, gradient: RowGradient) -> bool:
        """Keep the gradient as rows, if this is a leaf and they are fewer than the table has."""
        if self._edges or self._grad is not None:
            return False
        if len(gradient.indices) + sum([len(rows.indices) for rows in self._rows]) >= len(self.data):
            return False
        self._rows = (*self._rows, gradient)
        return True


def _count_uses(result: Node) -> dict[Node, int]:
    """Count how often each computed node of a graph is used in it; check that it was not freed and fits its inputs.

    No recursion: an unrolled recurrent network is deeper than Python's stack.
    """
    open_uses: dict[Node, int] = {result: 0}
    unseen = [result]
    while unseen:
        node = unseen.pop()
        if node._spent:
            raise _spent()
        for source, _, version in node._edges:
            if source._version != version:
                raise _changed(source)
            if source in open_uses:
                open_uses[source] += 1
            elif source._edges or source._spent:
                open_uses[source] = 1
                unseen.append(source)
    return open_uses


def _of_type(array: Array, gradient: Array) -> Array:
    """Return a gradient in the type and shape of an array. Most are so already, which costs two comparisons."""
    if gradient.dtype is not array.dtype or type(gradient) is not np.ndarray:
        gradient = np.asarray(gradient, array.dtype)
    return gradient if gradient.shape == array.shape else unbroadcast(gradient, array.shape)


def _shares_memory(array: Array, other: Array) -> bool:
    """Return whether an array may share memory with another. One that owns its memory is asked nothing more."""
    return array is other or (array.base is not None and np.may_share_memory(array, other))


def _spent() -> RuntimeError:
    return RuntimeError(
        "this graph was already used by backward() and is freed: compute the forward pass again, pass "
        "retain_graph=True to the first backward(), or detach() a result whose value is to be carried on"
    )


def _changed(source: Node) -> RuntimeError:
    return RuntimeError(
        f"a parameter of shape {source.data.shape} was changed by an optimiser after this forward pass: compute the "
        "forward pass again"
    )
