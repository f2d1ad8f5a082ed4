"""t of n holders open a sum and fewer learn nothing; a wrong answer changes no sum, is named, and whoever looks can check."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from itertools import combinations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused_with

from core.errors import Reason, Refused, SettingsError
from core.secagg import kernel, opening, roots
from core.secagg.encoding import Encoding, Update
from core.secagg.key_share import KeyShare
from core.secagg.logarithm import exponential, logarithm
from core.secagg.opening import OpenedSum, check_partial, combine, partial_bytes, verify_opened, wrong_holders
from core.secagg.paillier import ciphertext_bytes
from core.secagg.plain import PlainDecryptor
from core.secagg.powers import in_threads, powers, product_of_powers, secret_powers
from core.secagg.roles import adder_for, encryptor_for, payload_bytes
from core.secagg.scheme import PublicKey, join_payload
from core.secagg.sharing import coefficients, mask_limit, share_bits
from registrar.dealing import DealtKey, deal, draw_polynomial, evaluate

BITS = 272  # small, for speed: these tests check arithmetic, not secrecy
SCHEMES = ["paillier", "damgard-jurik", "plain"]
ENCRYPTING = SCHEMES[:2]
SIZES = [(1, 1), (2, 2), (1, 3), (2, 3), (3, 5)]


@cache
def dealt(scheme: str, threshold: int, holders: int) -> DealtKey:
    return deal(scheme, BITS, threshold, holders)


def total_of(key: PublicKey, rows: list[list[int]]) -> bytes:
    encryptor, adder = encryptor_for(key, len(rows[0])), adder_for(key, len(rows[0]))
    for row in rows:
        adder.add(encryptor.encrypt(row))
    return adder.payload()


@dataclasses.dataclass(frozen=True)
class Case:
    """A sum of three ciphertexts, 8, 0 and 111, and everything about it."""

    key: PublicKey
    threshold: int
    holders: int
    total: bytes
    partials: Mapping[int, bytes]

    def combine(self, partials: Mapping[int, bytes]) -> OpenedSum:
        return combine(self.key, self.threshold, self.holders, self.total, partials)

    def wrong(self, partials: Mapping[int, bytes], opened: OpenedSum) -> set[int]:
        return set(wrong_holders(self.key, self.threshold, self.holders, self.total, partials, opened))

    def verify(self, opened: OpenedSum) -> None:
        verify_opened(self.key, self.threshold, self.holders, self.total, opened)


@cache
def case(scheme: str, threshold: int, holders: int) -> Case:
    key = dealt(scheme, threshold, holders)
    total = total_of(key.public_key, [[5, 0, 1], [3, 0, 110]])
    partials = {share.holder: share.partial(total) for share in key.shares}
    return Case(key.public_key, threshold, holders, total, partials)


def times(case: Case, partial: bytes, factor: int, place: int = 1) -> bytes:
    """Multiply one number of an answer; where nothing is encrypted, add instead."""
    size = case.key.bits // 8
    numbers = [int.from_bytes(partial[start : start + size], "big") for start in range(0, len(partial), size)]
    plain = case.key.scheme == "plain"
    numbers[place] = numbers[place] + factor if plain else numbers[place] * factor % case.key.modulus
    return join_payload(numbers, size)


# --- Opening ---


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]} of {size[1]}")
@pytest.mark.parametrize("scheme", SCHEMES)
class TestOpening:
    def test_any_so_many_holders_open_the_sum(self, scheme, size):
        this = case(scheme, *size)
        for chosen in combinations(this.partials, this.threshold):
            opened = this.combine({holder: this.partials[holder] for holder in chosen})
            assert opened.plaintexts == (8, 0, 111)
            this.verify(opened)

    def test_all_of_them_open_it_too_and_nobody_is_wrong(self, scheme, size):
        this = case(scheme, *size)
        opened = this.combine(this.partials)
        assert opened.plaintexts == (8, 0, 111)
        assert this.wrong(this.partials, opened) == set()

    def test_fewer_are_not_asked(self, scheme, size):
        this = case(scheme, *size)
        few = dict(list(this.partials.items())[: this.threshold - 1])
        with pytest.raises(ValueError, match=f"expected {this.threshold} or more of {this.holders}"):
            this.combine(few)

    def test_a_sum_of_packed_updates_opens_to_the_integers_of_the_plain_twin(self, scheme, size):
        key = dealt(scheme, *size)
        encoding = Encoding(values=30, plaintext_bits=key.public_key.plaintext_bits, max_cohort=3)
        rng = np.random.default_rng(1)
        updates = [Update(rng.normal(size=30), examples=9, loss=1.5, correct=3) for _ in range(3)]
        rows = [encoding.encode(update) for update in updates]
        twin = PublicKey("plain", key.public_key.degree * BITS)
        integers = PlainDecryptor(twin.bits).decrypt(total_of(twin, rows))
        total = total_of(key.public_key, rows)
        partials = {share.holder: share.partial(total) for share in key.shares[-size[0] :]}
        opened = combine(key.public_key, *size, total, partials)
        assert list(opened.plaintexts) == integers
        assert encoding.decode(opened.plaintexts, 3).examples == 27


@settings(max_examples=20, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_any_sum_opens_exactly(scheme, data):
    key = dealt(scheme, 2, 3)
    whole = st.integers(0, (1 << key.public_key.plaintext_bits) - 1)
    rows = data.draw(st.lists(st.lists(whole, min_size=2, max_size=2), min_size=1, max_size=3))
    total = total_of(key.public_key, rows)
    opened = combine(key.public_key, 2, 3, total, {share.holder: share.partial(total) for share in key.shares[1:]})
    assert list(opened.plaintexts) == [sum(column) for column in zip(*rows, strict=True)]
    verify_opened(key.public_key, 2, 3, total, opened)


@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_numbers_that_one_can_check_by_hand(scheme):
    # n = 7 * 11 = 77, lambda = 30. 2 of 2 holders: Delta = 2, E = 8. Paillier: D = 1 / 77 mod 30 = 23.
    key = PublicKey(scheme, 7, 77)
    degree = key.degree
    secret = pow(77**degree, -1, 30)
    assert secret == {1: 23, 2: 19}[degree]
    shares = {1: 2 * secret + 5, 2: 2 * secret + 10}  # f(x) = Delta D + 5 x
    c = pow(78, 40, 77 ** (degree + 1)) * pow(3, 77**degree, 77 ** (degree + 1)) % 77 ** (degree + 1)
    assert pow(c, secret, 77) == 3
    answers = {holder: [mpz(pow(c, 2 * share, 77))] for holder, share in shares.items()}
    root = roots.roots_from(key, 2, answers)
    assert root == [3**8 % 77]
    assert roots.open_with(key, 2, [mpz(c)], root) == [40]
    assert roots.agree(key, 2, [mpz(c)], [40], root)


# --- Answers that are wrong ---


class TestWrongAnswers:
    @pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 3), (3, 5)])
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_so_many_of_whom_one_is_wrong_open_nothing(self, scheme, size):
        this = case(scheme, *size)
        for liar in range(1, this.threshold + 1):
            partials = {holder: this.partials[holder] for holder in range(1, this.threshold + 1)}
            partials[liar] = times(this, partials[liar], 2)
            names = ", ".join(map(str, partials))
            with refused_with(Reason.WRONG_SHARE, f"holders {names} do not open the sum: at least one"):
                this.combine(partials)

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("size", [(1, 3), (2, 3), (3, 5)])
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_with_one_more_the_sum_opens_and_the_wrong_one_is_named(self, scheme, size, place):
        this = case(scheme, *size)
        for liar in this.partials:
            partials = {**this.partials, liar: times(this, this.partials[liar], 2, place)}
            opened = this.combine(partials)
            assert opened.plaintexts == (8, 0, 111)
            assert this.wrong(partials, opened) == {liar}

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_two_wrong_ones_of_five_are_named(self, scheme):
        this = case(scheme, 3, 5)
        for liars in combinations(this.partials, 2):
            partials = {**this.partials, **{liar: times(this, this.partials[liar], 2 + liar) for liar in liars}}
            opened = this.combine(partials)
            assert opened.plaintexts == (8, 0, 111)
            assert this.wrong(partials, opened) == set(liars)

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_three_wrong_ones_of_five_leave_too_few(self, scheme):
        this = case(scheme, 3, 5)
        partials = {**this.partials, **{liar: times(this, this.partials[liar], 2 + liar) for liar in (1, 2, 4)}}
        with pytest.raises(Refused, match="no 3 of them fit together"):
            this.combine(partials)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_wrong_ones_who_make_up_for_each_other_hide_but_frame_nobody_and_change_nothing(self, scheme):
        this = case(scheme, 3, 5)
        # With holder 3 as the third, Delta l_1 = 120 * 2*3 / (1*2) = 360 and Delta l_2 = 120 * 1*3 / (-1*1) = -360.
        assert coefficients([1, 2, 3], 5) == {1: 360, 2: -360, 3: 120}
        partials = {**this.partials, **{liar: times(this, this.partials[liar], 2) for liar in (1, 2)}}
        opened = this.combine(partials)
        assert opened.plaintexts == (8, 0, 111)
        assert this.wrong(partials, opened) == set()
        apart = {holder: partials[holder] for holder in (1, 2, 4, 5)}
        with pytest.raises(Refused):
            this.combine(apart)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_a_sign_that_vanishes_in_the_root_does_no_harm(self, scheme):
        this = case(scheme, 2, 2)  # Delta l_1 = 4 is even
        opened = this.combine({**this.partials, 1: times(this, this.partials[1], -1)})
        assert opened == this.combine(this.partials)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_whatever_passes_the_quick_trial_of_all_choices_is_checked_exactly(self, scheme, monkeypatch):
        this = case(scheme, 2, 3)
        partials = {**this.partials, 1: times(this, this.partials[1], 2)}
        monkeypatch.setattr(roots, "_draw_weights", lambda count: [0] * count)  # a trial that everything passes
        assert this.combine(partials).plaintexts == (8, 0, 111)

    def test_choices_that_do_not_fit_are_sorted_out_by_one_trial_each(self, monkeypatch):
        this = case("paillier", 3, 5)  # of ten choices of three, six have holder 1
        opened = []
        monkeypatch.setattr(opening, "open_with", lambda *a: opened.append(a) or roots.open_with(*a))
        this.combine({**this.partials, 1: times(this, this.partials[1], 2)})
        assert len(opened) == 1

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_an_answer_for_another_sum_is_wrong(self, scheme):
        this = case(scheme, 2, 3)
        other = total_of(this.key, [[1, 2, 3]])
        answer = dealt(scheme, 2, 3).shares[0].partial(other)
        with pytest.raises(Refused, match="holders 1, 2 do not"):
            this.combine({1: answer, 2: this.partials[2]})

    @pytest.mark.parametrize("holder", [0, 4])
    def test_holders_that_there_are_not_have_no_answers(self, holder):
        this = case("paillier", 2, 3)
        with pytest.raises(ValueError, match="or more of 3"):
            this.combine({1: this.partials[1], holder: this.partials[2]})


def malformed(key: PublicKey, partial: bytes) -> dict[str, tuple[bytes, Reason]]:
    size = key.bits // 8

    def first(number: int) -> bytes:
        return number.to_bytes(size, "big") + partial[size:]

    return {
        "short": (partial[:-1], Reason.WRONG_LENGTH),
        "long": (partial + b"\0", Reason.WRONG_LENGTH),
        "one missing": (partial[size:], Reason.WRONG_LENGTH),
        "empty": (b"", Reason.WRONG_LENGTH),
        "zero": (first(0), Reason.WRONG_SHARE),
        "n": (first(key.modulus), Reason.WRONG_SHARE),
        "n + 1": (first(key.modulus + 1), Reason.WRONG_SHARE),
    }


@pytest.mark.parametrize("name", list(malformed(PublicKey("paillier", 256, 77), b"")))
@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_malformed_answers_are_refused_by_name_and_counted_as_wrong(scheme, name):
    this = case(scheme, 2, 3)
    bad, reason = malformed(this.key, this.partials[1])[name]
    for refuses in (lambda: check_partial(this.key, 3, 1, bad), lambda: this.combine({**this.partials, 1: bad})):
        with refused_with(reason, "holder 1's answer"):
            refuses()
    assert this.wrong({**this.partials, 1: bad}, this.combine(this.partials)) == {1}
    check_partial(this.key, 3, 1, this.partials[1])


def test_an_answer_that_shares_a_factor_with_the_key_is_refused():
    key, size = PublicKey("paillier", 16, 223 * 227), 2
    for number in (223, 5 * 227):
        with pytest.raises(Refused, match="shares a factor with n"):
            check_partial(key, 2, 1, join_payload([5, number], size))
    check_partial(key, 2, 1, join_payload([5, 6], size))


@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_what_is_no_sum_under_the_key_is_refused(scheme):
    this = case(scheme, 2, 3)
    size = ciphertext_bytes(this.key)
    for number in (0, this.key.modulus, this.key.modulus ** (this.key.degree + 1) + 1):
        total = join_payload([number], size) + this.total[size:]
        with refused_with(Reason.BAD_CIPHERTEXT):
            combine(this.key, 2, 3, total, this.partials)
        with pytest.raises(Refused):
            verify_opened(this.key, 2, 3, total, this.combine(this.partials))
    with refused_with(Reason.WRONG_LENGTH):
        combine(this.key, 2, 3, this.total[:-1], this.partials)


# --- Checking what others opened ---

FORGERIES: dict[str, Callable[[Case, OpenedSum], OpenedSum]] = {
    "one more": lambda this, o: OpenedSum((9, 0, 111), o.roots),
    "one less": lambda this, o: OpenedSum((8, 0, 110), o.roots),
    "the difference made up for": lambda this, o: OpenedSum((9, 0, 110), o.roots),
    "swapped plaintexts": lambda this, o: OpenedSum((111, 0, 8), o.roots),
    "a plaintext left out": lambda this, o: OpenedSum((8, 0), o.roots),
    "a plaintext too many": lambda this, o: OpenedSum((8, 0, 111, 0), o.roots),
    "a negative plaintext": lambda this, o: OpenedSum((8, -1, 111), o.roots),
}
FORGERIES_OF_ROOTS: dict[str, Callable[[Case, OpenedSum], OpenedSum]] = {
    "a changed root": lambda this, o: OpenedSum(o.plaintexts, (o.roots[0] * 2 % this.key.modulus, *o.roots[1:])),
    "swapped roots": lambda this, o: OpenedSum(o.plaintexts, (o.roots[1], o.roots[0], o.roots[2])),
    "a root left out": lambda this, o: OpenedSum(o.plaintexts, o.roots[:2]),
    "a root of 0": lambda this, o: OpenedSum(o.plaintexts, (0, *o.roots[1:])),
    "a root above n": lambda this, o: OpenedSum(o.plaintexts, (o.roots[0] + this.key.modulus, *o.roots[1:])),
    "n^s more": lambda this, o: OpenedSum((8 + this.key.modulus**this.key.degree, 0, 111), o.roots),
    "n^s less": lambda this, o: OpenedSum((8 - this.key.modulus**this.key.degree, 0, 111), o.roots),
    "p^s more": lambda this, o: OpenedSum((8 + factor_of(this.key) ** this.key.degree, 0, 111), o.roots),
}


def factor_of(key: PublicKey) -> int:
    """Find p as an attacker cannot: with two shares of D, and so a multiple of lambda(n)."""
    shares = {share.holder: share.exponent for share in dealt(key.scheme, 2, 3).shares[:2]}
    coefficient = coefficients(shares, 3)
    secret = sum(coefficient[holder] * share for holder, share in shares.items()) // 36  # Delta squared
    multiple = secret * key.modulus**key.degree - 1
    while multiple % 2 == 0:
        multiple //= 2
    for base in range(2, 50):
        power = pow(base, multiple, key.modulus)
        if 1 < (p := math.gcd(power - 1, key.modulus)) < key.modulus:
            return p
    raise AssertionError("no factor was found")


class TestVerifying:
    @pytest.mark.parametrize("name", list(FORGERIES))
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_changed_plaintexts_are_refused_and_the_true_ones_pass(self, scheme, name):
        this = case(scheme, 2, 3)
        opened = this.combine(this.partials)
        this.verify(opened)
        with refused_with(Reason.WRONG_OPENING, "not opened right"):
            this.verify(FORGERIES[name](this, opened))

    @pytest.mark.parametrize("name", list(FORGERIES_OF_ROOTS))
    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_changed_roots_and_multiples_of_the_modulus_are_refused(self, scheme, name):
        this = case(scheme, 2, 3)
        opened = this.combine(this.partials)
        with pytest.raises(Refused, match="not opened right"):
            this.verify(FORGERIES_OF_ROOTS[name](this, opened))

    def test_a_plain_sum_has_no_roots(self):
        this = case("plain", 2, 3)
        with pytest.raises(Refused, match="expected 0 roots"):
            this.verify(OpenedSum((8, 0, 111), (1, 2, 3)))

    @settings(max_examples=30, deadline=None)
    @given(place=st.integers(0, 2), other=st.integers(0, 2**200))
    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_no_other_plaintext_passes(self, scheme, place, other):
        this = case(scheme, 2, 3)
        opened = this.combine(this.partials)
        plaintexts = list(opened.plaintexts)
        if plaintexts[place] == other:
            return
        plaintexts[place] = other
        with pytest.raises(Refused):
            this.verify(OpenedSum(tuple(plaintexts), opened.roots))

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_the_weights_are_drawn_anew_each_time(self, scheme, monkeypatch):
        drawn = []
        draw = roots._draw_weights
        monkeypatch.setattr(roots, "_draw_weights", lambda count: drawn.append(draw(count)) or drawn[-1])
        this = case(scheme, 2, 3)
        opened = this.combine({holder: this.partials[holder] for holder in (1, 2)})
        this.verify(opened)
        this.verify(opened)
        assert drawn[0] != drawn[1]
        assert max(weight.bit_length() for weights in drawn for weight in weights) > 120


class TestOpenedSumsAsBytes:
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_they_come_back_as_they_were(self, scheme):
        this = case(scheme, 2, 3)
        opened = this.combine(this.partials)
        assert OpenedSum.from_bytes(this.key, 3, opened.to_bytes(this.key)) == opened

    @pytest.mark.parametrize("change", [-1, 1])
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_another_length_is_refused(self, scheme, change):
        this = case(scheme, 2, 3)
        raw = this.combine(this.partials).to_bytes(this.key)
        with refused_with(Reason.WRONG_LENGTH):
            OpenedSum.from_bytes(this.key, 3, raw[:change] if change < 0 else raw + b"\0")

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_numbers_out_of_range_are_refused(self, scheme):
        this = case(scheme, 2, 3)
        opened, key = this.combine(this.partials), this.key
        for plaintext, root in ((key.modulus**key.degree, 1), (8, 0), (8, key.modulus)):
            bad = OpenedSum((plaintext, 0, 111), (root, *opened.roots[1:]))
            with refused_with(Reason.WRONG_OPENING):
                OpenedSum.from_bytes(key, 3, bad.to_bytes(key))

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_printing_one_shows_no_content(self, scheme):
        this = case(scheme, 2, 3)
        assert repr(this.combine(this.partials)) == "OpenedSum(3 plaintexts)"


# --- Sharing ---


class TestSharing:
    def test_coefficients_are_those_of_lagrange_times_delta(self):
        # f(0) = 3 f(1) - 3 f(2) + f(3) for a parabola; Delta = 3! = 6.
        assert coefficients([1, 2, 3], 3) == {1: 18, 2: -18, 3: 6}
        assert coefficients([2], 3) == {2: 6}

    @given(data=st.data())
    def test_any_t_shares_give_delta_times_the_value_at_0(self, data):
        holders = data.draw(st.integers(1, 10))
        threshold = data.draw(st.integers(1, holders))
        polynomial = data.draw(st.lists(st.integers(0, 10**9), min_size=threshold, max_size=threshold))
        chosen = data.draw(st.permutations(range(1, holders + 1)))[:threshold]
        parts = coefficients(chosen, holders)
        total = sum(parts[i] * evaluate(polynomial, i) for i in chosen)
        assert total == math.factorial(holders) * polynomial[0]

    def test_fewer_holders_have_the_same_shares_of_every_other_secret(self):
        """Build the other polynomial: it deals the same to two of five, another secret to all, and could be drawn too."""
        delta, secret, other = math.factorial(5), 2**255 + 12345, 17
        f = draw_polynomial(secret, 256, 3, 5)
        for known in combinations(range(1, 6), 2):
            # h(x) = (other - secret) Delta (a - x)(b - x) / (a b)
            a, b = known
            h = [Fraction((other - secret) * delta * k, a * b) for k in (a * b, -a - b, 1)]
            assert all(coefficient.denominator == 1 for coefficient in h)
            g = [x + int(y) for x, y in zip(f, h, strict=True)]
            assert [evaluate(g, i) for i in known] == [evaluate(f, i) for i in known]
            assert g[0] == delta * other
            assert all(0 <= mask < mask_limit(256, 5) for mask in g[1:])
            # All masks of one secret moved by h are those of the other, but for a part below 2^-128.
            assert sum(abs(coefficient) for coefficient in h[1:]) * 2**128 < mask_limit(256, 5)

    def test_the_masks_hide_for_every_number_of_holders(self):
        for holders in range(1, 11):
            for known in combinations(range(1, holders + 1), holders - 1):
                moved = (math.prod(1 + Fraction(1, i) for i in known) - 1) * math.factorial(holders) * 2**256
                assert moved * 2**128 < mask_limit(256, holders)

    def test_masks_use_their_whole_range_and_never_the_same_number(self):
        masks = [mask for _ in range(40) for mask in draw_polynomial(5, 256, 3, 5)[1:]]
        limit = mask_limit(256, 5)
        assert len(set(masks)) == 80
        assert min(masks) < limit // 4 < limit * 3 // 4 < max(masks)

    @pytest.mark.parametrize("size", SIZES)
    def test_the_largest_share_there_can_be_has_the_bits_that_are_kept_for_it(self, size):
        threshold, holders = size
        largest = [math.factorial(holders) << 256, *[mask_limit(256, holders) - 1] * (threshold - 1)]
        assert evaluate(largest, holders).bit_length() == share_bits(256, threshold, holders)


class TestDealing:
    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_t_shares_hold_the_secret_that_takes_the_noise_out(self, scheme):
        key = dealt(scheme, 2, 3)
        n = key.public_key.modulus
        for chosen in combinations(key.shares, 2):
            parts = coefficients([share.holder for share in chosen], 3)
            delta_squared_secret = sum(parts[share.holder] * share.exponent for share in chosen)
            secret, rest = divmod(delta_squared_secret, 36)
            assert rest == 0
            assert secret.bit_length() <= BITS
            assert pow(pow(12345, n**key.public_key.degree, n), secret, n) == 12345

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_holders_are_numbered_from_one(self, scheme):
        key = dealt(scheme, 3, 5)
        assert [share.holder for share in key.shares] == [1, 2, 3, 4, 5]
        assert {(share.threshold, share.holders, share.public_key) for share in key.shares} == {(3, 5, key.public_key)}

    @pytest.mark.parametrize("size", [(0, 1), (2, 1), (1, 11), (-1, 3), (0, 0)])
    def test_impossible_numbers_of_holders_are_refused(self, size):
        with pytest.raises(SettingsError, match=f"{size[0]} of {size[1]} key holders"):
            deal("plain", BITS, *size)

    def test_the_largest_number_of_holders_opens_too(self):
        key = deal("paillier", 128, 6, 10)
        total = total_of(key.public_key, [[7, 8]])
        partials = {share.holder: share.partial(total) for share in key.shares[:7]}
        partials[1] = partials[2]
        opened = combine(key.public_key, 6, 10, total, partials)
        assert opened.plaintexts == (7, 8)
        assert wrong_holders(key.public_key, 6, 10, total, partials, opened) == {1}

    def test_unknown_schemes_and_sizes_are_refused(self):
        with pytest.raises(SettingsError, match="rot13"):
            deal("rot13", BITS, 2, 3)
        with pytest.raises(SettingsError, match="64 bits"):
            deal("paillier", 64, 2, 3)

    def test_every_key_is_fresh(self):
        one, two = deal("paillier", BITS, 2, 3), deal("paillier", BITS, 2, 3)
        assert one.public_key.modulus != two.public_key.modulus


class TestShares:
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_they_come_back_from_bytes_as_they_were(self, scheme):
        for share in dealt(scheme, 3, 5).shares:
            assert KeyShare.from_bytes(share.to_bytes()) == share

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_their_length_says_nothing_of_the_secret(self, scheme):
        share = dealt(scheme, 2, 3).shares[0]
        small = dataclasses.replace(share, exponent=1)
        assert len(small.to_bytes()) == len(share.to_bytes())
        assert len({len(share.to_bytes()) for share in dealt(scheme, 3, 5).shares}) == 1

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_anything_else_is_refused(self, scheme):
        raw = dealt(scheme, 2, 3).shares[0].to_bytes()
        changed = {place: bytes([*raw[:place], value, *raw[place + 1 :]]) for place, value in [(0, 2), (1, 3), (2, 4)]}
        for bad in [b"", raw[:-1], raw + b"\0", raw[:6], *changed.values(), raw[:2] + b"\0" + raw[3:]]:
            with refused_with(Reason.MALFORMED):
                KeyShare.from_bytes(bad)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_numbers_out_of_range_are_refused(self, scheme):
        share = dealt(scheme, 2, 3).shares[0]
        raw, size = share.to_bytes(), BITS // 8
        for modulus in (share.public_key.modulus - 1, share.public_key.modulus >> 1):
            with pytest.raises(Refused, match="does not fit"):
                KeyShare.from_bytes(raw[:7] + modulus.to_bytes(size, "big") + raw[7 + size :])
        for exponent in (b"\0", b"\xff"):
            with pytest.raises(Refused, match="does not fit"):
                KeyShare.from_bytes(raw[: 7 + size] + exponent * len(raw[7 + size :]))

    @given(raw=st.binary(max_size=200))
    def test_noise_is_refused_and_nothing_worse_happens(self, raw):
        with pytest.raises(Refused):
            KeyShare.from_bytes(b"\1\0\1" + raw)

    def test_impossible_shares_cannot_be_made(self):
        share = dealt("paillier", 2, 3).shares[0]
        for change in ({"holder": 0}, {"holder": 4}, {"threshold": 4}, {"holders": 11}, {"exponent": 0}):
            with pytest.raises(SettingsError):
                dataclasses.replace(share, **change)

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_printing_one_shows_no_content(self, scheme):
        key = dealt(scheme, 2, 3)
        assert repr(key.shares[1]) == f"KeyShare(holder 2, 2 of 3, {BITS} bits)"
        for share in key.shares if scheme != "plain" else ():
            for text in (repr(key), str(share), f"{share}", repr([share])):
                assert str(share.exponent) not in text
                assert str(key.public_key.modulus)[:20] not in text

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_answers_have_the_length_that_is_expected(self, scheme):
        this = case(scheme, 2, 3)
        assert {len(partial) for partial in this.partials.values()} == {partial_bytes(this.key, 3)}
        assert partial_bytes(this.key, 3) == 3 * BITS // 8

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_a_payload_that_is_cut_off_is_refused(self, scheme):
        this = case(scheme, 2, 3)
        with refused_with(Reason.WRONG_LENGTH):
            dealt(scheme, 2, 3).shares[0].partial(this.total[:-1])


# --- Powers ---


@pytest.mark.skipif(not kernel.available(), reason="the kernel is not compiled, or cannot run here")
class TestWithAndWithoutTheKernel:
    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_answers_and_opened_sums_are_the_same_bytes(self, scheme, monkeypatch):
        key = dealt(scheme, 2, 3)
        total = total_of(key.public_key, [list(range(20))])
        results = []
        for switch in ("on", "off"):
            monkeypatch.setenv("GROKFED_KERNEL", switch)
            partials = {share.holder: share.partial(total) for share in key.shares}
            opened = combine(key.public_key, 2, 3, total, partials)
            verify_opened(key.public_key, 2, 3, total, opened)
            results.append((partials, opened))
        assert results[0] == results[1]
        assert results[0][1].plaintexts == tuple(range(20))


@pytest.mark.parametrize("switch", ["on", "off"])
class TestPowers:
    @settings(max_examples=25, deadline=None)
    @given(half=st.integers(1, 2**300), numbers=st.lists(st.integers(0, 2**301), max_size=20), data=st.data())
    def test_they_are_those_of_whole_numbers(self, switch, half, numbers, data):
        modulus, exponent = mpz(2 * half + 1), data.draw(st.integers(1, 2**80))
        numbers = [mpz(number) % modulus for number in numbers]
        expected = [gmpy2.powmod(number, exponent, modulus) for number in numbers]
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GROKFED_KERNEL", switch)
            assert powers(numbers, exponent, modulus) == expected
            assert secret_powers(numbers, exponent, 100, modulus) == expected

    @settings(max_examples=25, deadline=None)
    @given(half=st.integers(1, 2**300), data=st.data())
    def test_their_product_is_that_of_whole_numbers(self, switch, half, data):
        modulus = mpz(2 * half + 1)
        pairs = data.draw(st.lists(st.tuples(st.integers(0, 2**301), st.integers(0, 2**70)), max_size=12))
        numbers, exponents = [mpz(a) % modulus for a, _ in pairs], [b for _, b in pairs]
        expected = mpz(1)
        for number, exponent in zip(numbers, exponents, strict=True):
            expected = expected * gmpy2.powmod(number, exponent, modulus) % modulus
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GROKFED_KERNEL", switch)
            assert product_of_powers(numbers, exponents, modulus) == expected % modulus


@given(count=st.integers(0, 30), threads=st.integers(1, 5), least=st.integers(1, 9))
def test_threads_share_the_work_and_results_keep_their_order(count, threads, least):
    shares = []

    def work(numbers):
        shares.append(len(numbers))
        return [number * number for number in numbers]

    numbers = [mpz(number) for number in range(count)]
    assert in_threads(work, numbers, threads, least) == [number * number for number in numbers]
    assert sum(shares) == count
    assert len(shares) <= max(1, min(threads, -(-count // least)))


class TestLogarithms:
    @given(half=st.integers(1, 2**200), x=st.integers(0), degree=st.sampled_from([1, 2]))
    def test_exponentials_are_powers_and_logarithms_undo_them(self, half, x, degree):
        n = mpz(2 * half + 1)
        power = exponential(x, n, degree)
        assert power == gmpy2.powmod(1 + n, x, n ** (degree + 1))
        assert logarithm(power, n, mpz(1), degree) == x % n**degree


def test_the_answers_of_a_sum_are_shorter_than_the_sum():
    key = PublicKey("paillier", 2048, 1)
    assert (partial_bytes(key, 87), payload_bytes(key, 87)) == (87 * 256, 87 * 512)
