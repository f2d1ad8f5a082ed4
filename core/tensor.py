"""Arrays that remember how they were computed, so that gradients can flow back (reverse-mode autograd).

    >>> from core.tensor import Tensor
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> loss = ((weight * 3.0 - 4.0) ** 2).sum()
    >>> loss.backward()
    >>> weight.grad
    array([-6., 12.])

The graph is dynamic: every operation on a tensor with `requires_grad` records its inputs and derivatives, and
`backward` walks that record once, from the result to the leaves, and frees it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from core import ops
from core.ops import Array, Axis, Derivative, Result
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


class Tensor:
    """An array with, where asked for, a gradient.

    Args:
        data: numbers. They are copied if `requires_grad`, because an optimiser changes them in place;
            otherwise an array is used as it is.
        requires_grad: whether `backward` shall leave this tensor's gradient in `.grad`. Floats only.
    """

    __slots__ = ("__weakref__", "_edges", "_grad", "_keeps_grad", "_rows", "_spent", "data", "requires_grad")
    __array_ufunc__ = None  # so that `array * tensor` is a tensor, not an array of tensors

    def __init__(self, data: npt.ArrayLike, requires_grad: bool = False) -> None:
        array = np.array(data) if requires_grad else np.asarray(data)
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(f"only floats can have a gradient, not {array.dtype}")
        self.data: Array = array
        self._grad: Array | None = None
        self._rows: list[RowGradient] = []
        self.requires_grad = requires_grad
        self._edges: tuple[tuple[Tensor, Derivative], ...] = ()
        self._spent = False
        self._keeps_grad = False

    # --- What it holds ---

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def size(self) -> int:
        return self.data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    def __len__(self) -> int:
        return len(self.data)

    def __repr__(self) -> str:
        return f"Tensor({self.data}{', requires_grad=True' if self.requires_grad else ''})"

    def numpy(self) -> Array:
        """Return the array itself, not a copy."""
        return self.data

    def item(self) -> float:
        """Return the only entry as a Python number."""
        return self.data.item()  # type: ignore[no-any-return]

    def detach(self) -> Tensor:
        """Return a tensor of the same data through which no gradient flows."""
        return Tensor(self.data)

    # --- Gradients ---

    @property
    def grad(self) -> Array | None:
        """None, or an array of the tensor's shape and dtype to which every `backward` adds."""
        rows, self._rows = self._rows, []
        for part in rows:
            self._deposit(np.asarray(part.dense(), self.dtype))
        return self._grad

    @grad.setter
    def grad(self, gradient: Array | None) -> None:
        self._grad = gradient
        self._rows = []

    @property
    def row_gradients(self) -> list[RowGradient]:
        """The gradient as the sum of these, if only a few rows of this table were looked up; else empty.

        Reading `.grad` gives the same as one array, and empties this list.
        """
        return self._rows

    def backward(self, gradient: npt.ArrayLike | None = None) -> None:
        """Add the derivative of this tensor with respect to every leaf to the leaf's `.grad`; free the graph.

        Args:
            gradient: what the entries of this tensor weigh, in its shape; 1 for a scalar if left out.

        Raises:
            RuntimeError: nothing here requires a gradient, or the graph was already used by a backward pass.
            ValueError: the gradient's shape is not the tensor's, or is left out though this is no scalar.
        """
        if not self.requires_grad:
            raise RuntimeError("this tensor has no gradient: nothing it was computed from requires one")
        order = _consumers_first(self)
        waiting = {self: self._seed(gradient)}
        for tensor in order:
            incoming = waiting.pop(tensor)
            if tensor._keeps_grad or not tensor._edges:
                tensor._deposit(incoming.copy())
            for source, derivative in tensor._edges:
                outgoing = derivative(incoming)
                if isinstance(outgoing, RowGradient):
                    if source._takes_rows(outgoing):
                        continue
                    outgoing = outgoing.dense()
                outgoing = ops.unbroadcast(np.asarray(outgoing, source.dtype), source.shape)
                if source._edges:
                    waiting[source] = waiting[source] + outgoing if source in waiting else outgoing
                else:  # a leaf owns its gradient: what derivatives hand on unchanged is copied
                    source._deposit(outgoing.copy() if np.may_share_memory(outgoing, incoming) else outgoing)
            tensor._spent, tensor._edges = bool(tensor._edges), ()

    def retain_grad(self) -> None:
        """Keep the gradient of this intermediate result in `.grad` too, to look at it."""
        self._keeps_grad = True

    def _seed(self, gradient: npt.ArrayLike | None) -> Array:
        if gradient is None:
            if self.size != 1:
                raise ValueError(f"backward of a tensor of shape {self.shape} needs a gradient of that shape")
            return np.ones(self.shape, self.dtype)
        seed = np.array(gradient, self.dtype)
        if seed.shape != self.shape:
            raise ValueError(f"a gradient of shape {seed.shape} does not fit a tensor of shape {self.shape}")
        return seed

    def _deposit(self, gradient: Array) -> None:
        if self._grad is None:
            self._grad = gradient
        else:
            self._grad += gradient

    def _takes_rows(self, gradient: RowGradient) -> bool:
        """Keep the gradient as rows, if this is a leaf and they are fewer than the table has."""
        if self._edges or self._grad is not None:
            return False
        if len(gradient.indices) + sum(len(rows.indices) for rows in self._rows) >= len(self):
            return False
        self._rows.append(gradient)
        return True

    # --- Arithmetic: with tensors, arrays and numbers ---

    def __add__(self, other: Operand) -> Tensor:
        return apply(ops.add, self, self._operand(other))

    def __sub__(self, other: Operand) -> Tensor:
        return apply(ops.subtract, self, self._operand(other))

    def __mul__(self, other: Operand) -> Tensor:
        return apply(ops.multiply, self, self._operand(other))

    def __truediv__(self, other: Operand) -> Tensor:
        return apply(ops.divide, self, self._operand(other))

    def __matmul__(self, other: Operand) -> Tensor:
        return apply(ops.matmul, self, self._operand(other))

    def __radd__(self, other: Operand) -> Tensor:
        return self._operand(other) + self

    def __rsub__(self, other: Operand) -> Tensor:
        return self._operand(other) - self

    def __rmul__(self, other: Operand) -> Tensor:
        return self._operand(other) * self

    def __rtruediv__(self, other: Operand) -> Tensor:
        return self._operand(other) / self

    def __rmatmul__(self, other: Operand) -> Tensor:
        return self._operand(other) @ self

    def __neg__(self) -> Tensor:
        return apply(ops.negate, self)

    def __pow__(self, exponent: float) -> Tensor:
        return apply(ops.power, self, exponent=exponent)

    def __abs__(self) -> Tensor:
        return apply(ops.absolute, self)

    def _operand(self, other: Operand) -> Tensor:
        """Make a tensor of the other side; a plain number takes this tensor's float type."""
        if isinstance(other, int | float) and self.dtype.kind == "f":
            return Tensor(np.asarray(other, self.dtype))
        return as_tensor(other)

    # --- Functions of each entry ---

    def abs(self) -> Tensor:
        return apply(ops.absolute, self)

    def sqrt(self) -> Tensor:
        return apply(ops.power, self, exponent=0.5)

    def exp(self) -> Tensor:
        return apply(ops.exp, self)

    def log(self) -> Tensor:
        return apply(ops.log, self)

    def relu(self) -> Tensor:
        return apply(ops.relu, self)

    def leaky_relu(self, negative_slope: float = 0.01) -> Tensor:
        return apply(ops.leaky_relu, self, negative_slope=negative_slope)

    def clip(self, low: float, high: float) -> Tensor:
        return apply(ops.clip, self, low=low, high=high)

    def sigmoid(self) -> Tensor:
        return apply(ops.sigmoid, self)

    def tanh(self) -> Tensor:
        return apply(ops.tanh, self)

    def softplus(self) -> Tensor:
        return apply(ops.softplus, self)

    # --- Along an axis ---

    def softmax(self, axis: int = -1) -> Tensor:
        return apply(ops.softmax, self, axis=axis)

    def log_softmax(self, axis: int = -1) -> Tensor:
        return apply(ops.log_softmax, self, axis=axis)

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return apply(ops.sum, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        total = self.sum(axis, keepdims)
        if not self.size:
            raise ValueError(f"a tensor of shape {self.shape} has no mean: it holds no numbers")
        return total / (self.size // total.size)

    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return apply(ops.max, self, axis=axis, keepdims=keepdims)

    # --- Shapes and rows ---

    def reshape(self, *shape: int) -> Tensor:
        return apply(ops.reshape, self, shape=shape)

    def permute(self, *axes: int) -> Tensor:
        """Put the axes into this order."""
        return apply(ops.permute, self, axes=axes)

    def transpose(self, first: int = 0, second: int = 1) -> Tensor:
        """Swap two axes, as PyTorch's `transpose` does; left out, the rows and columns of a matrix."""
        axes = list(range(self.ndim))
        axes[first], axes[second] = axes[second], axes[first]
        return self.permute(*axes)

    @property
    def T(self) -> Tensor:  # noqa: N802  the name mathematics, NumPy and PyTorch use
        return self.permute(*reversed(range(self.ndim)))

    def broadcast_to(self, *shape: int) -> Tensor:
        return apply(ops.broadcast_to, self, shape=shape)

    def expand(self, axis: int, copies: int) -> Tensor:
        """Insert an axis along which the tensor is repeated: (2, 3).expand(2, 4) has shape (2, 3, 4)."""
        axis = axis % (self.ndim + 1)
        before, after = self.shape[:axis], self.shape[axis:]
        return self.reshape(*before, 1, *after).broadcast_to(*before, copies, *after)

    def index_select(self, indices: npt.ArrayLike | Tensor) -> Tensor:
        """Look up rows by number; `indices` of any shape, the result has shape (*indices.shape, ...)."""
        return apply(ops.embedding, self, indices=_indices(indices))

    def __getitem__(self, index: Any) -> Tensor:
        return apply(ops.getitem, self, index=index.data if isinstance(index, Tensor) else index)


Operand = Tensor | Array | float


def as_tensor(data: Tensor | npt.ArrayLike) -> Tensor:
    """Return a tensor as it is, anything else as a tensor without gradient."""
    return data if isinstance(data, Tensor) else Tensor(data)


def apply(operation: Callable[..., Result], *inputs: Tensor, **settings: Any) -> Tensor:
    """Compute a primitive of `core.ops`; record how gradients flow back where an input requires them."""
    value, derivatives = operation(*[tensor.data for tensor in inputs], **settings)
    result = Tensor(value)
    edges = [edge for edge in zip(inputs, derivatives, strict=True) if edge[0].requires_grad]
    if edges and _recording.get():
        result.requires_grad = True
        result._edges = tuple(edges)
    return result


def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along an axis they have."""
    return apply(ops.concatenate, *tensors, axis=axis)


def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    return concatenate([tensor.expand(axis, 1) for tensor in tensors], axis)


def embedding_bag(
    table: Tensor,
    indices: npt.ArrayLike | Tensor,
    offsets: npt.ArrayLike | Tensor,
    per_sample_weights: Tensor | None = None,
) -> Tensor:
    """Sum the rows of each bag; shapes as in `core.ops.embedding_bag`."""
    inputs = (table,) if per_sample_weights is None else (table, per_sample_weights)
    return apply(ops.embedding_bag, *inputs, indices=_indices(indices), offsets=_indices(offsets))


def _indices(numbers: npt.ArrayLike | Tensor) -> Array:
    return ops.as_indices(numbers.data if isinstance(numbers, Tensor) else numbers)


def _consumers_first(result: Tensor) -> list[Tensor]:
    """Order a graph so that each tensor comes after everything computed from it; leaves are left out.

    No recursion: an unrolled recurrent network is deeper than Python's stack.
    """
    open_uses = {result: 0}
    unseen = [result]
    while unseen:
        tensor = unseen.pop()
        if tensor._spent:
            raise RuntimeError(
                "this graph was already used by backward() and is freed: compute the forward pass again, "
                "or detach() a result whose value is to be carried on"
            )
        for source, _ in tensor._edges:
            if source not in open_uses:
                unseen.append(source)
            open_uses[source] = open_uses.get(source, 0) + 1
    order = []
    ready = [result]
    while ready:
        tensor = ready.pop()
        order.append(tensor)
        for source, _ in tensor._edges:
            open_uses[source] -= 1
            if source._edges and not open_uses[source]:
                ready.append(source)
    return order
