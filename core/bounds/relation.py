"""What is proven, as equations between committed numbers, and one random combination of all of them.

Of each change u of a weight the client also commits to a = isqrt(Q - u²). Then r = Q - u² - a² - a is small too, and

    u² + a² + a + r = Q          with Q = 32,767² - 2^26

proves |u| < 32,767 if all four are so small that nothing wraps around the field's prime. That they are is shown by
random projections: sums of all u, a and r with coefficients -1, 0 and 1 have 26 bits. All equations have one form,

    the sum of A q² + L q over committed numbers q, and a constant, is 0,

and a random combination of them too: its weights are functions of the challenges alone, which both sides compute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from core.bounds.field import (
    PRIME,
    Elements,
    add,
    expand,
    matrix_product,
    multiply,
    negative,
    powers,
    reduce,
    subtract,
)
from core.bounds.parameters import COPIES, Parameters
from core.secagg.kernel import columns as compiled

Ternary = npt.NDArray[np.int8]
_COLUMNS = 8192
_HALF = 28


class Rows:
    """Named numbers one after the other, cut into rows of `data` each; the last row is filled up with zeros.

    Args:
        leading: the axes before the numbers, such as one for each copy.
    """

    def __init__(self, parameters: Parameters, parts: Mapping[str, int], leading: tuple[int, ...] = ()) -> None:
        self._parameters = parameters
        self._at: dict[str, slice] = {}
        start = 0
        for name, count in parts.items():
            self._at[name] = slice(start, start + count)
            start += count
        self._count = -(-start // parameters.data)
        self._numbers = np.zeros((*leading, self._count * parameters.data), np.int64)

    def __getitem__(self, name: str) -> Elements:
        return self._numbers[..., self._at[name]]

    def __setitem__(self, name: str, numbers: Elements) -> None:
        self._numbers[..., self._at[name]] = numbers

    def padded(self, pads: Elements | None = None) -> Elements:
        """Return the rows, each followed by its pads: `opened` numbers, zeros if left out."""
        parameters, leading = self._parameters, self._numbers.shape[:-1]
        out = np.zeros((*leading, self._count, parameters.strength.length), np.int64)
        out[..., : parameters.data] = self._numbers.reshape(*leading, self._count, parameters.data)
        if pads is not None:
            out[..., parameters.data :] = pads.reshape(self._count, parameters.strength.opened)
        return out


# -------------------------------------------------------------------------------- the first challenge


class Signs:
    """Coefficients -1, 0 and 1, with the chances 1/4, 1/2 and 1/4: one bit less another.

    Args:
        seed: what they follow from.
        projections, count: their shape.
    """

    def __init__(self, seed: bytes, projections: int, count: int) -> None:
        size, self._count = -(-count // 8), count
        raw = hashlib.shake_256(seed).digest(2 * projections * size)
        self._plus, self._minus = np.frombuffer(raw, np.uint8).reshape(2, projections, size)

    @cached_property
    def matrix(self) -> Ternary:
        """The coefficients, shape (projections, count)."""
        plus, minus = (np.unpackbits(bits, axis=1, count=self._count) for bits in (self._plus, self._minus))
        signs: Ternary = plus.astype(np.int8) - minus.astype(np.int8)
        return signs

    def project(self, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return matrix @ numbers for whole numbers so small that floating point adds them exactly."""
        sums = np.zeros(len(self._plus))
        for some in _slices(self._count):
            sums += self.matrix[:, some].astype(np.float64) @ numbers[some].astype(np.float64)
        return np.rint(sums).astype(np.int64)

    def mix(self, weights: Elements) -> Elements:
        """Return weights @ matrix modulo the prime, shape (copies, count): halves of 28 bits add up exactly."""
        if compiled.available():
            return compiled.mix(weights, self._plus, self._minus)[:, : self._count]
        low, high = weights & ((1 << _HALF) - 1), weights >> _HALF
        out = np.empty((len(weights), self._count), np.int64)
        for some in _slices(self._count):
            signed = self.matrix[:, some].astype(np.float64)
            upper = reduce((high.astype(np.float64) @ signed).astype(np.int64))
            lower = reduce((low.astype(np.float64) @ signed).astype(np.int64))
            out[:, some] = add(multiply(upper, np.int64(1 << _HALF)), lower)
        return out


