"""What an aggregator sees in a run of the plain scheme."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from book.decryption import generate_decryptor
from core.federated import encoding_for
from core.secagg.encoding import CohortSum, Encoding, Update
from core.secagg.factory import adder_for, encryptor_for
from core.secagg.scheme import PLAIN, Decryptor
from core.tasks.task import Task

BITS = 2048


class PlainAggregator:
    """An aggregator of the plain scheme, with the encoding and the bytes of a real run.

    Args:
        values: weights in one update.
        max_cohort: of the encoding; slots are wide enough for the sum of that many updates.
    """

    def __init__(self, task: Task, values: int, max_cohort: int) -> None:
        self._holder: Decryptor = generate_decryptor(PLAIN, BITS)
        self.encoding: Encoding = encoding_for(task, values, self._holder.public_key.plaintext_bits, max_cohort)

    def read(self, update: Update) -> CohortSum:
        """Read one client's update as it is sent."""
        return self.read_sum([update])

    def read_sum(self, updates: Sequence[Update]) -> CohortSum:
        """Read the sum of several updates."""
        key, count = self._holder.public_key, self.encoding.plaintexts
        encryptor, adder = encryptor_for(key, count), adder_for(key, count)
        for update in updates:
            payload = encryptor.encrypt(self.encoding.encode(update))
            adder.check(payload)
            adder.add(payload)
        return self.encoding.decode(self._holder.decrypt(adder.payload()), len(updates))


def word_part(sum_of_updates: CohortSum) -> np.ndarray:
    """Return the changes of the spam model's word weights, shape (vocabulary,), without the bias."""
    return sum_of_updates.delta_sum[:-1]
