"""Shares of a key, how they are dealt, and the powers and logarithms that opening takes."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from itertools import combinations

import gmpy2
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from opened_sums import BITS, ENCRYPTING, SCHEMES, SIZES, case, dealt, total_of
from refusals import refused_with

from core.errors import Reason, Refused, SettingsError
from core.secagg import kernel
from core.secagg.factory import payload_bytes
from core.secagg.key_share import KeyShare
from core.secagg.logarithm import exponential, logarithm
from core.secagg.opening import combine, partial_bytes, verify_opened
from core.secagg.powers import _window, in_threads, powers, product_of_powers, secret_powers
from core.secagg.scheme import PublicKey
from core.secagg.sharing import coefficients, mask_limit, share_bits
from registrar.dealing import deal, draw_polynomial, evaluate

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


@pytest.mark.parametrize(("count", "lanes", "fewest"), [(99, 8, 3), (2400, 8, 3), (99, 0, 5), (2400, 0, 7)])
def test_their_digits_are_as_long_as_saves_most_multiplications(count, lanes, fewest):
    """99 numbers in 8 lanes with digits of 3 bits: 6 powers in 13 rows, and 30 digits in 4 rows of 99: 474."""
    assert _window(count, 90, lanes) == fewest
