"""Make a proof that every number in a client's ciphertexts lies in its range.

    commit    to the numbers, and to masks, with a hash tree (Ames, Hazay, Ishai and Venkitasubramaniam, CCS 2017)
    answer    a random combination of the ciphertexts, under the masks, and random projections of the numbers
    commit    to the projections' bits, and to more masks
    combine   all rows, and all equations, to one polynomial each
    show      some columns, with which everybody can check the combinations

Between these, hashes of all that was sent ask the random questions. **No mask may meet two of them**: the difference of
two answers would show combinations of the update. So all that is random belongs to one `Attempt`, which makes one proof
in one go, keeps nothing and is thrown away; a second attempt draws everything anew. core/bounds/verification.py is the
other side.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from gmpy2 import mpz

from core.bounds import link
from core.bounds.code import encode, sum_over_roots
from core.bounds.field import (
    PRIME,
    Elements,
    RandomBytes,
    add,
    coefficients_of,
    draw,
    matrix_product,
    multiply,
    pack,
    total,
    values_of,
)
from core.bounds.parameters import COMBINATIONS, COPIES, NORM_BITS, Parameters
from core.bounds.relation import Challenge, Combination, Rows, bits_of, challenge
from core.bounds.transcript import (
    Parts,
    Statement,
    first_hash,
    opened_columns,
    row_weights,
    second_hash,
    third_hash,
)
from core.bounds.tree import SALT_BYTES, Tree

MOST_TRIES = 100
FIRST, SECOND = b"\0", b"\1"
"""Tags of the two trees' leaves."""
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Witness:
    """What only the client knows.

    Attributes:
        slots: the numbers in its plaintexts, shape (leading + values,).
        power_of_roots: given x, returns the product of r_k^x_k mod n, where r_k^n is the noise of ciphertext k.
    """

    slots: IntArray
    power_of_roots: Callable[[Sequence[int]], mpz]

    def __repr__(self) -> str:
        return f"Witness({len(self.slots)} numbers)"


class _Restart(Exception):  # noqa: N818  nothing is wrong
    """A random number came out so that the answer would show something of the update."""


def prove(
    parameters: Parameters, statement: Statement, witness: Witness, random_bytes: RandomBytes = os.urandom
) -> bytes:
    """Return a proof; about one attempt in fifty has to be thrown away (one in five for 100,000 weights).

    Raises ValueError for numbers outside their range, of which there is no proof.
    """
    _check_witness(parameters, witness)
    for _ in range(MOST_TRIES):
        try:
            return Attempt(parameters, statement, witness, random_bytes).proof()
        except _Restart:
            continue
    raise ValueError(f"no proof succeeded in {MOST_TRIES} attempts; the update cannot be an honest one")


def _check_witness(parameters: Parameters, witness: Witness) -> None:
    changes, count = changes_of(parameters, witness.slots)
    if (changes * count + parameters.offset != witness.slots[parameters.leading :]).any():
        raise ValueError("a change in a slot is not a whole number times the count")
    if int((changes**2).max()) > parameters.bound:
        raise ValueError(f"a change of {int(np.abs(changes).max())} steps is outside its range")
    if parameters.norm and int((changes**2).sum()) > parameters.norm:
        raise ValueError("the norm of the update is above its bound")
    leading = witness.slots[: parameters.leading]
    metrics = tuple(leading[: parameters.metrics].tolist())
    if leading[parameters.metrics :].any() or any(not 0 <= metric < 1 << parameters.metric_bits for metric in metrics):
        raise ValueError("a metric is outside its range")
    if any(not 0 <= rule.of(metrics) < 1 << rule.bits for rule in parameters.differences):
        raise ValueError("the metrics contradict each other")


