"""A client that makes the common model obey its own word: what it sends, and how much room it has for it.

Model replacement (Bagdasaryan et al., "How to backdoor federated learning", AISTATS 2020, section 4): to move the
mean of n updates by x, send n x. Nothing in a sum of ciphertexts stops that but the room in a slot.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.secagg.encoding import PROVEN_CHANGE, Encoding, Update
from experiments.arrays import FloatArray, IntArray

ROOM_USED = 0.9  # of what a sum may still move; the rest is for what honest clients send


def weight_that_decides(logits: FloatArray, sizes: FloatArray, words: int) -> float:
    """Return the weight that `words` trigger words need to turn all of these mails from spam to ham.

    The spam model divides the sum of a mail's weights by the root of their number.

    Args:
        logits: of the mails without the trigger, shape (mails,).
        sizes: distinct words of each mail, with the trigger's.
    """
    return -float(np.max(np.maximum(logits, 0) * np.sqrt(sizes))) / words


def replacing(change: FloatArray, clients: int, attackers: int) -> FloatArray:
    """Return what each attacker sends so that the mean over all clients moves by `change`: it, scaled."""
    return change * (clients / attackers)


def beyond_the_clip(encoding: Encoding, honest: Update, change: FloatArray, clients: int) -> list[int]:
    """Encode an update whose slots do not keep to one client's range, but to that of the sum of `clients`.

    The slots of the sum stay legal, so that no check of the opened sum can notice: others send values in the middle of
    their range, and what they leave free the attacker takes. A slot of the plaintext may so be negative; as Paillier
    adds modulo n, it need not be legal by itself.

    Args:
        honest: an honest update, for all weights that `change` leaves alone.
        change: what the sum shall be moved by, shape (values,).

    Returns:
        Plaintexts, to be added to the others'; they may be negative (modulo n they are not).
    """
    room = ROOM_USED * clients * encoding.offset
    wanted = np.rint(np.clip(np.ldexp(change, encoding.fraction_bits), -room, room)).astype(np.int64)
    return add_to_slots(encoding, encoding.encode(honest), wanted)


def as_far_as_proven(encoding: Encoding, honest: Update, change: FloatArray) -> list[int]:
    """Encode an update whose changes are the largest that a proof of ranges lets through: 3 % above an honest clip.

    Args: as of `beyond_the_clip`.
    """
    slots, most = encoding.slots_of(honest), PROVEN_CHANGE - 1
    wanted = np.clip(np.rint(np.ldexp(honest.delta + change, encoding.fraction_bits)), -most, most)
    slots[encoding.leading_slots :] = wanted.astype(np.int64) + encoding.offset
    return encoding.pack(slots)


def add_to_slots(encoding: Encoding, plaintexts: Sequence[int], values: IntArray) -> list[int]:
    """Add whole numbers of any sign to the weights' slots of packed plaintexts; `values` has shape (values,)."""
    per_row = encoding.slots_per_plaintext - 1
    changed = list(plaintexts)
    for place in np.flatnonzero(values).tolist():
        row, slot = divmod(place + encoding.leading_slots, per_row)
        changed[row] += int(values[place]) << (encoding.slot_bits * (slot + 1))
    return changed
