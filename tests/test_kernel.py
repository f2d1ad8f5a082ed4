"""The kernel does what GMP does, to the bit; where it cannot run or be compiled, GMP does the work."""

from __future__ import annotations

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from book.decryption import PaillierDecryptor
from core.secagg import kernel
from core.secagg.fixed_base import GmpFixedBase, KernelFixedBase, PlainFixedBase, make_fixed_base
from core.secagg.kernel import build
from core.secagg.noise import NoiseKind, TextbookNoise, noise_for
from core.secagg.paillier import PaillierAdder, PaillierEncryptor
from core.secagg.products import GmpProduct, KernelProduct, all_units, running_product
from core.secagg.scheme import PublicKey, join_payload
from registrar.key_generation import generate_private_key

BITS = 256
KEY = generate_private_key(BITS)
PUBLIC = PublicKey("paillier", BITS, int(KEY.public_key.n))
N = mpz(PUBLIC.modulus)

needs_kernel = pytest.mark.skipif(
    not kernel.available(), reason="the kernel is not compiled, or this processor has no AVX-512 IFMA"
)

moduli = st.integers(1, 2**700).map(lambda number: 2 * number + 1)


@needs_kernel
class TestMontgomery:
    @settings(max_examples=60, deadline=None)
    @given(modulus=moduli, numbers=st.lists(st.integers(0, 2**701), min_size=1, max_size=19))
    def test_products_are_those_of_whole_numbers(self, modulus, numbers):
        modulo = kernel.Montgomery(modulus)
        numbers = [mpz(number % modulus) for number in numbers]
        rows = modulo.enter(numbers)
        forward = np.arange(len(numbers))
        products = modulo.leave(modulo.multiply(rows, [forward, forward[::-1], forward]))
        assert products == [a * b * a % modulus for a, b in zip(numbers, numbers[::-1], strict=True)]

    @pytest.mark.parametrize("bits", [3, 102, 103, 104, 512, 4096, 6144, 16000])
    def test_extreme_numbers_of_every_length(self, bits):
        for modulus in (2**bits - 1, 2 ** (bits - 1) + 1):
            modulo = kernel.Montgomery(modulus)
            numbers = [mpz(0), mpz(1), mpz(modulus - 1), mpz(modulus // 2)]
            rows = modulo.enter(numbers)
            assert modulo.leave(rows) == numbers
            squares = modulo.leave(modulo.multiply(rows, [range(4), range(4)]))
            assert squares == [number * number % modulus for number in numbers]

    def test_factors_up_to_twice_the_modulus_stay_exact(self):
        modulus = 2**103 - 1  # R is just above four times this
        modulo = kernel.Montgomery(modulus)
        largest = mpz(2 * modulus - 1)
        product = modulo.multiply(modulo.rows([largest]), [[0], [0]])
        assert modulo.integers(product) == [largest**2 * gmpy2.invert(modulo.r, modulus) % modulus]
        assert int.from_bytes(product.tobytes()[:8], "little") < 2**52

    @settings(max_examples=20, deadline=None)
    @given(modulus=moduli, number=st.integers(0, 2**701), exponent=st.integers(0, 2**300))
    def test_powers_are_those_of_whole_numbers(self, modulus, number, exponent):
        modulo = kernel.Montgomery(modulus)
        powers = modulo.leave(modulo.power(modulo.enter([number % modulus] * 9), exponent))
        assert powers == [gmpy2.powmod(number, exponent, modulus)] * 9

    @settings(max_examples=20, deadline=None)
    @given(modulus=moduli, number=st.integers(0, 2**701), exponent=st.integers(0, 2**300), more=st.integers(0, 12))
    def test_leading_zeros_of_an_exponent_change_no_power(self, modulus, number, exponent, more):
        modulo = kernel.Montgomery(modulus)
        rows = modulo.enter([number % modulus])
        power = modulo.leave(modulo.power(rows, exponent, exponent.bit_length() + more))
        assert power == [gmpy2.powmod(number, exponent, modulus)]

    @pytest.mark.parametrize("digit", range(32))
    def test_every_digit_of_an_exponent_selects_its_own_power(self, digit):
        modulo = kernel.Montgomery(2**103 - 1)
        numbers = [mpz(number) for number in range(3, 12)]
        powers = modulo.leave(modulo.power(modulo.enter(numbers), digit, bits=5))
        assert powers == [number**digit % modulo.modulus for number in numbers]

    @pytest.mark.parametrize("exponent", [32, -1])
    def test_exponents_that_do_not_fit_are_refused(self, exponent):
        modulo = kernel.Montgomery(77)
        with pytest.raises(ValueError, match="more than 5"):
            modulo.power(modulo.enter([2]), exponent, bits=5)

    def test_no_numbers_give_no_powers(self):
        modulo = kernel.Montgomery(77)
        assert modulo.leave(modulo.power(modulo.enter([]), 5)) == []

    @pytest.mark.parametrize("modulus", [10, 2**16_700 + 1], ids=["even", "too long"])
    def test_moduli_it_cannot_work_with_are_refused(self, modulus):
        with pytest.raises(ValueError, match="must be odd and of at most"):
            kernel.Montgomery(modulus)

    def test_rows_outside_the_table_are_refused(self):
        modulo = kernel.Montgomery(77)
        rows = modulo.enter([1, 2])
        for chosen in ([[0, 2]], [[-1, 0]]):
            with pytest.raises(ValueError, match="not all in a table of 2"):
                modulo.multiply(rows, chosen)
        with pytest.raises(ValueError, match="at least one factor"):
            modulo.multiply(rows, np.empty((0, 2)))
        with pytest.raises(ValueError, match="contiguous"):
            modulo.multiply(np.zeros((2, modulo.limbs + 2), np.uint64), [[0], [1]])
        with pytest.raises(ValueError, match="contiguous"):
            modulo.integers(np.zeros((1, modulo.limbs - 1), np.uint64))
        with pytest.raises(ValueError, match="contiguous"):
            modulo.power(rows[:, ::-1], 3)
        with pytest.raises(ValueError, match="do not fit"):
            modulo.multiply(rows, [[0], [1]], out=modulo.enter([1, 2]))


@needs_kernel
class TestInUse:
    @settings(max_examples=30, deadline=None)
    @given(exponent=st.integers(0, 2**64 - 1), window=st.integers(1, 7))
    def test_tables_give_the_same_powers_as_those_of_gmp(self, exponent, window):
        base = gmpy2.powmod(mpz(-9), N, N * N)
        power = gmpy2.powmod(base, exponent, N * N)
        assert KernelFixedBase(base, N * N, 64, window).power(exponent) == power
        assert GmpFixedBase(base, N, 64, window).power(exponent) == power
        assert PlainFixedBase(base, N * N, 64, window).power(exponent) == power

    @pytest.mark.parametrize("times", [0, 1, 2, 7])
    def test_running_products_are_the_same_bytes(self, times):
        rng = np.random.default_rng(times)
        gmp, eight = GmpProduct(N * N, 11, 64), KernelProduct(N * N, 11, 64)
        for _ in range(times):
            numbers = [int.from_bytes(rng.bytes(64), "big") % (N * N) for _ in range(10)] + [N * N - 1]
            for product in (gmp, eight):
                product.multiply(join_payload([mpz(number) for number in numbers], 64))
        assert gmp.payload() == eight.payload()


@pytest.mark.parametrize("switch", ["on", "off"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_one_number_that_shares_a_factor_is_found_among_any_number_of_others(count, switch, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", switch)
    units = [mpz(number) for number in range(2, 2 + count)]
    assert all_units(units, N)
    for place in range(count):
        for bad in (mpz(KEY.p), 3 * mpz(KEY.q), mpz(0)):
            assert not all_units([*units[:place], bad, *units[place + 1 :]], N)


@pytest.mark.parametrize("switch", ["on", "off"])
def test_encrypting_adding_and_opening_agree_with_and_without_it(switch, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", switch)
    encryptor = PaillierEncryptor(PUBLIC, TextbookNoise(PUBLIC))
    adder = PaillierAdder(PUBLIC, count=9)
    for number in (5, 1_000):
        payload = encryptor.encrypt([number] * 9)
        adder.check(payload)
        adder.add(payload)
    assert PaillierDecryptor(KEY).decrypt(adder.payload()) == [1_005] * 9


def test_a_modulus_that_is_too_long_for_it_is_left_to_gmp():
    assert not kernel.available(16_639)
    assert isinstance(running_product(mpz(2) ** 16_640 + 1, 1, 2_100), GmpProduct)


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
@pytest.mark.parametrize("switch", ["on", "off"])
def test_both_lengths_of_plaintexts_open_with_and_without_it(scheme, switch, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", switch)
    key = PublicKey(scheme, BITS, int(N))
    plaintexts = [0, 1, (1 << key.plaintext_bits) - 1, 12345]
    for kind in NoiseKind:
        payload = PaillierEncryptor(key, noise_for(key, 4, kind)).encrypt(plaintexts)
        assert PaillierDecryptor(KEY, scheme=scheme).decrypt(payload) == plaintexts


def test_switched_off_gmp_does_the_work(monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    assert not kernel.available()
    assert isinstance(running_product(N * N, 1, 64), GmpProduct)
    assert isinstance(make_fixed_base(mpz(5), N, 1, 64, 1), GmpFixedBase)
    assert isinstance(make_fixed_base(mpz(5), N, 2, 64, 1), PlainFixedBase)


class TestBuilding:
    def test_it_compiles_into_a_library_that_loads_or_says_why_not(self, tmp_path):
        if build.compiler() is None:
            pytest.skip("there is no C compiler here")
        library = tmp_path / "ifma.so"
        assert build.build(library).startswith("compiled ifma.so")
        if kernel.available():
            assert kernel.Montgomery(77, library).limbs == 2

    def test_it_is_loaded_from_where_it_is_built(self):
        assert build.LIBRARY == kernel.LIBRARY

    def test_an_old_library_does_not_outlive_a_build_that_fails(self, tmp_path, monkeypatch):
        monkeypatch.setattr(build, "compiler", lambda: None)
        (tmp_path / "ifma.so").write_text("old")
        build.build(tmp_path / "ifma.so")
        assert list(tmp_path.iterdir()) == []

    def test_without_a_compiler_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(build, "compiler", lambda: None)
        assert build.build(tmp_path / "ifma.so") == "there is no C compiler here; encryption uses GMP alone"

    def test_what_does_not_compile_leaves_nothing_behind(self, tmp_path, monkeypatch):
        if build.compiler() is None:
            pytest.skip("there is no C compiler here")
        monkeypatch.setattr(build, "SOURCE", tmp_path / "wrong.c")
        (tmp_path / "wrong.c").write_text("this is no C")
        assert "cannot compile wrong.c" in build.build(tmp_path / "ifma.so")
        assert [path.name for path in tmp_path.iterdir()] == ["wrong.c"]

    def test_a_library_that_is_missing_or_broken_is_not_used(self, tmp_path):
        (tmp_path / "broken.so").write_text("no library")
        assert kernel._library(tmp_path / "broken.so") is None
        assert kernel._library(tmp_path / "missing.so") is None