class Attempt:
    """One attempt at a proof, with masks, pads and salts of its own. Args: as of prove()."""

    def __init__(
        self, parameters: Parameters, statement: Statement, witness: Witness, random_bytes: RandomBytes
    ) -> None:
        self._parameters = parameters
        self._statement = statement
        self._witness = witness
        self._random_bytes = random_bytes
        self._changes, self._count = changes_of(parameters, witness.slots)
        self._partners = partners(self._changes, parameters.bound)

    def proof(self) -> bytes:
        """Return the proof. Raises _Restart."""
        p = self._parameters
        mask, first_root = self._commit_numbers()
        self._seed = first_hash(self._statement, mask, first_root)
        first = challenge(p, self._seed)
        sums, root = self._answer(first)
        second_root = self._commit_bits(first)
        packed = pack(sums), root, second_root, pack(self._mask_sums())
        self._seed = second_hash(self._seed, *packed)
        combinations, equations = pack(self._combined_rows()), pack(self._equations(first, sums))
        opened = opened_columns(p, third_hash(self._seed, combinations, equations))
        return self._shown((mask, first_root, *packed, combinations, equations), opened)

    # ---------------------------------------------------------------------------- first commitment, first answer

    def _commit_numbers(self) -> tuple[bytes, bytes]:
        """Return the ciphertext of the masks, and the root of the first tree."""
        p, n = self._parameters, self._statement.modulus
        count = p.links * p.per_row
        drawn = np.frombuffer(self._random_bytes(8 * count), "<u8") & np.uint64((1 << p.mask_bits) - 1)
        self._masks = drawn.astype(np.int64).reshape(p.links, p.per_row)
        rows = Rows(p, p.first_parts)
        rows["changes"], rows["partners"] = self._changes % PRIME, self._partners % PRIME
        rows["masks"], rows["metrics"] = self._masks.reshape(-1), self._metric_bits()
        if p.count_cap:
            rows["products"], rows["count"] = (self._changes + self._count) % PRIME, np.array([self._count])
        self._first = coefficients_of(rows.padded(draw(p.first_rows * p.strength.opened, self._random_bytes)))
        self._first_columns = self._columns(self._first)
        seed = self._random_bytes(32)
        self._salts = hashlib.shake_256(b"salt" + seed).digest(SALT_BYTES * p.strength.columns)
        self._first_tree = Tree(FIRST, self._salts, self._first_columns)
        size = self._statement.modulus_bytes
        self._mask_root = mpz(int.from_bytes(self._random_bytes(size + 16), "big")) % (n - 1) + 1
        degree = self._statement.degree
        mask = link.encrypt(n, degree, self._mask_plaintext(), self._mask_root)
        return mask.to_bytes((degree + 1) * size, "big"), self._first_tree.root

    def _columns(self, coefficients: Elements) -> Elements:
        return encode(coefficients, self._parameters.strength.columns)

    def _mask_plaintext(self) -> mpz:
        return link.plaintext(self._parameters, 0, self._masks)

    def _metric_bits(self) -> Elements:
        """Return the bits of the metrics, then those of what the rules say of them."""
        p = self._parameters
        metrics = self._witness.slots[: p.metrics]
        bits = [bits_of(metrics, p.metric_bits)]
        for rule in p.differences:
            bits.append(bits_of(np.array([rule.of(tuple(metrics.tolist()))]), rule.bits))
        return np.concatenate(bits)

    def _answer(self, first: Challenge) -> tuple[Elements, bytes]:
        """Return the masked sums, and the root that belongs to them. Raises _Restart."""
        p, n = self._parameters, self._statement.modulus
        slots = np.zeros(p.plaintexts * p.per_row, np.int64)
        slots[: len(self._witness.slots)] = self._witness.slots
        sums = self._masks + first.x @ slots.reshape(p.plaintexts, p.per_row)
        self._require(int(sums.min()) >= p.least_answer and int(sums.max()) < 1 << p.mask_bits)
        root = self._mask_root * self._witness.power_of_roots(link.exponents(p, first.x)) % n
        return sums, root.to_bytes(self._statement.modulus_bytes, "big")

    def _require(self, hides: bool) -> None:
        if not hides:
            raise _Restart

    # ---------------------------------------------------------------------------- second commitment

    def _commit_bits(self, first: Challenge) -> bytes:
        """Return the root of the second tree: of bits of projections and norm, and of masks."""
        p, length = self._parameters, self._parameters.strength.length
        limit = 1 << p.width
        projections = self._projections(first)
        self._require(int(projections.min()) >= -limit and int(projections.max()) < limit)
        rows = Rows(p, p.second_parts)
        rows["projections"] = self._projection_bits(projections)
        if p.norm:
            missing = p.norm - int((self._changes**2).sum())
            rows["norm"] = bits_of(np.array([missing]), NORM_BITS)
        numbers = coefficients_of(rows.padded(draw(p.second_rows * p.strength.opened, self._random_bytes)))
        masks = draw((COMBINATIONS + 4 * COPIES) * length, self._random_bytes).reshape(-1, length)
        last = p.equation_length - 3 * p.data
        for copy in range(COPIES):
            masks[COMBINATIONS + 4 * copy + 3, last:] = 0
        self._second = np.concatenate([numbers, masks])
        self._second_columns = self._columns(self._second)
        self._second_tree = Tree(SECOND, self._salts, self._second_columns)
        return self._second_tree.root

    def _projections(self, first: Challenge) -> IntArray:
        u, a = self._changes, self._partners
        rest = self._parameters.bound - u**2 - a**2 - a
        each = zip(first.signs, self._parameters.blocks, strict=True)
        return np.concatenate([signs.project(np.concatenate([u[at], a[at], rest[at]])) for signs, at in each])

    def _projection_bits(self, projections: IntArray) -> Elements:
        width = self._parameters.width
        return bits_of(projections + (1 << width), width + 1)

    def _equation_mask(self, copy: int) -> Elements:
        """Return the random polynomial that hides a copy's equation: four rows, overlapping by as many as are opened.

        Without the overlap, opened columns of the four would show parts of what they hide.
        """
        p, start = self._parameters, len(self._second) - 4 * COPIES + 4 * copy
        mask = np.zeros(p.equation_length, np.int64)
        for i, row in enumerate(self._second[start : start + 4]):
            at = mask[i * p.data : i * p.data + len(row)]
            at[:] = add(at, row[: len(at)])
        return mask

    def _mask_sums(self) -> Elements:
        length = self._parameters.strength.length
        return np.array([sum_over_roots(self._equation_mask(copy), length) for copy in range(COPIES)])

    # ---------------------------------------------------------------------------- combinations, and what is shown

    def _combined_rows(self) -> Elements:
        weights = row_weights(self._parameters, self._seed)
        return matrix_product(weights, np.concatenate([self._first, self._second]))

    def _equations(self, first: Challenge, sums: Elements) -> Elements:
        """Return, for each copy, the mask plus the sum over rows of A P² + L P, shape (COPIES, equation_length)."""
        p = self._parameters
        combination = Combination(p, first, sums, self._seed)
        numbers = np.concatenate([self._first, self._second])[: p.rows]
        values = values_of(_widened(numbers))
        squares = multiply(values, values)
        equations = []
        for copy in range(COPIES):
            used = np.flatnonzero(combination.squares[copy].any(-1))
            linear = values_of(_widened(coefficients_of(combination.linear[copy])))
            quadratic = values_of(_widened(coefficients_of(combination.squares[copy][used])))
            terms = np.concatenate([multiply(linear, values), multiply(quadratic, squares[used])])
            whole = coefficients_of(total(terms))[: p.equation_length]
            equations.append(add(self._equation_mask(copy), whole))
        return np.stack(equations)

    def _shown(self, sent: tuple[bytes, ...], opened: Sequence[int]) -> bytes:
        columns = np.concatenate([self._first_columns[opened], self._second_columns[opened]], axis=1)
        salts = b"".join(self._salts[i * SALT_BYTES : (i + 1) * SALT_BYTES] for i in opened)
        paths = self._first_tree.paths(opened), self._second_tree.paths(opened)
        parts = [*sent, salts, pack(columns), *paths]
        return Parts(*parts).to_bytes()


def changes_of(parameters: Parameters, slots: IntArray) -> tuple[IntArray, int]:
    """Return the changes in the slots, and the count that each stands there multiplied by; 1 if there is none."""
    changes = slots[parameters.leading :] - parameters.offset
    if not parameters.count_cap:
        return changes, 1
    count = int(slots[parameters.leading - 1])
    return changes // max(count, 1), count


def partners(changes: IntArray, bound: int) -> IntArray:
    """Return a = isqrt(bound - u²) for each change u; 0 where u² is above the bound."""
    rest = np.maximum(bound - changes**2, 0)
    found = np.floor(np.sqrt(rest.astype(np.float64))).astype(np.int64)
    found -= found**2 > rest
    found += (found + 1) ** 2 <= rest
    return found


def _widened(coefficients: Elements) -> Elements:
    """Return polynomials with room for products of three of them."""
    *leading, length = coefficients.shape
    return np.concatenate([coefficients, np.zeros((*leading, 3 * length), np.int64)], axis=-1)
