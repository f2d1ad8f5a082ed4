"""Rows of numbers as polynomials, and a polynomial's values at many places: a Reed-Solomon code.

A row of the proof is a polynomial of degree below k. Its values at the k-th roots of unity are the row's numbers and
then t random ones; its values at N other places are the row's part of N columns. Two different polynomials agree in
fewer than k of the N places, so a few columns tell much; and because of the random numbers, t columns tell nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from core.bounds.field import PRIME, Elements, compiled_plan, multiply, powers, root_of_unity, values_of
from core.secagg.kernel import columns as compiled

SHIFT = 3
"""The places are SHIFT times the N-th roots of unity: no root of unity of order 2^20 or less is among them."""
_AT_ONCE = 4
"""Cosets that are worked on together: their numbers stay in the processor's cache."""


@cache
def places(columns: int) -> Elements:
    """Return where polynomials are evaluated, by the number of the column."""
    # In the order in which `encode` finds them: coset c, then k-th root j, has the number c k + j.
    return multiply(powers(root_of_unity(columns), columns), np.int64(SHIFT))


@cache
def _order(length: int, columns: int) -> Elements:
    """Return the places by column: those that differ by k-th roots of unity stand together."""
    return places(columns).reshape(length, columns // length).T.copy().reshape(-1)


@cache
def _shifts(length: int, columns: int) -> Elements:
    """Return the powers of the first place of each coset, shape (cosets, length)."""
    firsts = _order(length, columns).reshape(-1, length)[:, 0]
    return np.stack([powers(int(first), length) for first in firsts])


def encode(coefficients: Elements, columns: int) -> Elements:
    """Return the columns, shape (columns, rows), of polynomials given as rows of coefficients, shape (rows, length)."""
    rows, length = coefficients.shape
    if compiled.available():
        return compiled.encode(coefficients, _compiled_shifts(length, columns), *compiled_plan(length, False))
    shifts = _shifts(length, columns)
    out = np.empty((len(shifts), length, rows), np.int64)
    for first in range(0, len(shifts), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        out[some] = values_of(multiply(coefficients[None, :, :], shifts[some, None, :])).transpose(0, 2, 1)
    return out.reshape(columns, rows)


@cache
def _compiled_shifts(length: int, columns: int) -> compiled.Factors:
    return compiled.Factors.of(_shifts(length, columns), PRIME)


def place_powers(length: int, columns: int, opened: Sequence[int], count: int) -> Elements:
    """Return 1, x, x^2 ... for the places x of some columns, shape (count, opened): to evaluate polynomials with."""
    at = _order(length, columns)[list(opened)]
    found, step = np.ones((1, len(at)), np.int64), at
    while len(found) < count:
        found = np.concatenate([found, multiply(found, step)])
        step = multiply(step, step)
    return found[:count].copy()


def sum_over_roots(coefficients: Elements, length: int) -> int:
    """Return the sum of a polynomial's values at the k-th roots of unity: k times every k-th coefficient."""
    return length * sum(int(coefficient) for coefficient in coefficients[::length]) % PRIME
