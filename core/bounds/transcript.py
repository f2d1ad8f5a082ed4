"""What a proof consists of, byte by byte, and the hashes that stand for a verifier's random questions (Fiat-Shamir)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from gmpy2 import mpz

from core.bounds.field import BYTES, Elements, expand
from core.bounds.parameters import COMBINATIONS, COPIES, Parameters
from core.bounds.tree import HASH_BYTES, SALT_BYTES
from core.errors import Reason, Refused
from core.hashing import hash_parts

COUNT_BYTES = 2


@dataclass(frozen=True)
class Statement:
    """What a proof is about, all of it public.

    Attributes:
        modulus: n, of a whole number of bytes.
        context: says, injectively, which client and which attempt; the proof holds for no other.
        digest: SHA-256 of the ciphertexts.
        ciphertexts: the same as numbers below n^(degree + 1) that share no factor with n; the caller checks that.
        degree: 1; 2 with Damgård and Jurik's longer plaintexts.
    """

    modulus: mpz
    context: bytes
    digest: bytes
    ciphertexts: Sequence[mpz]
    degree: int = 1

    @property
    def modulus_bytes(self) -> int:
        """Length of a number below n."""
        return int(self.modulus.bit_length()) // 8


@dataclass(frozen=True)
class Parts:
    """The parts of a proof in the order in which they stand; each a number of bytes that the parameters decide."""

    mask: bytes
    first_root: bytes
    sums: bytes
    root: bytes
    second_root: bytes
    mask_sums: bytes
    combinations: bytes
    equations: bytes
    salts: bytes
    columns: bytes
    first_paths: bytes
    second_paths: bytes

    def to_bytes(self) -> bytes:
        """Return the proof."""
        hashes = len(self.first_paths) // HASH_BYTES
        fixed = (self.mask, self.first_root, self.sums, self.root, self.second_root, self.mask_sums)
        opened = (self.combinations, self.equations, self.salts, self.columns, hashes.to_bytes(COUNT_BYTES, "big"))
        return b"".join((*fixed, *opened, self.first_paths, self.second_paths))


def part_sizes(parameters: Parameters, modulus_bytes: int, degree: int) -> list[int]:
    """Return the lengths of all parts before the paths."""
    strength = parameters.strength
    return [
        (degree + 1) * modulus_bytes,
        HASH_BYTES,
        BYTES * parameters.links * parameters.per_row,
        modulus_bytes,
        HASH_BYTES,
        BYTES * COPIES,
        BYTES * COMBINATIONS * strength.length,
        BYTES * COPIES * parameters.equation_length,
        SALT_BYTES * strength.opened,
        BYTES * strength.opened * parameters.all_rows,
    ]


def longest(parameters: Parameters, modulus_bytes: int, degree: int) -> int:
    """Return the length of the longest proof: paths are shorter where they meet early."""
    depth = parameters.strength.columns.bit_length() - 1
    paths = 2 * HASH_BYTES * parameters.strength.opened * depth
    return sum(part_sizes(parameters, modulus_bytes, degree)) + COUNT_BYTES + paths


def usual(parameters: Parameters, modulus_bytes: int, degree: int) -> int:
    """Return the mean length of proofs, whose paths meet here or there.

    A node of a level with m nodes is shown if its own part of the tree has none of the t opened columns, and its
    neighbour's has some: with a chance of (1 - 1/m)^t - (1 - 2/m)^t.
    """
    opened, depth = parameters.strength.opened, parameters.strength.columns.bit_length() - 1
    levels = [1 << level for level in range(1, depth + 1)]
    nodes = sum(m * ((1 - 1 / m) ** opened - (1 - 2 / m) ** opened) for m in levels)
    return sum(part_sizes(parameters, modulus_bytes, degree)) + COUNT_BYTES + round(2 * HASH_BYTES * nodes)


def split(parameters: Parameters, statement: Statement, proof: bytes) -> Parts:
    """Cut a proof into its parts. Raises Refused(WRONG_PROOF) for a proof of another length."""
    lengths = parameters, statement.modulus_bytes, statement.degree
    sizes, parts, at = part_sizes(*lengths), [], 0
    for size in sizes:
        parts.append(proof[at : at + size])
        at += size
    count = int.from_bytes(proof[at : at + COUNT_BYTES], "big")
    at, size = at + COUNT_BYTES, count * HASH_BYTES
    if len(proof) != at + 2 * size or len(proof) > longest(*lengths):
        raise Refused(Reason.WRONG_PROOF, f"the proof has {len(proof)} bytes, which is not the length of one")
    parts += [proof[at : at + size], proof[at + size :]]
    return Parts(*parts)


# -------------------------------------------------------------------------------- the questions, in their order


def first_hash(statement: Statement, mask: bytes, first_root: bytes) -> bytes:
    """Return what decides the projections and the combination of the ciphertexts."""
    return hash_parts(statement.context, statement.digest, mask, first_root)


def second_hash(before: bytes, sums: bytes, root: bytes, second_root: bytes, mask_sums: bytes) -> bytes:
    """Return what decides the weights of all equations and of all rows."""
    return hash_parts(before, sums, root, second_root, mask_sums)


def third_hash(before: bytes, combinations: bytes, equations: bytes) -> bytes:
    """Return what decides which columns are opened."""
    return hash_parts(before, combinations, equations)


def row_weights(parameters: Parameters, seed: bytes) -> Elements:
    """Return the weights of all rows in the combinations, shape (COMBINATIONS, all_rows): 1 for each one's own mask."""
    weights = expand(b"g", seed, COMBINATIONS * parameters.all_rows).reshape(COMBINATIONS, -1)
    weights[:, parameters.rows : parameters.rows + COMBINATIONS] = np.eye(COMBINATIONS, dtype=np.int64)
    return weights


def opened_columns(parameters: Parameters, seed: bytes) -> list[int]:
    """Return which columns are opened, in order, none twice."""
    chosen: set[int] = set()
    number = 0
    while True:
        raw = hashlib.shake_256(b"q" + seed + bytes([number])).digest(256)
        for drawn in np.frombuffer(raw, "<u4").tolist():
            chosen.add(drawn % parameters.strength.columns)
            if len(chosen) == parameters.strength.opened:
                return sorted(chosen)
        number += 1
