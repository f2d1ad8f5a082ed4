"""What the random programs of torch_programs.py are made of: each operation, on both sides.

An operation takes the program, chooses what it is applied to, and runs the two sides of it.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import torch
from torch_programs import Pair, Program

from core.ops import Array


def text_of(value: Any) -> str:
    return f"{value.dtype}{value.tolist()}" if isinstance(value, np.ndarray) else repr(value)


# --- Arithmetic ---

BINARY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def of_two_tensors(p: Program) -> None:
    sign = p.pick(list(BINARY))
    function, left = BINARY[sign], p.tensor()
    right = p.tensor(lambda other: fits(left, other)) if p.chance(0.9) else p.tensor()
    if sign == "/" and not p.decide(bool(np.abs(right.ours.data).min(initial=1) > 0.1)):
        return
    text = f"{left.name} {sign} {right.name}"
    p.run(text, lambda: function(left.ours, right.ours), lambda: function(left.theirs, right.theirs))


def fits(left: Pair, right: Pair) -> bool:
    sizes = zip(reversed(left.ours.shape), reversed(right.ours.shape), strict=False)
    return all(a == b or 1 in (a, b) for a, b in sizes)


def of_a_number(p: Program) -> None:
    sign, tensor = p.pick(list(BINARY)), p.tensor()
    number = p.pick((2, -1, 0.5, 3.0, 1.5, np.float64(0.25)))
    function = BINARY[sign]
    if p.chance(0.5):
        p.run(
            f"{tensor.name} {sign} {number!r}",
            lambda: function(tensor.ours, number),
            lambda: function(tensor.theirs, float(number)),
        )
    elif sign != "/" or p.decide(bool(np.abs(tensor.ours.data).min(initial=1) > 0.1)):
        p.run(
            f"{number!r} {sign} {tensor.name}",
            lambda: function(number, tensor.ours),
            lambda: function(float(number), tensor.theirs),
        )


def of_an_integer_array(p: Program) -> None:
    """Whole numbers take the float type of what they meet, on either side."""
    tensor, sign = p.tensor(), p.pick(("+", "-", "*", "*"))
    function = BINARY[sign]
    array = p.rng.integers(0, 3, tensor.ours.shape).astype(p.pick((np.int8, np.uint8, np.int32, np.int64, np.bool_)))
    if sign == "-" and array.dtype == np.bool_:
        return  # which PyTorch does not subtract
    twin = torch.tensor(array)
    if p.chance(0.5):
        p.run(
            f"{tensor.name} {sign} {text_of(array)}",
            lambda: function(tensor.ours, array),
            lambda: function(tensor.theirs, twin),
        )
    else:
        p.run(
            f"{text_of(array)} {sign} {tensor.name}",
            lambda: function(array, tensor.ours),
            lambda: function(twin, tensor.theirs),
        )


def matrix_product(p: Program) -> None:
    left = p.tensor(lambda each: each.ours.ndim > 0)
    columns = left.ours.shape[-1] if left.ours.ndim else 1

    def meets(each: Pair) -> bool:
        shape = each.ours.shape
        return bool(shape) and shape[-2 if len(shape) > 1 else -1] == columns

    right = p.tensor(meets) if p.chance(0.9) else p.tensor()
    if not p.one_type(left, right):
        return
    p.run(f"{left.name} @ {right.name}", lambda: left.ours @ right.ours, lambda: left.theirs @ right.theirs)


def matrix_product_of_leaves(p: Program) -> None:
    rows, inner, columns = p.size(), p.size(), p.size()
    shapes = p.pick([
        ((rows, inner), (inner, columns)), ((inner,), (inner, columns)), ((rows, inner), (inner,)), ((inner,), (inner,)),
        ((2, rows, inner), (inner, columns)), ((2, rows, inner), (2, inner, columns)), ((inner,), (2, inner, columns)),
        ((2, 1, rows, inner), (3, inner, columns)), ((2, rows, inner), (inner,)), ((rows, inner), (2, inner, columns)),
    ])  # fmt: skip
    left, right = p.leaf(shapes[0]), p.leaf(shapes[1])
    if p.one_type(left, right):
        p.run(f"{left.name} @ {right.name}", lambda: left.ours @ right.ours, lambda: left.theirs @ right.theirs)


def power_of_a_number(p: Program) -> None:
    tensor, exponent = p.tensor(), p.pick((0, 1, 2, 3, -1, 0.5, 2.0, -0.5, 1.5, np.float64(2)))
    if exponent < 2 and not p.decide(bool(np.abs(tensor.ours.data).min(initial=1) > 0.1)):
        return
    p.run(f"{tensor.name} ** {exponent!r}", lambda: tensor.ours**exponent, lambda: tensor.theirs ** float(exponent))


def power_of_two_tensors(p: Program) -> None:
    base = p.leaf(low=0.0)
    exponent = p.leaf(p.pick((base.ours.shape, ())), low=0.0) if p.chance(0.5) else p.tensor()
    if p.chance(0.3):
        exponents = p.rng.integers(0, 4, base.ours.shape)
        p.run(
            f"{base.name} ** {text_of(exponents)}",
            lambda: base.ours**exponents,
            lambda: base.theirs ** torch.tensor(exponents),
        )
    elif p.chance(0.4):
        p.run(f"2 ** {exponent.name}", lambda: 2**exponent.ours, lambda: 2**exponent.theirs)
    elif p.decide(steady(base.ours.data, exponent.ours.data)):
        p.run(
            f"{base.name} ** {exponent.name}",
            lambda: base.ours**exponent.ours,
            lambda: base.theirs**exponent.theirs,
        )


def steady(bases: Array, exponents: Array) -> bool:
    """Whether powers and their slopes are no larger than rounding allows."""
    return bool(np.all((bases > 0.1) | (bases == 0)) and exponents.min(initial=1) >= 0)


# --- Functions of each entry ---

SMOOTH = ("exp", "sigmoid", "tanh", "__neg__")


def smooth_function(p: Program) -> None:
    name, tensor = p.pick(SMOOTH), p.tensor()
    p.run(f"{tensor.name}.{name}()", lambda: getattr(tensor.ours, name)(), lambda: getattr(tensor.theirs, name)())


def softplus(p: Program) -> None:
    tensor = p.tensor()
    p.run(
        f"{tensor.name}.softplus()", lambda: tensor.ours.softplus(), lambda: torch.nn.functional.softplus(tensor.theirs)
    )


def logarithm_or_root(p: Program) -> None:
    name, tensor = p.pick(("log", "sqrt")), p.leaf(low=0.15) if p.chance(0.4) else p.tensor()
    if p.decide(bool(tensor.ours.data.min(initial=1) > 0.1)):
        p.run(f"{tensor.name}.{name}()", lambda: getattr(tensor.ours, name)(), lambda: getattr(tensor.theirs, name)())


def function_with_a_kink_at_0(p: Program) -> None:
    name, tensor = p.pick(("relu", "abs", "__abs__", "leaky_relu")), p.tensor()
    if not p.clear(tensor, 0.0):
        return
    if name == "leaky_relu":
        slope = p.pick((0.01, 0.3))
        p.run(
            f"{tensor.name}.leaky_relu({slope})",
            lambda: tensor.ours.leaky_relu(slope),
            lambda: torch.nn.functional.leaky_relu(tensor.theirs, slope),
        )
    else:
        p.run(f"{tensor.name}.{name}()", lambda: getattr(tensor.ours, name)(), lambda: getattr(tensor.theirs, name)())


def clip(p: Program) -> None:
    tensor, (low, high) = p.tensor(), p.pick(((-1, 1), (-0.5, 1.5), (0.0, None), (None, 0.5), (1, -1), (None, None)))
    if p.clear(tensor, *(bound for bound in (low, high) if bound is not None)):
        p.run(
            f"{tensor.name}.clip({low}, {high})",
            lambda: tensor.ours.clip(low, high),
            lambda: tensor.theirs.clip(low, high),
        )


def comparison(p: Program) -> None:
    left = p.tensor()
    right = p.tensor(lambda other: fits(left, other))
    name = p.pick(("lt", "le", "gt", "ge", "eq", "ne"))
    function = getattr(operator, name)
    if p.decide(
        bool(
            np.array_equal(left.ours.data, left.theirs.detach().numpy())
            and np.array_equal(right.ours.data, right.theirs.detach().numpy())
        )
    ):
        p.run(
            f"{name}({left.name}, {right.name})",
            lambda: function(left.ours, right.ours),
            lambda: function(left.theirs, right.theirs),
        )
        p.run(f"{name}({left.name}, 0.5)", lambda: function(left.ours, 0.5), lambda: function(left.theirs, 0.5))


def detach(p: Program) -> None:
    """Cut a tensor off: no gradient flows beyond it."""
    tensor = p.tensor()
    p.run(f"{tensor.name}.detach() * 1.5", lambda: tensor.ours.detach() * 1.5, lambda: tensor.theirs.detach() * 1.5)


# --- Along axes ---


def axis(p: Program, ndim: int) -> int:
    """An axis, now and then one that there is not."""
    return int(p.rng.integers(-ndim, ndim)) if ndim and p.chance(0.97) else p.pick((0, -1, ndim, 7))


def axes(p: Program, ndim: int) -> Any:
    if p.chance(0.2):
        return None
    if ndim > 1 and p.chance(0.3):
        chosen = p.rng.permutation(ndim)[: p.pick((1, 2))].tolist()
        return tuple(chosen) if p.chance(0.5) else chosen
    return axis(p, ndim)


def sum_or_mean(p: Program) -> None:
    name, tensor = p.pick(("sum", "mean")), p.tensor()
    along, keep = axes(p, tensor.ours.ndim), p.chance(0.4)
    theirs = {} if along is None else {"dim": along, "keepdim": keep}
    ours = {} if along is None else {p.pick(("axis", "dim")): along, p.pick(("keepdims", "keepdim")): keep}
    p.run(
        f"{tensor.name}.{name}({ours})",
        lambda: getattr(tensor.ours, name)(**ours),
        lambda: getattr(tensor.theirs, name)(**theirs),
    )


def variance(p: Program) -> None:
    tensor, correction = p.tensor(), p.pick((0, 1))
    along, keep = axes(p, tensor.ours.ndim), p.chance(0.4)
    text = f"{tensor.name}.var({along}, {correction}, {keep})"
    p.run(
        text,
        lambda: tensor.ours.var(along, correction, keep),
        lambda: (
            tensor.theirs.var(along, correction=correction, keepdim=keep)
            if along is not None or not keep
            else tensor.theirs.var(list(range(tensor.ours.ndim)), correction=correction, keepdim=True)
        ),
    )


def largest_or_smallest(p: Program) -> None:
    name, tensor = p.pick(("max", "min")), p.tensor()
    if not p.clear_order(tensor):
        return
    along, keep = axes(p, tensor.ours.ndim), p.chance(0.4)
    if along is None:
        p.run(f"{tensor.name}.{name}()", lambda: getattr(tensor.ours, name)(), lambda: getattr(tensor.theirs, name)())
    else:
        p.run(
            f"{tensor.name}.{name}({along}, {keep})",
            lambda: getattr(tensor.ours, name)(along, keep),
            lambda: getattr(tensor.theirs, f"a{name}")(along, keep),
        )


def place_of_largest(p: Program) -> None:
    name, tensor = p.pick(("argmax", "argmin")), p.tensor()
    if not p.clear_order(tensor):
        return
    along, keep = p.pick((None, axis(p, tensor.ours.ndim))), p.chance(0.4)
    keep = keep and along is not None
    p.run(
        f"{tensor.name}.{name}({along}, {keep})",
        lambda: getattr(tensor.ours, name)(along, keep),
        lambda: getattr(tensor.theirs, name)(along, keep),
    )


def softmax(p: Program) -> None:
    name, tensor = p.pick(("softmax", "log_softmax")), p.tensor()
    along = axis(p, tensor.ours.ndim)
    p.run(
        f"{tensor.name}.{name}({along})",
        lambda: getattr(tensor.ours, name)(along),
        lambda: getattr(tensor.theirs, name)(along),
    )


TENSOR_OPERATIONS = [
    of_two_tensors, of_two_tensors, of_two_tensors, of_a_number, of_an_integer_array, matrix_product,
    matrix_product_of_leaves, power_of_a_number, power_of_two_tensors, smooth_function, softplus,
    logarithm_or_root, function_with_a_kink_at_0, clip, detach, comparison, sum_or_mean, sum_or_mean, variance,
    largest_or_smallest, place_of_largest, softmax,
]  # fmt: skip
