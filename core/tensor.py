"""Arrays that remember how they were computed, so that gradients can flow back (reverse-mode autograd).

    >>> from core.tensor import Tensor
    >>> weight = Tensor([1.0, 2.0], requires_grad=True)
    >>> loss = ((weight * 3.0 - 4.0) ** 2).sum()
    >>> loss.backward()
    >>> weight.grad
    array([-6., 12.])

The graph is dynamic: every operation on a tensor with `requires_grad` records its inputs and derivatives, and
`backward` walks that record once, from the result to the leaves, and frees it.

Names and meanings are NumPy's and PyTorch's where these have the thing: `dim` and `keepdim` are other names of `axis`
and `keepdims`. As in PyTorch, whole numbers and single numbers take the float type of what they meet.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from core import ops
from core.graph import Node, is_recording
from core.graph import no_grad as no_grad
from core.indices import Array, Axis, as_indices, axes_of, check_indices, count_along, place, sizes_of, takes_dim
from core.ops import Result
from core.readable import Readable, StandIn


class Tensor(Readable, Node):
    """An array with, where asked for, a gradient.

    Args:
        data: numbers. They are copied if `requires_grad`, because an optimiser changes them in place;
            otherwise an array is used as it is.
        requires_grad: whether `backward` shall leave this tensor's gradient in `.grad`. Floats only.
    """

    __slots__ = ()
    __array_ufunc__ = None  # so that `array * tensor` is a tensor, not an array of tensors
    __hash__ = object.__hash__  # by identity, though == compares numbers

    def __init__(self, data: npt.ArrayLike | Tensor, requires_grad: bool = False) -> None:
        array = np.array(data, order="C") if requires_grad else np.asarray(data)
        if array.dtype.kind not in "biuf" and not StandIn.fill(array):
            raise TypeError(f"a tensor holds real numbers, not {array.dtype}")
        if requires_grad and array.dtype.kind != "f":
            raise TypeError(f"only floats can have a gradient, not {array.dtype}")
        super().__init__(array, requires_grad)

    def detach(self) -> Tensor:
        """Return a tensor of the same data through which no gradient flows."""
        return unchecked(self.data)

    # --- Arithmetic: with tensors, arrays and numbers ---

    def __add__(self, other: Operand) -> Tensor:
        return _combine(ops.add, self, other)

    def __sub__(self, other: Operand) -> Tensor:
        return _combine(ops.subtract, self, other)

    def __mul__(self, other: Operand) -> Tensor:
        return _combine(ops.multiply, self, other)

    def __truediv__(self, other: Operand) -> Tensor:
        return _combine(ops.divide, self, other)

    def __matmul__(self, other: Operand) -> Tensor:
        return _combine(ops.matmul, self, other)

    def __radd__(self, other: Operand) -> Tensor:
        return _combine(ops.add, other, self)

    def __rsub__(self, other: Operand) -> Tensor:
        return _combine(ops.subtract, other, self)

    def __rmul__(self, other: Operand) -> Tensor:
        return _combine(ops.multiply, other, self)

    def __rtruediv__(self, other: Operand) -> Tensor:
        return _combine(ops.divide, other, self)

    def __rmatmul__(self, other: Operand) -> Tensor:
        return _combine(ops.matmul, other, self)

    def __neg__(self) -> Tensor:
        return apply(ops.negate, self)

    def __pow__(self, exponent: Operand) -> Tensor:
        if isinstance(exponent, int | float):
            return apply(ops.power, self, exponent=exponent if isinstance(exponent, int) else float(exponent))
        return _combine(ops.power_of, self, exponent)

    def __rpow__(self, base: Operand) -> Tensor:
        return _combine(ops.power_of, base, self)

    def __abs__(self) -> Tensor:
        return apply(ops.absolute, self)

    # --- Comparisons: entry by entry, without gradient ---

    def __lt__(self, other: Any) -> Tensor:
        return unchecked(self.data < _array(other))

    def __le__(self, other: Any) -> Tensor:
        return unchecked(self.data <= _array(other))

    def __gt__(self, other: Any) -> Tensor:
        return unchecked(self.data > _array(other))

    def __ge__(self, other: Any) -> Tensor:
        return unchecked(self.data >= _array(other))

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return unchecked(np.equal(self.data, _array(other))) if isinstance(other, _OPERANDS) else NotImplemented

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return unchecked(np.not_equal(self.data, _array(other))) if isinstance(other, _OPERANDS) else NotImplemented

    # --- Functions of each entry ---

    def abs(self) -> Tensor:
        """Return the absolute value of each entry."""
        return apply(ops.absolute, self)

    def sqrt(self) -> Tensor:
        """Return the square root of each entry."""
        return apply(ops.power, self, exponent=0.5)

    def exp(self) -> Tensor:
        """Return e to the power of each entry."""
        return apply(ops.exp, self)

    def log(self) -> Tensor:
        """Return the natural logarithm of each entry."""
        return apply(ops.log, self)

    def relu(self) -> Tensor:
        """Return max(x, 0) of each entry."""
        return apply(ops.relu, self)

    def leaky_relu(self, negative_slope: float = 0.01) -> Tensor:
        """Return x where it is positive and `negative_slope` times x elsewhere."""
        return apply(ops.leaky_relu, self, negative_slope=negative_slope)

    def clip(self, low: float | None = None, high: float | None = None) -> Tensor:
        """Return each entry cut to [low, high]; None leaves a side open."""
        return apply(ops.clip, self, low=low, high=high)

    def sigmoid(self) -> Tensor:
        """Return 1 / (1 + exp(-x)) of each entry."""
        return apply(ops.sigmoid, self)

    def tanh(self) -> Tensor:
        """Return tanh(x) of each entry."""
        return apply(ops.tanh, self)

    def softplus(self) -> Tensor:
        """Return log(1 + exp(x)) of each entry."""
        return apply(ops.softplus, self)

    def astype(self, dtype: npt.DTypeLike) -> Tensor:
        """Return the entries as numbers of another type; gradients come back in this one's."""
        return apply(ops.cast, self, dtype=dtype)

    # --- Along an axis ---

    @takes_dim
    def softmax(self, axis: int = -1) -> Tensor:
        """Return exp(x) divided by its sum along an axis."""
        return apply(ops.softmax, self, axis=axis)

    @takes_dim
    def log_softmax(self, axis: int = -1) -> Tensor:
        """Return the logarithm of the softmax along an axis."""
        return apply(ops.log_softmax, self, axis=axis)

    @takes_dim
    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the sum along axes; of all entries if None."""
        return apply(ops.sum, self, axis=axis, keepdims=keepdims)

    @takes_dim
    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean along axes; of all entries if None."""
        return apply(ops.mean, self, axis=axis, keepdims=keepdims)

    @takes_dim
    def var(self, axis: Axis = None, correction: int = 1, keepdims: bool = False) -> Tensor:
        """Variance: squared distances from the mean, summed and divided by their number less `correction`.

        As in PyTorch the correction is 1, for numbers that are a sample; NumPy's default is 0.
        """
        squares = ((self - self.mean(axis, keepdims=True)) ** 2).sum(axis, keepdims)
        count = count_along(self.shape, axis) - correction
        if count <= 0 and squares.size:
            raise ValueError(
                f"a tensor of shape {self.shape} has too few numbers along axis {axis} for a variance with correction "
                f"{correction}"
            )
        return squares / max(count, 1)

    @takes_dim
    def max(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return largest entries, without their places; entries that share the maximum share its gradient."""
        return apply(ops.max, self, axis=axis, keepdims=keepdims)

    @takes_dim
    def min(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Smallest entries, without their places; entries that share the minimum share its gradient."""
        return -(-self).max(axis, keepdims)

    @takes_dim
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Place of the largest entry, the first if there are several: in the flat tensor, or along an axis."""
        return unchecked(np.asarray(np.argmax(self.data, axis, keepdims=keepdims)))

    @takes_dim
    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Return the place of the smallest entry along an axis, the first of equal ones."""
        return unchecked(np.asarray(np.argmin(self.data, axis, keepdims=keepdims)))

    # --- Shapes and rows ---

    def reshape(self, *shape: int | Sequence[int]) -> Tensor:
        """Return the entries in another shape, in the same order; -1 stands for what fits."""
        return apply(ops.reshape, self, shape=sizes_of(shape))

    view = reshape

    def permute(self, *axes: int | Sequence[int]) -> Tensor:
        """Put the axes into this order."""
        return apply(ops.permute, self, axes=sizes_of(axes))

    def transpose(self, first: int = 0, second: int = 1) -> Tensor:
        """Swap two axes, as PyTorch's `transpose` does; left out, the rows and columns of a matrix."""
        first, second = place(first, max(self.ndim, 1)), place(second, max(self.ndim, 1))
        axes = list(range(self.ndim))
        axes[first : first + 1], axes[second : second + 1] = axes[second : second + 1], axes[first : first + 1]
        return self.permute(axes)

    @property
    def T(self) -> Tensor:  # noqa: N802  the name mathematics, NumPy and PyTorch use
        """The tensor with its axes in reverse order."""
        return self.permute(*reversed(range(self.ndim)))

    @takes_dim
    def squeeze(self, axis: Axis = None) -> Tensor:
        """Leave out axes of size 1: all of them, or those given as far as they have size 1."""
        chosen = range(self.ndim) if axis is None else [place(each, max(self.ndim, 1)) for each in axes_of(axis)]
        return self.reshape([size for number, size in enumerate(self.shape) if size != 1 or number not in chosen])

    @takes_dim
    def unsqueeze(self, axis: int) -> Tensor:
        """Insert an axis of size 1."""
        before = place(axis, self.ndim + 1)
        return self.reshape(*self.shape[:before], 1, *self.shape[before:])

    def broadcast_to(self, *shape: int | Sequence[int]) -> Tensor:
        """Return the tensor repeated to a shape. Raises ValueError if it does not fit."""
        return apply(ops.broadcast_to, self, shape=sizes_of(shape))

    def expand(self, *sizes: int | Sequence[int]) -> Tensor:
        """Repeat axes of size 1, as PyTorch's `expand` does: -1 keeps a size. The book's is `stack_copies`."""
        wanted = sizes_of(sizes)
        kept = (0,) * (len(wanted) - self.ndim) + self.shape
        return self.broadcast_to([own if size == -1 else size for size, own in zip(wanted, kept, strict=True)])

    @takes_dim
    def stack_copies(self, axis: int, copies: int) -> Tensor:
        """Insert an axis along which the tensor is repeated: (2, 3).stack_copies(2, 4) has shape (2, 3, 4)."""
        inserted = self.unsqueeze(axis)
        before = place(axis, inserted.ndim)
        return inserted.broadcast_to(*self.shape[:before], copies, *self.shape[before:])

    def index_select(self, *where: npt.ArrayLike | Tensor) -> Tensor:
        """Look up rows by number; indices of any shape, the result has shape (*indices.shape, ...).

        Called with an axis before the indices, as in PyTorch, choose along that axis.
        """
        *axes, indices = where
        if not axes:
            return apply(ops.embedding, self, indices=_indices(indices))
        axis = place(operator.index(*axes), self.ndim)  # type: ignore[arg-type]
        return self[(slice(None),) * axis + (check_indices(_indices(indices), self.shape[axis]),)]

    def __getitem__(self, index: Any) -> Tensor:
        return apply(ops.getitem, self, index=_plain(index))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[row] for row in range(len(self)))


