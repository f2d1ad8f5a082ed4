"""An opened sum can be checked without the shares."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opened_sums import ENCRYPTING, SCHEMES, Case, case, dealt
from refusals import refused_with

from core.errors import Reason, Refused
from core.secagg import roots
from core.secagg.opening import OpenedSum
from core.secagg.scheme import PublicKey
from core.secagg.sharing import coefficients

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
