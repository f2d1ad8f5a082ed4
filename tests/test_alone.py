"""Powers of one number alone, its limbs side by side, are those of GMP to the bit, for every length with code."""

from __future__ import annotations

import random

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from core.secagg import kernel
from core.secagg.fixed_base import KernelFixedBase, PlainFixedBase
from core.secagg.kernel.alone import LENGTHS, PAYS_TO, Alone, alone
from core.secagg.powers import powers

EDGES = [829, 1244, 1661, 2076, 2909, 3324, 3741, 4156]
"""Bits of the shortest and longest root of each length."""
ROOT = mpz(2) ** 1023 + 1155


@pytest.fixture(autouse=True)
def ifma(monkeypatch: pytest.MonkeyPatch) -> None:
    if kernel._library(kernel.IFMA.library) is None:
        pytest.skip("the kernel ifma is not compiled, or this processor has not its instructions")
    monkeypatch.delenv("GROKFED_KERNEL", raising=False)


@settings(max_examples=40, deadline=None)
@given(half=st.integers(2**828, 2**1243 - 1), seed=st.integers(0, 2**64), exponent=st.integers(0, 2**200))
def test_powers_are_those_of_whole_numbers(half, seed, exponent):
    root = mpz(2 * half + 1)
    number = mpz(random.Random(seed).randrange(root**2))
    assert Alone(root).power(number, exponent) == gmpy2.powmod(number, exponent, root**2)


@pytest.mark.parametrize("bits", [*EDGES, 1024, 2048, 3072, 4096])
def test_extreme_numbers_of_every_length(bits):
    for root in (mpz(2) ** bits - 1, mpz(2) ** (bits - 1) + 1):
        single, square = alone(root**2), root**2
        assert single is not None
        for number in (mpz(0), mpz(1), root, square - root, square - 1, mpz(3) ** bits % square):
            assert single.power(number, 0) == 1
            assert single.power(number, 1) == number
            assert single.power(number, 2**62 + 2**33 - 1) == gmpy2.powmod(number, 2**62 + 2**33 - 1, square)


@pytest.mark.parametrize(("times", "count"), [(1, 1), (1, 5), (8, 3)])
def test_squares_of_squares_are_powers_of_two_powers(times, count):
    found = alone(ROOT**2).squares(mpz(7), times, count)
    assert found == [gmpy2.powmod(7, 2 ** (times * k), ROOT**2) for k in range(count)]


@pytest.mark.parametrize("bits", EDGES[::2])
def test_roots_just_shorter_or_longer_have_no_code(bits):
    longest = EDGES[EDGES.index(bits) + 1]
    for other in (bits - 1, longest + 1):
        root = mpz(2) ** other - 1
        assert alone(root**2) is None
        with pytest.raises(ValueError, match="no code of its own"):
            Alone(root)


@pytest.mark.parametrize("modulus", [mpz(77) ** 2, ROOT, ROOT**2 + 2, ROOT**3])
def test_what_is_short_or_no_square_is_left_to_others(modulus):
    assert alone(modulus) is None


@pytest.mark.parametrize("switch", ["avx2", "off"])
def test_without_the_kernel_the_work_is_left_to_gmp(switch, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", switch)
    assert alone(ROOT**2) is None


@pytest.mark.parametrize("count", [1, 2, 3, PAYS_TO, PAYS_TO + 1, 9])
def test_any_number_of_powers_is_the_same_with_every_kernel(count, monkeypatch):
    numbers = [mpz(5) ** (100 + each) % ROOT**2 for each in range(count)]
    expected = [gmpy2.powmod(number, ROOT, ROOT**2) for number in numbers]
    for switch in ("on", "ifma", "avx2", "off"):
        monkeypatch.setenv("GROKFED_KERNEL", switch)
        assert powers(numbers, ROOT, ROOT**2) == expected


@pytest.mark.parametrize(("bits", "window"), [(16, 4), (21, 3), (1024, 5)], ids=["few places", "seven", "many"])
def test_tables_of_a_base_are_the_same_however_many_places_they_have(bits, window):
    base = mpz(3) ** 700 % ROOT**2
    ours, plain = (kind(base, ROOT**2, bits, window) for kind in (KernelFixedBase, PlainFixedBase))
    for exponent in (0, 1, 2**bits - 1, 0xC0FFEE % 2**bits):
        assert ours.power(exponent) == plain.power(exponent) == gmpy2.powmod(base, exponent, ROOT**2)


def test_every_length_of_the_compiled_code_is_used():
    lengths = {Alone(mpz(2) ** bits - 1)._limbs for bits in EDGES}
    assert lengths == set(LENGTHS)
    assert all(np.array(LENGTHS) % 8 == 0)
