"""A false proof of ranges: the honest attempt at one, with some of its steps replaced."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gmpy2 import mpz

from core.bounds.code import place_powers, sum_over_roots
from core.bounds.field import PRIME, Elements, add, coefficients_of, matrix_product, multiply, subtract, total
from core.bounds.parameters import COMBINATIONS, COPIES, Parameters
from core.bounds.proof import Attempt, Witness
from core.bounds.relation import Combination
from core.bounds.transcript import Statement, row_weights


def packed(slot_bits: int, per_row: int, slots: Sequence[int]) -> list[int]:
    """Lay any whole numbers into plaintexts, also such as do not fit their slots, each with a counter of 1."""
    rows = [slots[at : at + per_row] for at in range(0, len(slots), per_row)]
    return [1 + sum(int(slot) << (slot_bits * (i + 1)) for i, slot in enumerate(row)) for row in rows]


class Liar(Attempt):
    """An attempt with lies: replacements of what the honest client computes, by name."""

    def __init__(self, parameters: Parameters, statement: Statement, witness: Witness, **lies: Any) -> None:
        super().__init__(parameters, statement, witness, os.urandom)
        self._lies = lies
        self._partners = lies.get("partners", self._partners)

    def _require(self, hides: bool) -> None:
        """Go on, whatever that shows."""

    def _lie(self, name: str, value: Any) -> Any:
        lie: Callable[[Any], Any] = self._lies.get(name, lambda same: same)
        return lie(value)

    def _columns(self, coefficients: Elements) -> Elements:
        name = "columns" if not hasattr(self, "_first_columns") else "second_columns"
        columns: Elements = self._lie(name, super()._columns(coefficients))
        return columns

    def _commit_numbers(self) -> tuple[bytes, bytes]:
        mask, root = super()._commit_numbers()
        return self._lie("mask", mask), root

    def _mask_plaintext(self) -> mpz:
        return self._lie("mask_plaintext", super()._mask_plaintext())

    def _answer(self, first: Any) -> tuple[Elements, bytes]:
        sums, root = super()._answer(first)
        return self._lie("sums", sums), self._lie("root", root)

    def _projections(self, first: Any) -> Any:
        if "rest" not in self._lies:
            return super()._projections(first)
        whole = np.concatenate([self._changes, self._partners, self._lies["rest"]]).astype(object)
        return np.array([int(row @ whole) % 2**62 for row in first.signs[0].matrix.astype(object)])

    def _projection_bits(self, projections: Any) -> Elements:
        bits = super()._projection_bits(projections)
        return self._lies["bits"](projections, bits) % PRIME if "bits" in self._lies else bits

    def _mask_sums(self) -> Elements:
        sums: Elements = self._lie("mask_sums", super()._mask_sums())
        return sums

    def _combined_rows(self) -> Elements:
        rows: Elements = self._lie("combinations", super()._combined_rows())
        return rows

    def _equations(self, first: Any, sums: Elements) -> Elements:
        found = super()._equations(first, sums)
        self._combination = Combination(self._parameters, first, sums, self._seed)
        self._sent_equations = self.mended(found) if self._lies.get("mend") else found
        return self._sent_equations

    def mended(self, equations: Elements) -> Elements:
        """Give false equations the sum that right ones have."""
        p, out = self._parameters, equations.copy()
        for copy, mask_sum in enumerate(self._mask_sums()):
            wanted = int(mask_sum) - self._combination.constants[copy]
            missing = wanted - sum_over_roots(out[copy], p.strength.length)
            out[copy, 0] = (int(out[copy, 0]) + missing * pow(p.strength.length, -1, PRIME)) % PRIME
        return out

    def _shown(self, parts: tuple[bytes, ...], opened: Sequence[int]) -> bytes:
        if self._lies.get("make_up"):
            self._made_up(list(opened))
        return super()._shown(parts, opened)

    def _made_up(self, opened: list[int]) -> None:
        """Choose the masks of opened columns after the challenge, so that the false equations fit."""
        p = self._parameters
        columns = np.concatenate([self._first_columns[opened], self._second_columns[opened]], axis=1)
        x = place_powers(p.strength.length, p.strength.columns, opened, p.equation_length)
        combination, equations = self._combination, self._sent_equations
        weights = np.concatenate([combination.squares, combination.linear], axis=1).reshape(-1, p.strength.length)
        at = matrix_product(coefficients_of(weights), x[: p.strength.length]).reshape(COPIES, 2, p.rows, -1)
        numbers = columns[:, : p.rows].T.copy()
        for copy in range(COPIES):
            start = p.rows + COMBINATIONS + 4 * copy
            rest = total(add(multiply(at[copy, 0], multiply(numbers, numbers)), multiply(at[copy, 1], numbers)))
            for i in range(1, 4):
                rest = add(rest, multiply(x[i * p.data], columns[:, start + i]))
            columns[:, start] = subtract(matrix_product(equations, x)[copy], rest)
        columns[:, p.rows : p.rows + COMBINATIONS] = 0
        others = matrix_product(row_weights(p, self._seed), columns.T.copy())
        found = matrix_product(self._combined_rows(), x[: p.strength.length])
        columns[:, p.rows : p.rows + COMBINATIONS] = subtract(found, others).T
        self._second_columns[opened] = columns[:, p.first_rows :]