Operand = Tensor | Array | float
_new, _set_up = object.__new__, Node.__init__
_OPERANDS = (Tensor, np.ndarray, np.generic, int, float)


def unchecked(array: Array) -> Tensor:
    """Return a tensor of an array that is known to hold numbers, as results do."""
    tensor: Tensor = _new(Tensor)
    _set_up(tensor, array)
    return tensor


def as_tensor(data: Tensor | npt.ArrayLike) -> Tensor:
    """Return a tensor as it is, anything else as a tensor without gradient."""
    return data if isinstance(data, Tensor) else Tensor(data)


def apply(operation: Callable[..., Result], *inputs: Tensor, **settings: Any) -> Tensor:
    """Compute a primitive of `core.ops`; record how gradients flow back where an input requires them."""
    value, derivatives = operation(*[tensor.data for tensor in inputs], **settings)
    result: Tensor = _new(Tensor)
    _set_up(result, value if type(value) is np.ndarray else np.asarray(value))
    if is_recording():
        for tensor, derivative in zip(inputs, derivatives, strict=True):
            if tensor.requires_grad:
                result._edges += ((tensor, derivative, tensor._version),)
                result.requires_grad = True
    return result


@takes_dim
def concatenate(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors along an axis they have."""
    return apply(ops.concatenate, *several(tensors), axis=axis)


@takes_dim
def stack(tensors: Sequence[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis."""
    return concatenate([as_tensor(tensor).unsqueeze(axis) for tensor in several(tensors)], axis)


def several(tensors: Sequence[Tensor] | Any) -> list[Tensor]:
    """Return tensors as a list; raise TypeError for a single one, whose rows they would be."""
    if isinstance(tensors, Tensor):
        raise TypeError(f"several tensors are needed, not one of shape {tensors.shape}: put it into a list")
    return [as_tensor(tensor) for tensor in tensors]


def embedding_bag(
    table: Tensor,
    indices: npt.ArrayLike | Tensor,
    offsets: npt.ArrayLike | Tensor,
    per_sample_weights: Tensor | None = None,
) -> Tensor:
    """Sum the rows of each bag; shapes as in `core.ops.embedding_bag`."""
    inputs = (table,) if per_sample_weights is None else (table, per_sample_weights)
    return apply(ops.embedding_bag, *inputs, indices=_indices(indices), offsets=_indices(offsets))


def _combine(operation: Callable[..., Result], left: Operand, right: Operand) -> Tensor:
    """Apply an operation to a tensor and another operand, in one type of numbers."""
    first = left if isinstance(left, Tensor) else _operand(left, right)
    second = right if isinstance(right, Tensor) else _operand(right, left)
    if first.data.dtype is not second.data.dtype and first.dtype != second.dtype:
        first, second = _in_its_type(first, second), _in_its_type(second, first)
    return apply(operation, first, second)


def _operand(operand: Operand, other: Operand) -> Tensor:
    """Make a tensor of one side; a plain number takes the float type of the other."""
    if isinstance(operand, int | float) and isinstance(other, Tensor) and other.dtype.kind == "f":
        return unchecked(np.asarray(operand, other.dtype))
    return Tensor(operand)


def _in_its_type(tensor: Tensor, other: Tensor) -> Tensor:
    """Give whole numbers, and a single number, the float type of what they meet; NumPy would widen both."""
    yields = tensor.dtype.kind in "biu" or (not tensor.ndim and other.ndim)
    return tensor.astype(other.dtype) if yields and other.dtype.kind == "f" else tensor


def _array(operand: Any) -> Any:
    return operand.data if isinstance(operand, Tensor) else operand


def _plain(index: Any) -> Any:
    """Take the arrays out of an index, which may be a tensor or a tuple with tensors in it."""
    if isinstance(index, tuple):
        return tuple(map(_plain, index))
    return index.data if isinstance(index, Tensor) else index


def _indices(numbers: npt.ArrayLike | Tensor) -> Array:
    return as_indices(numbers.data if isinstance(numbers, Tensor) else numbers)
