"""The encoding is exact, and what could overflow cannot be made."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused_with

from core.confusion import Confusion
from core.errors import Reason, Refused, SettingsError
from core.federated import next_model
from core.secagg.encoding import GUARD_BITS, METRIC_SLOTS, CohortSum, Encoding, Update


def small_encoding(values: int = 5, max_cohort: int = 4) -> Encoding:
    return Encoding(values=values, plaintext_bits=96, max_cohort=max_cohort)


def update(delta: list[float] | np.ndarray, examples: int = 10, loss: float = 5.0, correct: int = 7) -> Update:
    return Update(np.asarray(delta, dtype=float), examples, loss, correct)


def added(rows: list[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def test_three_clients_sum_exactly_and_their_metrics_too() -> None:
    encoding = small_encoding(values=3)
    clients = [update([1.0, -0.5, 0.0], 10, 5.0, 7), update([0.25, 0.5, 0.0], 30, 30.0, 20), update([-1.0, 1.0, 0.0])]
    cohort = encoding.decode(added([encoding.encode(client) for client in clients]), 3)
    assert cohort.delta_sum.tolist() == [0.25, 1.0, 0.0]
    assert (cohort.contributors, cohort.examples, cohort.correct) == (3, 50, 34)
    assert cohort.mean_loss == pytest.approx((0.5 + 1.0 + 0.5) / 3, abs=2**-12)
    assert cohort.accuracy == pytest.approx(34 / 50)


def test_the_four_counts_of_two_clients_add_up_and_nothing_else_is_sent_of_them() -> None:
    """Client 1 has 6 spam of 10 and found 5; client 2 has no spam, and took 3 of 30 for it."""
    encoding = small_encoding(values=1)
    clients = [Update(np.zeros(1), 10, 5.0, 8, 6, 5), Update(np.zeros(1), 30, 1.0, 27, 0, 0)]
    assert clients[0].confusion == Confusion(5, 1, 1, 3)
    cohort = encoding.decode(added([encoding.encode(client) for client in clients]), 2)
    assert cohort.confusion == Confusion(5, 1 + 3, 1, 3 + 27)
    assert (cohort.examples, cohort.correct, cohort.positives, cohort.true_positives) == (40, 35, 6, 5)


def test_a_mailbox_beyond_what_a_slot_holds_keeps_its_shares() -> None:
    encoding = small_encoding(values=1)
    huge = Update(np.zeros(1), 1_000_000, 0.0, 800_000, 400_000, 300_000)
    counts = encoding.decode(encoding.encode(huge), 1).confusion
    assert encoding.largest_value - 4 < counts.examples <= encoding.largest_value
    assert (counts.accuracy, counts.precision, counts.false_alarm_rate) == pytest.approx((0.8, 0.75, 1 / 6), abs=1e-4)


def test_slots_have_room_for_the_largest_cohort_and_guard_bits() -> None:
    encoding = Encoding(values=10, plaintext_bits=2016, max_cohort=64)
    assert encoding.slot_bits == 24  # 64 * 65535 < 2^22, and two guard bits
    assert 64 * encoding.largest_value < 2 ** (encoding.slot_bits - GUARD_BITS)
    assert encoding.slots_per_plaintext == 84


@pytest.mark.parametrize("extreme", [1e9, -1e9])
def test_the_largest_cohort_of_the_largest_values_does_not_overflow(extreme: float) -> None:
    encoding = Encoding(values=7, plaintext_bits=200, max_cohort=64)
    row = encoding.encode(update([extreme] * 7, examples=10**9, loss=1e12, correct=10**9))
    cohort = encoding.decode([64 * plaintext for plaintext in row], 64)
    clipped = encoding.clip if extreme > 0 else -encoding.clip
    assert cohort.delta_sum.tolist() == [64 * clipped] * 7
    assert cohort.accuracy == 1.0


def test_values_are_clipped_and_rounded_to_the_nearest_step() -> None:
    encoding = small_encoding()
    step = 2.0**-13
    quantised = encoding.quantise(np.array([0.6 * step, -0.6 * step, 0.4 * step, 100.0, -100.0]))
    assert quantised.tolist() == [1, -1, 0, 31726, -31726]  # what is proven is a little more


def test_an_all_zero_update_of_one_client_decodes_to_zero() -> None:
    encoding = small_encoding()
    cohort = encoding.decode(encoding.encode(update([0.0] * 5, 0, 0.0, 0)), 1)
    assert not cohort.delta_sum.any()
    assert (cohort.examples, cohort.accuracy, cohort.mean_loss) == (0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 70), st.integers(2, 20), st.integers(100, 700), st.integers(0, 2**32 - 1))
def test_any_packing_gives_back_the_integer_sum(
    values: int, cohort: int, bits: int, plaintext_bits: int, seed: int
) -> None:
    try:
        encoding = Encoding(values, plaintext_bits, cohort, bits, fraction_bits=0)
    except SettingsError:
        return
    rng = np.random.default_rng(seed)
    slots = [rng.integers(0, encoding.largest_value + 1, METRIC_SLOTS + values) for _ in range(cohort)]
    for row in slots:
        row[2:METRIC_SLOTS] = 0  # the four counts together are at most what one slot can hold
        row[1] = max(row[1], 1)  # only who has examples reports a loss
    total = encoding.unpack(added([encoding.pack(row) for row in slots]), cohort)
    assert total.tolist() == np.sum(slots, axis=0).tolist()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-8, 8, allow_nan=False), min_size=5, max_size=5))
def test_one_update_comes_back_within_half_a_step(delta: list[float]) -> None:
    encoding = small_encoding()
    decoded = encoding.decode(encoding.encode(update(delta)), 1).delta_sum
    expected = np.clip(delta, -encoding.clip, encoding.clip)
    assert np.abs(decoded - expected).max() <= 2.0**-14


def test_number_of_plaintexts_depends_on_settings_only() -> None:
    encoding = small_encoding()
    busy, idle = update(np.linspace(-4, 4, 5)), update([0.0] * 5)
    assert len(encoding.encode(busy)) == len(encoding.encode(idle)) == encoding.plaintexts


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"values": 0}, "0 weights"),
        ({"values": 1 << 40}, "cannot be encoded"),
        ({"max_cohort": 0}, "largest cohort is 0"),
        ({"value_bits": 1}, "value_bits is 1"),
        ({"value_bits": 25}, "value_bits is 25"),
        ({"fraction_bits": -1}, "fraction_bits is -1"),
        ({"plaintext_bits": 39}, "fewer than two slots"),
        ({"max_cohort": 2**40}, "at most 52"),
    ],
)
def test_settings_under_which_a_sum_could_overflow_cannot_be_made(wrong: dict[str, int], word: str) -> None:
    with pytest.raises(SettingsError, match=word):
        Encoding(**{"values": 5, "plaintext_bits": 96, "max_cohort": 4} | wrong)


@pytest.mark.parametrize(
    "bad",
    [
        update([0.0] * 4),
        update([float("nan")] * 5),
        update([0.0] * 5, correct=11),
        update([0.0] * 5, loss=float("inf")),
        Update(np.zeros(5), 10, 5.0, correct=7, positives=11, true_positives=0),
        Update(np.zeros(5), 10, 5.0, correct=7, positives=5, true_positives=6),
        Update(np.zeros(5), 10, 5.0, correct=7, positives=9, true_positives=8),
        Update(np.zeros(5), 10, 5.0, correct=9, positives=5, true_positives=3),
        Update(np.zeros(5), 10, 5.0, correct=7, positives=5, true_positives=-1),
    ],
    ids=[
        *("shape", "nan", "more correct than examples", "loss", "more positives than examples"),
        *("more found than there are", "more found than correct", "more right negatives than negatives", "below 0"),
    ],
)
def test_impossible_updates_are_not_encoded(bad: Update) -> None:
    with pytest.raises(ValueError, match="shape|finite|impossible"):
        small_encoding().encode(bad)


class TestSumsThatNoHonestCohortGives:
    """Every check of a decoded sum refuses; the same sum untouched passes (first test above)."""

    encoding = small_encoding()

    def honest(self) -> list[int]:
        row = self.encoding.encode(update([0.5] * 5))
        return added([row, row])

    def refused(self, plaintexts: list[int], contributors: int, word: str) -> None:
        with refused_with(Reason.BAD_SUM, word):
            self.encoding.decode(plaintexts, contributors)

    def test_the_honest_sum_passes(self) -> None:
        assert self.encoding.decode(self.honest(), 2).delta_sum.tolist() == [1.0] * 5

    def test_one_update_counted_twice(self) -> None:
        self.refused(self.honest(), 1, "counter says 2")

    def test_one_ciphertext_left_out_of_one_update(self) -> None:
        row = self.encoding.encode(update([0.5] * 5))
        self.refused([2 * row[0], *row[1:]], 2, "counter says 1")

    def test_a_slot_beyond_what_the_cohort_can_reach(self) -> None:
        sums = self.honest()
        sums[0] += 2 * self.encoding.largest_value << self.encoding.slot_bits
        self.refused(sums, 2, "larger than 2 updates")

    def test_more_answers_than_the_cohort_can_count(self) -> None:
        """Each of two slots is possible; together they are not."""
        sums = self.encoding.encode(update([0.5] * 5, examples=1, correct=1))
        full = self.encoding.largest_value << (2 * self.encoding.slot_bits)
        self.encoding.decode([sums[0] + full - (1 << (2 * self.encoding.slot_bits)), *sums[1:]], 1)
        self.refused([sums[0] + full, *sums[1:]], 1, "more answers than 1 updates")

    def test_a_loss_of_clients_without_examples(self) -> None:
        sums = self.encoding.encode(update([0.5] * 5, examples=0, loss=0.0, correct=0))
        self.encoding.decode(sums, 1)
        sums[0] += 1 << self.encoding.slot_bits
        self.refused(sums, 1, "loss is larger than 0 clients with examples")

    def test_an_unused_slot_that_is_not_zero(self) -> None:
        encoding = Encoding(values=3, plaintext_bits=96, max_cohort=4)  # 5 + 3 slots in three rows of 3
        sums = encoding.encode(update([0.0] * 3))
        sums[-1] += 1 << (3 * encoding.slot_bits)
        with pytest.raises(Refused, match="no update uses"):
            encoding.decode(sums, 1)

    def test_bits_above_the_slots(self) -> None:
        sums = self.honest()
        sums[-1] += 1 << 95
        self.refused(sums, 2, "longer than")

    def test_too_few_plaintexts(self) -> None:
        self.refused(self.honest()[:-1], 2, "plaintexts")

    @pytest.mark.parametrize("contributors", [0, 5])
    def test_more_contributors_than_the_slots_are_made_for(self, contributors: int) -> None:
        self.refused(self.honest(), contributors, "1 to 4 are possible")


class TestCountingByExamples:
    """Three clients with 1, 3 and 9 examples, of which at most 4 count: shares 1/4, 3/4 and 1."""

    ENCODING = Encoding(values=2, plaintext_bits=200, max_cohort=4, fraction_bits=8, count_cap=4)

    def sum_of(self, updates: list[Update]) -> CohortSum:
        plaintexts = [self.ENCODING.encode(update) for update in updates]
        return self.ENCODING.decode([sum(column) for column in zip(*plaintexts, strict=True)], len(updates))

    def update(self, delta: list[float], examples: int) -> Update:
        return Update(np.array(delta), examples, loss=0.0, correct=0)

    def test_the_mean_counts_each_client_by_its_examples_up_to_the_cap(self):
        found = self.sum_of([self.update([8, 0], 1), self.update([0, 8], 3), self.update([4, 4], 9)])
        assert found.count == 0.25 + 0.75 + 1
        assert found.delta_sum.tolist() == [2 + 4, 6 + 4]
        assert next_model(np.array([1.0, 1.0]), found).tolist() == [1 + 6 / 2, 1 + 10 / 2]
        assert found.examples == 13

    def test_a_client_without_examples_does_not_count(self):
        found = self.sum_of([self.update([8, 8], 0), self.update([1, 2], 4)])
        assert next_model(np.zeros(2), found).tolist() == [1, 2]

    def test_a_cohort_without_examples_has_no_mean_and_gives_no_model(self):
        found = self.sum_of([self.update([8, 8], 0)] * 2)
        with pytest.raises(Refused, match="none of its 2 clients has an example to count by"):
            next_model(np.array([5.0, 6.0]), found)

    def test_a_client_with_one_example_of_a_thousand_loses_nothing_to_rounding(self):
        """0.01 / 1000 is a twelfth of the step of a 16-bit value, and would vanish."""
        encoding = Encoding(values=2, plaintext_bits=200, max_cohort=4, count_cap=1000)
        one = encoding.decode(encoding.encode(self.update([0.01, -0.01], 1)), 1)
        full = encoding.decode(encoding.encode(self.update([0.01, -0.01], 1000)), 1)
        assert next_model(np.zeros(2), one).tolist() == pytest.approx([0.01, -0.01], abs=2.0**-14)
        assert next_model(np.zeros(2), one) == pytest.approx(next_model(np.zeros(2), full), rel=1e-12)

    @pytest.mark.parametrize("extreme", [1e9, -1e9])
    def test_the_largest_cohort_of_full_counts_does_not_overflow(self, extreme):
        encoding = Encoding(values=2, plaintext_bits=200, max_cohort=64, count_cap=1000)
        row = encoding.encode(Update(np.array([extreme] * 2), 10**9, loss=1e12, correct=10**9))
        found = encoding.decode([64 * plaintext for plaintext in row], 64)
        clipped = encoding.clip if extreme > 0 else -encoding.clip
        assert next_model(np.zeros(2), found).tolist() == [clipped] * 2

    def test_a_change_that_is_not_finite_is_refused_however_clients_count(self):
        for bad in (np.inf, -np.inf, np.nan):
            with pytest.raises(ValueError, match="not finite"):
                self.ENCODING.encode(self.update([bad, 0], 4))

    def test_a_change_is_clipped_before_it_is_counted(self):
        found = self.sum_of([self.update([1e6, -1e6], 1), self.update([0, 0], 3)])
        assert found.delta_sum.tolist() == [30.982421875, -30.982421875]  # a quarter of 31,726 / 2^8

    def test_the_count_has_a_slot_of_its_own_and_is_checked(self):
        alike = Encoding(values=2, plaintext_bits=200, max_cohort=4, fraction_bits=8)
        assert self.ENCODING.leading_slots == alike.leading_slots + 1
        honest = self.ENCODING.encode(self.update([0, 0], 4))
        place = METRIC_SLOTS + 1  # after the counter
        too_many = [plaintext + (1 << (place * self.ENCODING.slot_bits)) for plaintext in honest[:1]] + honest[1:]
        self.ENCODING.unpack(honest, 1)
        with pytest.raises(Refused, match="count more than 1 times 4 examples"):
            self.ENCODING.unpack(too_many, 1)

    def test_a_client_that_changes_much_and_says_it_has_few_examples_is_refused(self):
        """Its change of 100 at a count of 4, sent with a count of 0, and an honest client with 1 example: a mean of 101.

        An honest sum reaches the clip of 128 and no more.
        """
        liar, honest = self.update([100, 0], 4), self.update([1, 0], 1)
        assert next_model(np.zeros(2), self.sum_of([liar, honest])).tolist() == [(4 * 100 + 1) / 5, 0]
        lie = self.ENCODING.encode(liar)
        lie[0] -= 4 << (METRIC_SLOTS + 1) * self.ENCODING.slot_bits  # the count's slot is after counter and metrics
        with refused_with(Reason.BAD_SUM, "more than the clip times the clients' count of 1 example"):
            self.ENCODING.decode(added([lie, self.ENCODING.encode(honest)]), 2)

    @pytest.mark.parametrize("extreme", [-31_726 / 256, 31_726 / 256])
    def test_changes_of_exactly_the_clip_pass_at_every_count(self, extreme):
        for examples in (1, 3, 4, 9):
            found = self.sum_of([self.update([extreme, 0], examples)] * 3)
            assert next_model(np.zeros(2), found)[0] == pytest.approx(extreme, abs=2.0**-8)

    def test_one_step_beyond_the_clip_is_refused(self):
        """-32,766 steps at a count of 1 is the least that is proven of a client; honest ones stop at -31,726."""
        row, step = self.ENCODING.encode(self.update([-128.0, 0], 1)), 1 << (METRIC_SLOTS + 2) * self.ENCODING.slot_bits
        row[0] -= (32_766 - 31_726) * step
        self.ENCODING.decode(row, 1)
        row[0] -= step
        with refused_with(Reason.BAD_SUM, "a weight changed by more"):
            self.ENCODING.decode(row, 1)

    def test_a_count_of_more_examples_than_were_answered_is_refused(self):
        row = self.ENCODING.encode(self.update([0, 0], 3))
        row[0] += 1 << (METRIC_SLOTS + 1) * self.ENCODING.slot_bits
        with refused_with(Reason.BAD_SUM, "count 4 examples and report answers to 3"):
            self.ENCODING.decode(row, 1)

    def test_a_loss_larger_than_the_clients_can_report_is_refused_however_wide_the_slots(self):
        """The largest mean loss of a client is 65535/4096, just below 16; two report it, and one step more."""
        row = self.ENCODING.encode(Update(np.zeros(2), 3, loss=1e9, correct=0))
        sums = added([row, row])
        assert self.ENCODING.decode(sums, 2).mean_loss == 65535 / 4096
        sums[0] += 1 << self.ENCODING.slot_bits
        with refused_with(Reason.BAD_SUM, "loss is larger than 2 clients with examples can report"):
            self.ENCODING.decode(sums, 2)

    @pytest.mark.parametrize("cap", [-1, 65_536])
    def test_a_cap_that_fits_no_slot_is_refused(self, cap):
        with pytest.raises(SettingsError, match=f"count_cap is {cap}"):
            Encoding(values=2, plaintext_bits=200, max_cohort=4, count_cap=cap)
