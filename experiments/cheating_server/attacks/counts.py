"""A client that lies about how many examples it counts, so that the mean moves further than the clip allows.

Where clients count by their examples, the mean is the sum of the changes over the sum of the counts. Both are
encrypted: a large change that is sent with a count of 0 shows only in the sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from unittest import mock

import numpy as np

from core.errors import Reason
from core.federated import next_model
from core.secagg.encoding import METRIC_SLOTS, CohortSum, Encoding
from core.secagg.factory import encryptor_for
from experiments.arrays import FloatArray
from experiments.cheating_server.attack import Attack, Party
from experiments.cheating_server.attacks.models import opened_sum
from experiments.cheating_server.ciphertexts import deltas, slots
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, MAILS

COUNT_CAP = 1000
TIMES = 10
"""What the liar wants: that the mean of every weight moves by this many times the clip."""


def shrunk_count(attacker: Attacker) -> Loot:
    """Send a large change as that of no example, and have the holders endorse the model that follows."""
    crafted = attacker.describe(attacker.ask_key(), count_cap=COUNT_CAP)
    encoding, liar = crafted.encoding, CONSPIRATORS[0]
    listed = attacker.open_round(crafted)
    with closing(encryptor_for(crafted.key, encoding.plaintexts)) as encryptor:
        lie = encryptor.encrypt(_lie(encoding, others=len(HONEST) * MAILS))
    listed[liar] = attacker.commit_as(liar, crafted, lie)
    closed = attacker.close_list(crafted, listed.values())
    attacker.demand_updates(closed)
    contributors = [*HONEST, liar]
    opened = opened_sum(attacker, closed, contributors)
    cohort = _decoded(encoding, opened.plaintexts, len(contributors))
    attacker.rogue.served.opened = opened.to_bytes(crafted.key)
    after = next_model(attacker.stage.start, cohort)
    attacker.endorse(closed, contributors, after)
    return _reached(after - attacker.stage.start, encoding)


def _lie(encoding: Encoding, others: int) -> list[int]:
    """Return the plaintexts of a change that moves the mean by TIMES the clip, if the others count `others`."""
    leading = np.zeros(encoding.leading_slots, np.int64)
    change = np.full(encoding.values, TIMES * others << (encoding.value_bits - 1), np.int64)
    return encoding.pack(np.concatenate([leading, change + encoding.offset]))


def _decoded(encoding: Encoding, plaintexts: Sequence[int], contributors: int) -> CohortSum:
    """Read an opened sum as Encoding.decode() does, without its checks."""
    count = int(slots(encoding, plaintexts)[METRIC_SLOTS])
    changes = deltas(encoding, plaintexts, contributors).astype(np.float64)
    total = np.ldexp(changes, -encoding.fraction_bits) / encoding.largest_count
    return CohortSum(contributors, total, 0, 0.0, 0, count=count / encoding.count_cap)


def _reached(step: FloatArray, encoding: Encoding) -> Loot:
    """Say how many weights moved as far as the liar wanted; what honest clients add is far less than a clip."""
    return Loot.of(np.rint(step / encoding.clip).astype(np.int64), np.full(len(step), TIMES))


@contextmanager
def _counts_unchecked() -> Iterator[None]:
    """Leave out the comparison of changes and counts, at every party."""
    with mock.patch.object(Encoding, "_check_count", return_value=None):
        yield


ATTACKS = (
    Attack(
        "30", "a large change, counted as of no example", shrunk_count, Party.HOLDER, Reason.BAD_SUM,
        conspirators="1 client", around=_counts_unchecked,
    ),
)  # fmt: skip