@dataclass(frozen=True)
class Challenge:
    """What the first hash decides.

    Attributes:
        signs: for each block of weights, coefficients of u, a and r: shape (projections, 3 * weights of the block).
        x: shape (links, plaintexts), numbers of link_bits bits.
    """

    signs: list[Signs]
    x: Elements


def challenge(parameters: Parameters, seed: bytes) -> Challenge:
    """Return the challenge that follows from the first hash."""
    signs = [
        Signs(b"R" + number.to_bytes(2, "big") + seed, parameters.projections, 3 * (block.stop - block.start))
        for number, block in enumerate(parameters.blocks)
    ]
    count = parameters.links * parameters.plaintexts
    raw = np.frombuffer(hashlib.shake_256(b"x" + seed).digest(4 * count), "<u4").astype(np.int64)
    x = (raw & ((1 << parameters.link_bits) - 1)).reshape(parameters.links, parameters.plaintexts)
    return Challenge(signs, x)


def _slices(count: int) -> list[slice]:
    return [slice(start, start + _COLUMNS) for start in range(0, count, _COLUMNS)]


# -------------------------------------------------------------------------------- all equations as one


class Combination:
    """The weights A and L of every committed number, and the constant, in each of the COPIES combinations.

    Attributes:
        squares, linear: A and L by row, shape (copies, rows, length), 0 where rows have their pads.
        constants: one for each copy.
    """

    def __init__(self, parameters: Parameters, first: Challenge, answers: Elements, seed: bytes) -> None:
        self._parameters = parameters
        leading = (COPIES,)
        self._squares = (
            Rows(parameters, parameters.first_parts, leading),
            Rows(parameters, parameters.second_parts, leading),
        )
        self._linear = (
            Rows(parameters, parameters.first_parts, leading),
            Rows(parameters, parameters.second_parts, leading),
        )
        self.constants = [0] * COPIES
        self._draw(seed)
        self._add_projections(first)
        self._add_link(first, answers)
        self._add_metrics()
        self._add_bits()
        if parameters.norm:
            self._add_norm()
        self.squares = np.concatenate([rows.padded() for rows in self._squares], axis=1)
        self.linear = np.concatenate([rows.padded() for rows in self._linear], axis=1)

    def _draw(self, seed: bytes) -> None:
        """Draw a weight for every equation, in each copy."""
        p = self._parameters
        bits = p.all_metric_bits + p.projection_bits + p.norm_bits
        sizes = [p.projected, p.links * p.per_row, bits, len(p.differences), 1, p.counted, min(p.counted, 1)]
        drawn = expand(b"w", seed, COPIES * sum(sizes)).reshape(COPIES, -1)
        ends = np.cumsum(sizes)[:-1]
        parts = np.split(drawn, ends, axis=1)
        self._projection, self._link, self._bit, self._difference, self._norm, self._product, self._count = parts

    def _add_constant(self, copy: int, amount: int) -> None:
        self.constants[copy] = (self.constants[copy] + amount) % PRIME

    @cached_property
    def _twos(self) -> Elements:
        return powers(2, 64)

    def _add_projections(self, first: Challenge) -> None:
        """Add <R, (u, a, Q - u² - a² - a)> + 2^width - the sum of 2^i bit_i = 0, for each projection."""
        p, weights = self._parameters, self._projection
        each = [weights[:, p.projections * i : p.projections * (i + 1)] for i in range(len(first.signs))]
        mixed = [np.split(signs.mix(weight), 3, axis=1) for weight, signs in zip(each, first.signs, strict=True)]
        of_change, of_partner, of_rest = (np.concatenate([part[i] for part in mixed], axis=1) for i in range(3))
        (squares, _), (linear, bits) = self._squares, self._linear
        squares["changes"] = squares["partners"] = negative(of_rest)
        linear["changes"], linear["partners"] = of_change, subtract(of_partner, of_rest)
        bits["projections"] = negative(self._by_bits(weights, p.width + 1))
        for copy in range(COPIES):
            rest, whole = _sum(of_rest[copy]), _sum(weights[copy])
            self._add_constant(copy, p.bound * rest + (whole << p.width))

    def _by_bits(self, weights: Elements, bits: int) -> Elements:
        """Return the weights of the bits of numbers that have these weights, shape (copies, numbers * bits)."""
        return multiply(weights[:, :, None], self._twos[None, None, :bits]).reshape(COPIES, -1)

    def _add_link(self, first: Challenge, answers: Elements) -> None:
        """Add y + the sum of x_k v_k - z = 0, for each link and slot."""
        p, weights = self._parameters, self._link.reshape(COPIES, self._parameters.links, -1)
        place = np.arange(p.leading + p.values)
        row, slot = place // p.per_row, place % p.per_row
        x = np.ascontiguousarray(first.x.T)
        of_slot = np.stack([matrix_product(x, weight) for weight in weights])[:, row, slot]
        linear, of_changes = self._linear[0], of_slot[:, p.leading :]
        linear["masks"] = self._link
        bits = self._by_bits(of_slot[:, : p.metrics], p.metric_bits)
        self._of_metrics = np.zeros((COPIES, p.all_metric_bits), np.int64)
        self._of_metrics[:, : p.metric_bits * p.metrics] = bits
        if p.count_cap:
            self._add_products(of_changes)
        else:
            linear["changes"] = add(linear["changes"], of_changes)
        for copy in range(COPIES):
            self._add_constant(copy, p.offset * _sum(of_changes[copy]) - _sum(multiply(weights[copy], answers)))

    def _add_products(self, of_changes: Elements) -> None:
        """Add the products of changes u and the count c: s - u - c = 0 for each s, and u c = (s² - u² - c²) / 2.

        Also c - the sum of 2^i times the bits of the last metric = 0.
        """
        p, squares, linear = self._parameters, self._squares[0], self._linear[0]
        halves = multiply(of_changes, np.int64(pow(2, -1, PRIME)))
        squares["products"], squares["changes"] = halves, subtract(squares["changes"], halves)
        linear["products"], linear["changes"] = self._product, subtract(linear["changes"], self._product)
        for copy in range(COPIES):
            squares["count"][copy] = -_sum(halves[copy]) % PRIME
            linear["count"][copy] = (int(self._count[copy, 0]) - _sum(self._product[copy])) % PRIME
        bits = self._of_metrics[:, p.metric_bits * (p.metrics - 1) : p.metric_bits * p.metrics]
        bits[:] = subtract(bits, self._by_bits(self._count, p.metric_bits))

    def _add_metrics(self) -> None:
        """Add constant + the sum of coefficient * metric - difference = 0, for each rule about the metrics."""
        p, at = self._parameters, self._parameters.metric_bits * self._parameters.metrics
        for number, rule in enumerate(p.differences):
            weight = self._difference[:, number : number + 1]
            factors = np.array([[coefficient % PRIME for coefficient in rule.coefficients]], np.int64)
            metrics = self._of_metrics[:, : p.metric_bits * p.metrics]
            metrics[:] = add(metrics, self._by_bits(multiply(weight, factors), p.metric_bits))
            self._of_metrics[:, at : at + rule.bits] = negative(self._by_bits(weight, rule.bits))
            at += rule.bits
            for copy in range(COPIES):
                self._add_constant(copy, rule.constant * int(weight[copy, 0]))

    def _add_bits(self) -> None:
        """Add q² - q = 0 for every bit."""
        p = self._parameters
        of_metrics, of_projections, of_norm = np.split(
            self._bit, [p.all_metric_bits, p.all_metric_bits + p.projection_bits], axis=1
        )
        (first_squares, squares), (first_linear, linear) = self._squares, self._linear
        first_squares["metrics"] = of_metrics
        first_linear["metrics"] = subtract(self._of_metrics, of_metrics)
        squares["projections"], squares["norm"] = of_projections, of_norm
        linear["projections"] = subtract(linear["projections"], of_projections)
        linear["norm"] = negative(of_norm)

    def _add_norm(self) -> None:
        """Add Z - the sum of u² - the sum of 2^i bit_i = 0."""
        p = self._parameters
        squares, (_, linear) = self._squares[0], self._linear
        squares["changes"] = subtract(squares["changes"], self._norm)
        linear["norm"] = subtract(linear["norm"], self._by_bits(self._norm, p.norm_bits))
        for copy in range(COPIES):
            self._add_constant(copy, p.norm * int(self._norm[copy, 0]))


def _sum(elements: Elements) -> int:
    """Return the sum as a whole number: elements have 56 bits, so that halves of them add up in 64."""
    return (int((elements >> _HALF).sum()) << _HALF) + int((elements & ((1 << _HALF) - 1)).sum())


def bits_of(numbers: npt.NDArray[np.int64], count: int) -> Elements:
    """Return `count` bits of each number, the lowest first."""
    return ((numbers[:, None] >> np.arange(count)) & 1).reshape(-1)
