"""A hash tree over columns of numbers: its root commits to all of them, and some can be shown later with short paths.

A leaf is the hash of a tag, a salt and a column, so that a leaf that is not shown says nothing of its column. Hashes
are the first 20 bytes of SHA-256: two columns with one leaf are found in 2^80 tries.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from core.bounds.field import Elements
from core.secagg.kernel import columns as compiled

HASH_BYTES, SALT_BYTES = 20, 16
_NODE = b"\2"


def leaf(tag: bytes, salt: bytes, column: bytes) -> bytes:
    """Return the leaf of one column; `tag` says of which tree."""
    return hashlib.sha256(tag + salt + column).digest()[:HASH_BYTES]


def _parent(pair: bytes) -> bytes:
    return hashlib.sha256(_NODE + pair).digest()[:HASH_BYTES]


def _levels(tag: bytes, salts: bytes, columns: Elements) -> list[bytes]:
    raw, size = columns.tobytes(), columns.shape[1] * 8
    at = range(len(columns))
    leaves = [leaf(tag, salts[i * SALT_BYTES : (i + 1) * SALT_BYTES], raw[i * size : (i + 1) * size]) for i in at]
    levels = [b"".join(leaves)]
    while len(level := levels[-1]) > HASH_BYTES:
        pairs = range(0, len(level), 2 * HASH_BYTES)
        levels.append(b"".join([_parent(level[i : i + 2 * HASH_BYTES]) for i in pairs]))
    return levels


class Tree:
    """The hashes of all levels, the leaves first.

    Args:
        tag: one byte, another for each tree of a proof.
        salts: SALT_BYTES for each column.
        columns: shape (columns, rows); as many as a power of 2.
    """

    def __init__(self, tag: bytes, salts: bytes, columns: Elements) -> None:
        rows = np.ascontiguousarray(columns, "<i8")
        if compiled.available():
            self._levels = compiled.tree_levels(tag, _NODE, salts, rows)
        else:
            self._levels = _levels(tag, salts, rows)

    @property
    def root(self) -> bytes:
        """What all columns are committed to with."""
        return self._levels[-1]

    def paths(self, places: Sequence[int]) -> bytes:
        """Return the hashes that lead from these leaves to the root, without those that follow from the leaves."""
        hashes, known = [], sorted(places)
        for level in self._levels[:-1]:
            missing = [i ^ 1 for i in known if i ^ 1 not in set(known)]
            hashes += [level[i * HASH_BYTES : (i + 1) * HASH_BYTES] for i in missing]
            known = sorted({i >> 1 for i in known})
        return b"".join(hashes)


def root_from(leaves: Mapping[int, bytes], paths: bytes, columns: int) -> bytes | None:
    """Return the root that some leaves and their paths lead to; None if the paths are too long or too short."""
    level, at = dict(leaves), 0
    while columns > 1:
        parents: dict[int, bytes] = {}
        for i in sorted(level):
            if i >> 1 in parents:
                continue
            other = level.get(i ^ 1)
            if other is None:
                other, at = paths[at : at + HASH_BYTES], at + HASH_BYTES
            parents[i >> 1] = _parent(other + level[i] if i & 1 else level[i] + other)
        level, columns = parents, columns // 2
    return level[0] if at == len(paths) else None
