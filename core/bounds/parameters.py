"""Which numbers of an update are proven to lie where, and how strong the proof is: all of it follows from the encoding.

Nothing of this travels. A proof made with other parameters has another length, or its hashes do not fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import SettingsError
from core.secagg.encoding import METRIC_SLOTS, PROVEN_CHANGE, Encoding

MOST_VALUES = 250_000
"""Weights in one proof; of more, random projections leave their interval so often that no proof is ever finished."""
VALUE_BITS = 16
NORM_BITS = 44
BLOCK = 9000
"""Weights that are projected together: a projection then stays 10.8 standard deviations inside its interval."""
LINK_BITS = 90
"""Of all links together: with so many, ciphertexts that hold other numbers pass with at most 2^-90."""
LONGEST_MASKED = 54
"""Bits of all answers' sizes together, of 55: in half of all attempts at the most, one would show something."""
COPIES = 2
"""Of the final equation: a wrong one holds by chance with PRIME^-1 in each."""
COMBINATIONS = 3
"""Of all rows, against columns that are none of polynomials: together one combination with numbers of 168 bits."""


@dataclass(frozen=True)
class Difference:
    """A rule about the metrics: constant + the sum of coefficient * metric is a number of `bits` bits, at least 0."""

    coefficients: tuple[int, ...]
    constant: int
    bits: int

    def of(self, metrics: tuple[int, ...]) -> int:
        """Return the number for some metrics."""
        return self.constant + sum(a * b for a, b in zip(self.coefficients, metrics, strict=True))


@dataclass(frozen=True)
class Strength:
    """How long polynomials are, how many columns they are evaluated at, and how many of those are opened.

    By the result for the Johnson radius (Ben-Sasson, Carmon, Ishai, Kopparty and Saraf, FOCS 2020), columns that are
    none of polynomials agree with some in less than 7/6 sqrt(length / columns) of all places, and t columns show it
    but with (7/6 sqrt(length / columns))^t: 2^-81.9 or less for each of these.
    """

    length: int
    columns: int
    opened: int


SHORT, MEDIUM, LONG = Strength(128, 4096, 36), Strength(256, 32768, 25), Strength(1024, 65536, 30)
UP_TO = {2_000: SHORT, 20_000: MEDIUM, MOST_VALUES: LONG}
"""The strength by the number of weights: the shortest proof for each."""


