"""Turn one client's update into packed non-negative integers, and a sum of such integers back into numbers.

One plaintext is a row of slots of equal width, first slot in the lowest bits:

    | counter | v0 | v1 | ... | v(k-2) |          every plaintext has its own counter, which holds 1

Adding plaintexts adds slot by slot, because no slot can overflow: each has room for `max_cohort` times the largest
value and two guard bits besides. The counter of a sum says how many updates are really in it, in every plaintext
separately, so that a ciphertext left out or added twice shows. Before the weights come five slots of sums over the
client's examples: the mean loss, and the four counts of right and wrong answers that the cohort's accuracy, precision
and false-alarm rate are made of; no one sees a single client's. A task without a yes/no question has negatives only.

Clients count alike, unless `count_cap` is set: then a client with c examples counts n = min(c, count_cap). Its change
is clipped and rounded as usual, and the integer is multiplied by n, so that a client with one example loses no more
to rounding than one with many. Slots are wider by the bits of count_cap for that. n has its own slot, so that the
sum of the changes can be divided by the sum of the counts and no one learns the count of a single client. A client that
sends a large change and a small n would move the mean by more than the clip; so no change of the sum may be larger than
the clip times the sum of the counts, which the sum of honest updates never is.

A change x of a weight is clipped to [-clip, clip], where clip is a little less than 2^(value_bits - 1 - fraction_bits),
rounded to the nearest multiple of 2^-fraction_bits, and stored as that integer plus 2^(value_bits - 1), so that it is
never negative (with a count cap, n times that integer plus count_cap times that offset).
The scale is one and the same for all weights of a task: a scale per number would travel in clear and say which weights
did not change, and so which words a mailbox has (THREAT: "ciphertext exponents").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from core.confusion import Confusion, four_counts
from core.errors import Reason, Refused, SettingsError
from core.update import Update as Update

GUARD_BITS = 2
LARGEST_UPDATE = 1 << 26
"""Weights in one update; a bound on the memory that one party can make another set aside."""
METRIC_SLOTS = 5  # mean loss, and the four counts of right and wrong answers
LOSS_UNIT = 2.0**-12
PROVEN_CHANGE = 32_767
"""Steps; a client proves that each of its changes is smaller (core/bounds)."""
LARGEST_CHANGE = isqrt(PROVEN_CHANGE**2 - (1 << 26))
"""Steps that a change of 16 bits may have: 31,726. What lies between this and PROVEN_CHANGE is the proof's margin."""

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class CohortSum:
    """What is known of a whole cohort: the exact sum of the quantised deltas, shape (values,), and its metrics."""

    contributors: int
    delta_sum: FloatArray
    examples: int
    mean_loss: float
    """Mean over the clients of each client's mean loss."""
    correct: int
    count: float | None = None
    """How many clients' worth the sum is, each counted by its examples; None if all count alike."""
    positives: int = 0
    true_positives: int = 0

    @property
    def confusion(self) -> Confusion:
        """The cohort's answers as four counts."""
        return four_counts(self.examples, self.correct, self.positives, self.true_positives)

    @property
    def divisor(self) -> float:
        """What makes a mean of the sum.

        Raises Refused(BAD_SUM) if clients count by their examples and none had any: a sum of nothing has no mean.
        """
        divisor = self.contributors if self.count is None else self.count
        if not divisor:
            raise _bad_sum(f"none of its {self.contributors} clients has an example to count by, so it has no mean")
        return divisor

    @property
    def accuracy(self) -> float:
        """Share of all the cohort's examples that were predicted right, as they say; 0.0 without examples."""
        return min(self.correct / self.examples, 1.0) if self.examples else 0.0


