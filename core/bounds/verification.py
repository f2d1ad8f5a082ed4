"""Check a proof that every number in a client's ciphertexts lies in its range.

The verdict is a function of public bytes, the same on every machine: whoever holds the client's signature under them
can show that a proof is false, and nobody can make an honest one look false.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import gmpy2
import numpy as np
from gmpy2 import mpz

from core.bounds import link
from core.bounds.code import place_powers, sum_over_roots
from core.bounds.field import PRIME, Elements, add, coefficients_of, matrix_product, multiply, total, unpack
from core.bounds.parameters import COMBINATIONS, COPIES, Parameters
from core.bounds.proof import FIRST, SECOND
from core.bounds.relation import Challenge, Combination, challenge
from core.bounds.transcript import (
    Statement,
    first_hash,
    opened_columns,
    row_weights,
    second_hash,
    split,
    third_hash,
)
from core.bounds.tree import SALT_BYTES, leaf, root_from
from core.errors import Reason, Refused

LINK = "link"
Later = Callable[[link.Equation], None]


class Claim:
    """A proof of the right length, and what follows from it. Raises Refused(WRONG_PROOF) for one of another length."""

    def __init__(self, parameters: Parameters, statement: Statement, proof: bytes) -> None:
        self.parameters, self.statement = parameters, statement
        self.parts = split(parameters, statement, proof)
        self.mask = mpz.from_bytes(self.parts.mask, "big")
        self.root = mpz.from_bytes(self.parts.root, "big")
        self.sums = unpack(self.parts.sums).reshape(parameters.links, parameters.per_row)
        self.mask_sums = unpack(self.parts.mask_sums)
        self.combinations = unpack(self.parts.combinations).reshape(COMBINATIONS, -1)
        self.equations = unpack(self.parts.equations).reshape(COPIES, -1)
        self.columns = unpack(self.parts.columns).reshape(parameters.strength.opened, -1)
        parts = self.parts
        first = first_hash(statement, parts.mask, parts.first_root)
        self.seed = second_hash(first, parts.sums, parts.root, parts.second_root, parts.mask_sums)
        self.opened = opened_columns(parameters, third_hash(self.seed, parts.combinations, parts.equations))
        self._first_seed = first

    @cached_property
    def first(self) -> Challenge:
        """The first challenge."""
        return challenge(self.parameters, self._first_seed)

    @cached_property
    def link(self) -> link.Equation:
        """What ties the sums to the ciphertexts."""
        return link.Equation.of(self.parameters, self.statement, self.mask, self.root, self.first.x, self.sums)

    @cached_property
    def combination(self) -> Combination:
        """All equations as one."""
        return Combination(self.parameters, self.first, self.sums, self.seed)

    @cached_property
    def powers(self) -> Elements:
        """Powers of the opened columns' places, shape (equation_length, opened)."""
        p = self.parameters
        return place_powers(p.strength.length, p.strength.columns, self.opened, p.equation_length)


def _units(claim: Claim) -> bool:
    n = claim.statement.modulus
    in_range = 0 < claim.mask < n ** (claim.statement.degree + 1) and 0 < claim.root < n
    return bool(in_range and gmpy2.gcd(claim.mask * claim.root, n) == 1)


def _elements(claim: Claim) -> bool:
    numbers = (claim.sums, claim.mask_sums, claim.combinations, claim.equations, claim.columns)
    return all(bool((each < PRIME).all()) for each in numbers)


def _masked(claim: Claim) -> bool:
    """Return whether no sum can have wrapped around the prime."""
    p = claim.parameters
    return bool((claim.sums >= p.least_answer).all() and (claim.sums < 1 << p.mask_bits).all())


def _committed(claim: Claim) -> bool:
    p, parts = claim.parameters, claim.parts
    for tag, columns, paths, root in (
        (FIRST, claim.columns[:, : p.first_rows], parts.first_paths, parts.first_root),
        (SECOND, claim.columns[:, p.first_rows :], parts.second_paths, parts.second_root),
    ):
        raw = [np.ascontiguousarray(column, "<i8").tobytes() for column in columns]
        salts = [parts.salts[i * SALT_BYTES : (i + 1) * SALT_BYTES] for i in range(len(raw))]
        leaves = {at: leaf(tag, salts[i], raw[i]) for i, at in enumerate(claim.opened)}
        if root_from(leaves, paths, p.strength.columns) != root:
            return False
    return True


def _rows_combined(claim: Claim) -> bool:
    p = claim.parameters
    expected = matrix_product(row_weights(p, claim.seed), claim.columns.T)
    found = matrix_product(claim.combinations, claim.powers[: p.strength.length])
    return bool((expected == found).all())


def _equations_hold(claim: Claim) -> bool:
    """Return whether the sum of all weighted equations is what their constants say."""
    length = claim.parameters.strength.length
    return all(
        sum_over_roots(claim.equations[copy], length)
        == (int(claim.mask_sums[copy]) - claim.combination.constants[copy]) % PRIME
        for copy in range(COPIES)
    )


def _equations_combined(claim: Claim) -> bool:
    """Return whether the equations' polynomials fit the opened columns."""
    p, combination = claim.parameters, claim.combination
    weights = np.concatenate([combination.squares, combination.linear], axis=1).reshape(-1, p.strength.length)
    at = matrix_product(coefficients_of(weights), claim.powers[: p.strength.length])
    at = at.reshape(COPIES, 2, p.rows, p.strength.opened)
    numbers = claim.columns[:, : p.rows].T.copy()
    squares, found = multiply(numbers, numbers), matrix_product(claim.equations, claim.powers)
    for copy in range(COPIES):
        expected = total(add(multiply(at[copy, 0], squares), multiply(at[copy, 1], numbers)))
        start = p.rows + COMBINATIONS + 4 * copy
        for i in range(4):
            expected = add(expected, multiply(claim.powers[i * p.data], claim.columns[:, start + i]))
        if not (expected == found[copy]).all():
            return False
    return True


def _linked(claim: Claim) -> bool:
    return claim.link.holds()


CHECKS: dict[str, Callable[[Claim], bool]] = {
    "units": _units,
    "elements": _elements,
    "masked": _masked,
    "committed": _committed,
    "rows": _rows_combined,
    "sum": _equations_hold,
    "equations": _equations_combined,
    LINK: _linked,
}
"""By name, the cheap ones first."""
_WRONG = {
    "units": "a number that must be a unit modulo n is none",
    "elements": "a number is not below the field's prime",
    "masked": "a masked sum lies outside its interval",
    "committed": "a column is not the one that was committed to",
    "rows": "the columns are not those of polynomials",
    "sum": "a number lies outside its range",
    "equations": "the combined equations do not fit the columns",
    LINK: "the ciphertexts do not hold the numbers that are proven",
}


def verify(parameters: Parameters, statement: Statement, proof: bytes, later: Later | None = None) -> None:
    """Raise Refused(WRONG_PROOF) unless the proof is right.

    `statement.ciphertexts` must be units below n², as many as an update has (Adder.check).

    Args:
        later: is given the equation of the ciphertexts, which is then not checked: link.all_hold checks many at once.
    """
    claim = Claim(parameters, statement, proof)
    for name, check in CHECKS.items():
        if later is not None and name == LINK:
            later(claim.link)
        elif not check(claim):
            raise false(name)


def false(name: str) -> Refused:
    """Return the refusal of a proof that does not pass a check."""
    return Refused(Reason.WRONG_PROOF, f"the proof of ranges is false ({name}): {_WRONG[name]}")