@dataclass(frozen=True)
class Parameters:
    """What one proof is about.

    Attributes:
        values: weights; each has 16 bits and is proven to lie less than PROVEN_CHANGE from the middle.
        leading: slots before the weights.
        metrics: numbers of metric_bits bits in these slots: all of them, or 0, and then these slots are proven to be 0.
        differences: rules about the metrics.
        slot_bits, per_row: width of a slot, and slots of a plaintext without the counter, which is proven to be 1.
        norm: the largest sum of squares of all changes; 0: not proven.
        projections: random sums for each block; a change that is far too large passes each with at most 1/2.
        width: projections lie in [-2^width, 2^width).
        count_cap: 0, or the largest count, which is the last metric; each change in a slot is then proven to be one of
            16 bits times this client's own count.
        links, link_bits: independent random combinations of the plaintexts, and the length of their numbers.
    """

    values: int
    slot_bits: int
    per_row: int
    leading: int
    metrics: int
    metric_bits: int = VALUE_BITS
    count_cap: int = 0
    differences: tuple[Difference, ...] = ()
    norm: int = 0
    strength: Strength = MEDIUM
    projections: int = 90
    width: int = 25
    links: int = 5
    link_bits: int = 18

    @property
    def data(self) -> int:
        """Numbers in a row; the rest of its values are random."""
        return self.strength.length - self.strength.opened

    @property
    def plaintexts(self) -> int:
        """Ciphertexts of an update."""
        return -(-(self.values + self.leading) // self.per_row)

    @property
    def bound(self) -> int:
        """What the square of a change and of its partner a, and a itself, add up to at most, before the rest r."""
        return PROVEN_CHANGE**2 - (1 << (self.width + 1))

    @property
    def offset(self) -> int:
        """What is added to a change, times the count if there is one, so that it is not negative."""
        return max(self.count_cap, 1) << (VALUE_BITS - 1)

    @property
    def counted(self) -> int:
        """How many changes are multiplied by a count: all, or none."""
        return self.values if self.count_cap else 0

    @property
    def mask_bits(self) -> int:
        """Length of the numbers that hide a random combination of the update."""
        return 55

    @property
    def least_answer(self) -> int:
        """The smallest masked combination that may be sent: no combination alone is as large."""
        return self.plaintexts << (self.link_bits + self.metric_bits)

    @property
    def blocks(self) -> list[slice]:
        """Return which weights are projected together."""
        each = -(-self.values // -(-self.values // BLOCK))
        return [slice(start, min(start + each, self.values)) for start in range(0, self.values, each)]

    @property
    def projected(self) -> int:
        """How many projections there are in all blocks."""
        return self.projections * len(self.blocks)

    @property
    def all_metric_bits(self) -> int:
        """Bits of the metrics and of their differences."""
        return self.metric_bits * self.metrics + sum(rule.bits for rule in self.differences)

    @property
    def projection_bits(self) -> int:
        """Bits of all projections."""
        return self.projected * (self.width + 1)

    @property
    def norm_bits(self) -> int:
        """Bits of what is missing to the largest norm."""
        return NORM_BITS if self.norm else 0

    @property
    def first_parts(self) -> dict[str, int]:
        """The numbers that are committed to before any challenge: name and count."""
        masks = self.links * self.per_row
        return {
            "changes": self.values,
            "partners": self.values,
            "masks": masks,
            "metrics": self.all_metric_bits,
            "products": self.counted,
            "count": min(self.counted, 1),
        }

    @property
    def second_parts(self) -> dict[str, int]:
        """The numbers that are committed to after the first challenge."""
        return {"projections": self.projection_bits, "norm": self.norm_bits}

    @property
    def first_rows(self) -> int:
        """Rows of the first commitment."""
        return -(-sum(self.first_parts.values()) // self.data)

    @property
    def second_rows(self) -> int:
        """Rows of the second commitment, without masks."""
        return -(-sum(self.second_parts.values()) // self.data)

    @property
    def rows(self) -> int:
        """Rows with numbers of the relation."""
        return self.first_rows + self.second_rows

    @property
    def all_rows(self) -> int:
        """These, a mask for each combination, and four for each copy of the final equation."""
        return self.rows + COMBINATIONS + 4 * COPIES

    @property
    def equation_length(self) -> int:
        """Coefficients of the final equation's polynomial: a product of three of the rows' length."""
        return 3 * self.strength.length - 2


def parameters_for(encoding: Encoding, *, metrics: bool = True, norm: int = 0) -> Parameters:
    """Return what is proven of the updates of an encoding.

    Args:
        metrics: without them their slots are proven to be 0, as they are in rounds with privacy.
        norm: the largest sum of squares of all changes, in steps; 0 for no such bound.

    Raises SettingsError for an encoding that there is no proof for.
    """
    if encoding.value_bits != VALUE_BITS:
        raise SettingsError(
            f"there is no proof of ranges for values of {encoding.value_bits} bits; it takes {VALUE_BITS} bits"
        )
    if encoding.values > MOST_VALUES:
        raise SettingsError(f"there is no proof of ranges for {encoding.values} weights; at most {MOST_VALUES} fit one")
    if encoding.count_cap and not metrics:
        raise SettingsError(f"there is no proof of ranges with a count cap of {encoding.count_cap} and without metrics")
    if (norm and encoding.values * PROVEN_CHANGE**2 + (1 << NORM_BITS) >= 1 << 56) or norm >= 1 << NORM_BITS:
        raise SettingsError(f"a norm bound of {norm} for {encoding.values} weights does not fit the proof's numbers")
    bits = encoding.largest_value.bit_length()
    link_bits = _link_bits(encoding, bits)
    return Parameters(
        values=encoding.values,
        slot_bits=encoding.slot_bits,
        per_row=encoding.slots_per_plaintext - 1,
        leading=encoding.leading_slots,
        metrics=encoding.leading_slots if metrics else 0,
        metric_bits=bits,
        count_cap=encoding.count_cap,
        differences=_rules(encoding, bits) if metrics else (),
        norm=norm,
        strength=next(strength for most, strength in UP_TO.items() if encoding.values <= most),
        links=-(-LINK_BITS // link_bits),
        link_bits=link_bits,
    )


def _link_bits(encoding: Encoding, bits: int) -> int:
    """Return the length of each link's numbers: the longest with which few attempts have to be thrown away."""
    for link_bits in range(LINK_BITS // 5, 1, -1):
        answers = -(-LINK_BITS // link_bits) * (encoding.slots_per_plaintext - 1)
        if (answers * encoding.plaintexts).bit_length() + link_bits + bits <= LONGEST_MASKED:
            return link_bits
    raise SettingsError(
        f"there is no proof of ranges for {encoding.values} weights and a count cap of {encoding.count_cap}"
    )


def _rules(encoding: Encoding, bits: int) -> tuple[Difference, ...]:
    """Return what is true of an honest client's mean loss, four counts of answers, and count, and checked of their sum.

    The answers fit a slot; without any there is no loss; and the count is at most the cap, and at most the answers.
    Where clients count, slots are wider than the largest loss, which then takes a rule of its own.
    """
    answers, no_count = (1,) * (METRIC_SLOTS - 1), (0,) * (encoding.count_cap > 0)
    fewer = Difference((0, *(-each for each in answers), *no_count), encoding.largest_value, bits)
    loss = Difference((-1, *(encoding.largest_loss * each for each in answers), *no_count), 0, VALUE_BITS + bits)
    if not encoding.count_cap:
        return fewer, loss
    below_cap = Difference((0, *(0 for _ in answers), -1), encoding.count_cap, encoding.count_cap.bit_length())
    small = Difference((-1, *(0 for _ in answers), 0), encoding.largest_loss, VALUE_BITS)
    return fewer, loss, small, below_cap, Difference((0, *answers, -1), 0, bits)
