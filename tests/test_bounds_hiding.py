"""What the opened columns show is covered by random numbers of full rank: exactly, as matrices over the prime."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from liars import P, honest_slots, sent

from core.bounds.code import place_powers
from core.bounds.field import PRIME, Elements, coefficients_of, matrix_product, multiply, subtract
from core.bounds.parameters import COMBINATIONS, COPIES, LONG, MEDIUM, SHORT, Parameters, Strength
from core.bounds.proof import Attempt
from core.bounds.relation import challenge
from core.bounds.transcript import opened_columns

SMALL = Strength(64, 512, 8)


def rank(matrix: Elements) -> int:
    """Return the rank modulo the prime, by Gauss's elimination."""
    matrix, found = matrix.copy(), 0
    for column in range(matrix.shape[1]):
        rows = found + np.flatnonzero(matrix[found:, column])
        if not len(rows):
            continue
        matrix[[found, rows[0]]] = matrix[[rows[0], found]]
        matrix[found] = multiply(matrix[found], np.int64(pow(int(matrix[found, column]), -1, PRIME)))
        for row in found + 1 + np.flatnonzero(matrix[found + 1 :, column]):
            matrix[row] = subtract(matrix[row], multiply(matrix[found], matrix[row, column]))
        found += 1
        if found == len(matrix):
            break
    return found


def opened_powers(parameters: Parameters) -> Elements:
    strength = parameters.strength
    return place_powers(strength.length, strength.columns, opened_columns(parameters, os.urandom(32)), strength.length)


@pytest.mark.parametrize("strength", [SMALL, SHORT, MEDIUM, LONG])
def test_the_random_numbers_of_a_row_cover_all_its_opened_columns(strength: Strength) -> None:
    p = replace(P, strength=strength)
    pads = np.zeros((strength.opened, strength.length), np.int64)
    pads[np.arange(strength.opened), p.data + np.arange(strength.opened)] = 1
    assert rank(matrix_product(coefficients_of(pads), opened_powers(p))) == strength.opened


def summed(p: Parameters, masks: Elements) -> Elements:
    """Return the mask of an equation that the product makes of four rows."""
    attempt = Attempt.__new__(Attempt)
    attempt._parameters, attempt._second = p, np.zeros((4 * COPIES, p.strength.length), np.int64)
    attempt._second[:4] = masks
    return attempt._equation_mask(0)


def test_the_four_rows_of_a_mask_show_in_opened_columns_nothing_but_their_sum() -> None:
    p = replace(P, strength=SMALL)
    powers, opened = opened_powers(p), SMALL.opened
    shown = []
    for block in range(3):
        for place in range(opened):  # what one row has in the overlap, the next may have less of
            masks = np.zeros((4, SMALL.length), np.int64)
            masks[block, p.data + place], masks[block + 1, place] = 1, PRIME - 1
            assert not summed(p, masks).any()
            shown.append(matrix_product(masks, powers).reshape(-1))
    assert rank(np.array(shown)) == 3 * opened


def test_each_copy_and_each_combination_has_masks_of_its_own() -> None:
    honest = sent(P, honest_slots(P))
    attempt = Attempt(P, honest.statement, honest.witness, os.urandom)
    attempt._commit_numbers()
    attempt._commit_bits(challenge(P, bytes(32)))
    masks = attempt._second[-(COMBINATIONS + 4 * COPIES) :]
    assert all(row.any() for row in masks)
    assert len({row.tobytes() for row in masks}) == COMBINATIONS + 4 * COPIES
