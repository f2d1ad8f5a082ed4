"""The sums that a round opens: one of all contributors, or, with groups, one of each group (docs/rules.md).

Several sums are opened as one: their ciphertexts stand one after another, the groups in order, and so do the key
holders' answers and the plaintexts. Aggregator, key holders and whoever checks a record call the same functions.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from core.federated import mean_update
from core.hashing import hash_parts
from core.privacy.mechanism import Mechanism
from core.protocol import RoundDescription
from core.robust import Grouping, joined
from core.secagg.encoding import CohortSum
from core.secagg.factory import adder_for
from core.wire.holder_messages import list_statement

FloatArray = npt.NDArray[np.float64]
DIVISION = b"grokfed division v1"


def least_in_all(description: RoundDescription, smallest: int) -> int:
    """Return how many contributors a round needs, so that each of its sums has at least `smallest`."""
    return smallest * _sums(description)


def in_groups(description: RoundDescription) -> str:
    """Say, after a number of clients, how they are divided; empty where one sum is opened."""
    return "" if description.grouping is None else f" in {description.grouping.groups} groups"


def ciphertexts_of(description: RoundDescription) -> int:
    """Return how many ciphertexts all sums of a round have together."""
    return description.encoding.plaintexts * _sums(description)


def groups_of(
    description: RoundDescription, description_digest: bytes, commitment_digests: Sequence[bytes], names: Sequence[str]
) -> list[list[str]]:
    """Return whose updates are in each sum, by the names of all contributors; without groups, all in one.

    The closed list decides: the order of SHA-256 over its statement and each name. It has all commitments, so no client
    knows its group, or whose group it shares, when it commits.
    """
    if description.grouping is None:
        return [list(names)]
    statement = list_statement(description_digest, commitment_digests)
    return description.grouping.divide(list(names), hash_parts(DIVISION, statement))


class RoundAdder:
    """Adds up a round's updates, each into the sum of its group.

    Args:
        groups: whose updates are in each sum, as `groups_of`.
    """

    def __init__(self, description: RoundDescription, groups: Sequence[Iterable[str]]) -> None:
        key, count = description.key, description.encoding.plaintexts
        self._adders = [adder_for(key, count) for _ in groups]
        self._places = {client: place for place, group in enumerate(groups) for client in group}

    def check(self, payload: bytes) -> None:
        """Raise Refused(WRONG_LENGTH or BAD_CIPHERTEXT) unless every ciphertext of an update can stand in a sum."""
        self._adders[0].check(payload)

    def add(self, client: str, payload: bytes) -> None:
        """Add a client's checked update."""
        place = self._places[client] if len(self._adders) > 1 else 0
        self._adders[place].add(payload)

    def payload(self) -> bytes:
        """Return the sums so far, one after another."""
        return b"".join(adder.payload() for adder in self._adders)


def sums_of(description: RoundDescription, plaintexts: Sequence[int], contributors: int) -> list[CohortSum]:
    """Return the opened sums, decoded. Raises Refused(BAD_SUM) if one cannot come from so many honest updates."""
    encoding, count, grouping = description.encoding, description.encoding.plaintexts, description.grouping
    sizes = [contributors] if grouping is None else grouping.sizes(contributors)
    return [
        encoding.decode(plaintexts[place * count : (place + 1) * count], size) for place, size in enumerate(sizes)
    ]  # fmt: skip


def cohort_of(sums: Sequence[CohortSum]) -> CohortSum:
    """Return the sum of all contributors, for the cohort's own metrics."""
    return sums[0] if len(sums) == 1 else joined(sums)


def mean_of(sums: Sequence[CohortSum], grouping: Grouping | None, mechanism: Mechanism | None) -> FloatArray:
    """Return what goes into the server's rule: the mean update, or the robust mean of the groups' means.

    Raises Refused(BAD_SUM) if clients count by their examples and those of one sum had none.
    """
    means = [mean_update(each, mechanism) for each in sums]
    return means[0] if grouping is None else grouping.mean(means)


def _sums(description: RoundDescription) -> int:
    return 1 if description.grouping is None else description.grouping.groups