@dataclass(frozen=True)
class Encoding:
    """How many values there are and how they lie in plaintexts. All parties of a round use the same one.

    Raises SettingsError when made with settings under which a sum could overflow.
    """

    values: int
    plaintext_bits: int
    max_cohort: int = 64
    value_bits: int = 16
    fraction_bits: int = 13
    count_cap: int = 0
    """Clients count by their examples, up to this many; 0: all count alike."""

    def __post_init__(self) -> None:
        if not 1 <= self.values <= LARGEST_UPDATE:
            raise SettingsError(f"an update of {self.values} weights cannot be encoded; 1 to {LARGEST_UPDATE} can")
        if self.max_cohort < 1:
            raise SettingsError(f"the largest cohort is {self.max_cohort}; it must be at least 1")
        if not 2 <= self.value_bits <= 24:
            raise SettingsError(f"value_bits is {self.value_bits}; 2 to 24 are supported")
        if not 0 <= self.fraction_bits < 64:
            raise SettingsError(f"fraction_bits is {self.fraction_bits}; 0 to 63 are supported")
        if not 0 <= self.count_cap < 1 << self.value_bits:
            raise SettingsError(f"count_cap is {self.count_cap}; it must be 0 to {(1 << self.value_bits) - 1}")
        if self.slot_bits > 52:
            counted = f", each times a count of up to {self.count_cap}," if self.count_cap else ""
            raise SettingsError(
                f"{self.value_bits}-bit values of up to {self.max_cohort} clients{counted} need slots of "
                f"{self.slot_bits} bits; at most 52 are supported"
            )
        if self.slots_per_plaintext < 2:
            raise SettingsError(
                f"a plaintext of {self.plaintext_bits} bits holds fewer than two slots of {self.slot_bits} bits; "
                "use a larger key or a smaller largest cohort"
            )

    @property
    def slot_bits(self) -> int:
        """Width of a slot: the largest possible sum, and guard bits that must stay zero."""
        return (self.max_cohort * self.largest_value).bit_length() + GUARD_BITS

    @property
    def largest_count(self) -> int:
        """What a client's integers are multiplied by at most."""
        return max(self.count_cap, 1)

    @property
    def largest_loss(self) -> int:
        """The largest mean loss that one client can report, in units of LOSS_UNIT; the same however clients count."""
        return (1 << self.value_bits) - 1

    @property
    def largest_value(self) -> int:
        """The largest number that one client can put into a slot."""
        return (1 << self.value_bits) * self.largest_count - 1

    @property
    def offset(self) -> int:
        """What is added to a signed integer so that it is never negative."""
        return (1 << (self.value_bits - 1)) * self.largest_count

    @property
    def clip(self) -> float:
        """Largest absolute change of one weight that can be expressed."""
        return float(self.largest_change * 2.0**-self.fraction_bits)

    @property
    def largest_change(self) -> int:
        """The same in steps. Of 16 bits, it is a little less than they hold, so that it can be proven (core/bounds)."""
        return LARGEST_CHANGE if self.value_bits == 16 else 1 << (self.value_bits - 1)

    @property
    def slots_per_plaintext(self) -> int:
        """Number of values that one plaintext has room for."""
        return self.plaintext_bits // self.slot_bits

    @property
    def leading_slots(self) -> int:
        """Slots before the weights: the metrics, and the count if clients count by their examples."""
        return METRIC_SLOTS + (self.count_cap > 0)

    @property
    def plaintexts(self) -> int:
        """Plaintexts in one update; depends on the settings only, never on the data."""
        return -(-(self.values + self.leading_slots) // (self.slots_per_plaintext - 1))

    def encode(self, update: Update) -> list[int]:
        """Clip, quantise and pack one update. Raises as `slots_of`."""
        return self.pack(self.slots_of(update))

    def slots_of(self, update: Update) -> IntArray:
        """Clip and quantise one update.

        Returns:
            The numbers of its slots, shape (leading_slots + values,), without the counters.

        Raises ValueError if the delta has another shape, a value that is not finite, or an impossible metric.
        """
        leading, count = self._metrics(update), 1
        if self.count_cap:
            count = min(int(leading[1:].sum()), self.count_cap)  # no more than the examples it says it has
            leading = np.append(leading, count)
        integers = np.minimum(self._rounded(update.delta) * count, self.offset - 1)
        return np.concatenate([leading, integers + self.offset])

    def slots_of_integers(self, integers: IntArray) -> IntArray:
        """Return the slots of integers, shape (values,), that are scaled (and made noisy) already.

        The sums over examples are 0. Packing raises ValueError for another shape, or a value that does not fit a slot.
        """
        return np.concatenate([np.zeros(self.leading_slots, dtype=np.int64), integers + self.offset])

    def quantise(self, delta: FloatArray) -> IntArray:
        """Return the integers nearest to delta * 2^fraction_bits.

        Shape (values,), as signed integers of value_bits bits.
        """
        return np.minimum(self._rounded(delta), (1 << (self.value_bits - 1)) - 1)

    def _rounded(self, delta: FloatArray) -> IntArray:
        """As `quantise`, but a change of exactly `clip` is one more than the largest signed integer."""
        if delta.shape != (self.values,):
            raise ValueError(f"the delta has shape {delta.shape}; expected ({self.values},)")
        _require_finite(delta)
        return np.rint(np.clip(delta, -self.clip, self.clip) * 2.0**self.fraction_bits).astype(np.int64)

    def decode(self, plaintext_sums: Sequence[int], contributors: int) -> CohortSum:
        """Unpack the sum of `contributors` updates.

        Raises Refused(BAD_SUM) when a counter, a slot or a guard bit cannot come from that number of honest updates.
        """
        return self.cohort_of(self.unpack(plaintext_sums, contributors), contributors)

    def cohort_of(self, slots: IntArray, contributors: int) -> CohortSum:
        """Read the added-up slots of `contributors` updates, as `unpack` returns them. Raises Refused(BAD_SUM)."""
        loss, *counts = (int(slot) for slot in slots[:METRIC_SLOTS])
        answers = Confusion(*counts)
        signed = slots[self.leading_slots :] - contributors * self.offset
        return CohortSum(
            contributors=contributors,
            delta_sum=np.ldexp(signed.astype(np.float64), -self.fraction_bits) / self.largest_count,
            examples=answers.examples,
            mean_loss=loss * LOSS_UNIT / contributors,
            correct=answers.correct,
            count=int(slots[METRIC_SLOTS]) / self.count_cap if self.count_cap else None,
            positives=answers.positives,
            true_positives=answers.true_positives,
        )

    def pack(self, values: IntArray) -> list[int]:
        """Lay slots (counters are added here) into plaintexts. `values` has shape (leading_slots + values,)."""
        if values.shape != (self.leading_slots + self.values,):
            raise ValueError(f"there are {values.shape} slots to pack; expected {self.leading_slots + self.values}")
        self.check_slots(values)
        per_row = self.slots_per_plaintext - 1
        padded = np.zeros(self.plaintexts * per_row, dtype=np.int64)
        padded[: len(values)] = values
        counters = np.ones((self.plaintexts, 1), dtype=np.int64)
        rows = np.hstack([counters, padded.reshape(self.plaintexts, per_row)])
        return [plaintext for some in _batches(len(rows)) for plaintext in self._pack_rows(rows[some])]

    def check_slots(self, values: IntArray) -> None:
        """Raise ValueError unless each number fits the slot of one update."""
        if values.min() < 0 or values.max() > self.largest_value:
            raise ValueError(f"a slot value lies outside 0 to {self.largest_value}")

    def _pack_rows(self, rows: IntArray) -> list[int]:
        shifts = np.arange(self.slot_bits, dtype=np.int64)
        bits = ((rows[:, :, None] >> shifts) & 1).astype(np.uint8).reshape(len(rows), -1)
        return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(bits, axis=1, bitorder="little")]

    def unpack(self, plaintext_sums: Sequence[int], contributors: int) -> IntArray:
        """Check a sum in every way an honest cohort allows and give its slots, without the counters.

        Raises Refused(BAD_SUM).
        """
        if not 1 <= contributors <= self.max_cohort:
            raise _bad_sum(f"a sum of {contributors} updates; 1 to {self.max_cohort} are possible")
        if len(plaintext_sums) != self.plaintexts:
            raise _bad_sum(f"the sum has {len(plaintext_sums)} plaintexts; expected {self.plaintexts}")
        rows = self._slots(plaintext_sums)
        if (rows[:, 0] != contributors).any():
            wrong = int(rows[rows[:, 0] != contributors, 0][0])
            raise _bad_sum(f"a counter says {wrong} updates were added; expected {contributors}")
        slots, used = rows[:, 1:].reshape(-1), self.leading_slots + self.values
        if slots[used:].any():
            raise _bad_sum("a slot that no update uses is not zero")
        self.check_sum(slots[:used], contributors)
        return slots[:used]

    def check_sum(self, slots: IntArray, contributors: int) -> None:
        """Refuse added-up slots, without the counters, that no honest cohort gives: Refused(BAD_SUM)."""
        if slots.max() > contributors * self.largest_value:
            raise _bad_sum(f"a slot is larger than {contributors} updates can make it")
        self._check_metrics(slots, contributors)
        if self.count_cap:
            self._check_count(slots, contributors)

    def _check_metrics(self, slots: IntArray, contributors: int) -> None:
        """Refuse a loss or counts of answers that honest clients cannot report together: Refused(BAD_SUM)."""
        loss, examples = int(slots[0]), int(slots[1:METRIC_SLOTS].sum())
        if examples > contributors * self.largest_value:
            raise _bad_sum(f"there are more answers than {contributors} updates can count")
        with_examples = min(contributors, examples)  # a client without examples reports no loss
        if loss > with_examples * self.largest_loss:
            raise _bad_sum(f"the loss is larger than {with_examples} clients with examples can report")

    def _check_count(self, slots: IntArray, contributors: int) -> None:
        """Refuse a sum of counts that is too large, or too small for the changes: Refused(BAD_SUM).

        A client with count n changes no weight by more than n times what can be proven of a change, and neither do all
        together by more than the sum of their counts.
        """
        count, examples = int(slots[METRIC_SLOTS]), int(slots[1:METRIC_SLOTS].sum())
        if count > contributors * self.count_cap:
            raise _bad_sum(f"the clients count more than {contributors} times {self.count_cap} examples")
        if count > examples:
            raise _bad_sum(f"the clients count {count} examples and report answers to {examples}")
        largest = int(np.abs(slots[self.leading_slots :] - contributors * self.offset).max())
        proven = PROVEN_CHANGE - 1 if self.value_bits == 16 else self.largest_change
        if largest > count * proven:
            raise _bad_sum(f"a weight changed by more than the clip times the clients' count of {count} examples")

    def _slots(self, plaintext_sums: Sequence[int]) -> IntArray:
        used_bits = self.slots_per_plaintext * self.slot_bits
        if any(not 0 <= value < 1 << used_bits for value in plaintext_sums):
            raise _bad_sum(f"a plaintext is longer than its {self.slots_per_plaintext} slots")
        return np.vstack([self._unpack_rows(plaintext_sums[some]) for some in _batches(len(plaintext_sums))])

    def _unpack_rows(self, plaintext_sums: Sequence[int]) -> IntArray:
        used_bits = self.slots_per_plaintext * self.slot_bits
        size = -(-used_bits // 8)
        raw = b"".join(value.to_bytes(size, "little") for value in plaintext_sums)
        octets = np.frombuffer(raw, dtype=np.uint8).reshape(len(plaintext_sums), size)
        bits = np.unpackbits(octets, axis=1, count=used_bits, bitorder="little")
        powers = np.int64(1) << np.arange(self.slot_bits, dtype=np.int64)
        slots: IntArray = bits.reshape(len(plaintext_sums), self.slots_per_plaintext, self.slot_bits) @ powers
        return slots

    def _metrics(self, update: Update) -> IntArray:
        """Return the metric slots, clipped to what a slot can hold; a huge mailbox keeps its shares of answers."""
        counts = np.array(astuple(update.confusion), dtype=object)
        if min(counts) < 0 or not np.isfinite(update.loss) or update.loss < 0:
            raise ValueError(
                f"impossible training sums: {update.examples} examples, {update.correct} correct, "
                f"{update.positives} positive, {update.true_positives} of them found, loss {update.loss}"
            )
        if update.examples > self.largest_value:
            counts = counts * self.largest_value // update.examples
        mean_loss = update.loss / update.examples if update.examples else 0.0
        loss = min(round(mean_loss / LOSS_UNIT), self.largest_loss)
        return np.array([loss, *counts], dtype=np.int64)


def _require_finite(delta: FloatArray) -> None:
    """Raise ValueError; to be asked before clipping, which makes a number of an infinite one."""
    if not np.isfinite(delta).all():
        raise ValueError("the delta has values that are not finite; the training diverged")


def _batches(count: int) -> list[slice]:
    """Some hundred plaintexts at a time: single bits take a byte each on the way."""
    return [slice(start, start + 256) for start in range(0, count, 256)]


def _bad_sum(sentence: str) -> Refused:
    return Refused(Reason.BAD_SUM, f"the opened sum is not that of the cohort: {sentence}")
