"""Both kernels do what GMP does, to the bit; where they cannot run or be compiled, GMP does the work."""

from __future__ import annotations

import ctypes
import platform

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from book.decryption import PaillierDecryptor
from core.secagg import kernel
from core.secagg.fixed_base import GmpFixedBase, KernelFixedBase, PlainFixedBase, make_fixed_base
from core.secagg.kernel import build, columns
from core.secagg.noise import NoiseKind, TextbookNoise, noise_for
from core.secagg.paillier import PaillierAdder, PaillierEncryptor
from core.secagg.powers import powers, secret_powers
from core.secagg.products import GmpProduct, KernelProduct, all_units, running_product
from core.secagg.scheme import PublicKey, join_payload
from registrar.key_generation import generate_private_key

BITS = 256
KEY = generate_private_key(BITS)
PUBLIC = PublicKey("paillier", BITS, int(KEY.public_key.n))
N = mpz(PUBLIC.modulus)

NAMES = [each.name for each in kernel.KERNELS]


def usable(name: str) -> kernel.Kernel:
    """Return a kernel by its name; skip the test where it cannot run."""
    found = next(each for each in kernel.KERNELS if each.name == name)
    if kernel._library(found.library) is None:
        pytest.skip(f"the kernel {name} is not compiled, or this processor has not its instructions")
    return found


@pytest.fixture(scope="module", params=NAMES)
def one(request: pytest.FixtureRequest) -> kernel.Kernel:
    return usable(request.param)


moduli = st.integers(1, 2**700).map(lambda number: 2 * number + 1)


class TestMontgomery:
    @settings(max_examples=60, deadline=None)
    @given(modulus=moduli, numbers=st.lists(st.integers(0, 2**701), min_size=1, max_size=19))
    def test_products_are_those_of_whole_numbers(self, one, modulus, numbers):
        modulo = kernel.Montgomery(modulus, one)
        numbers = [mpz(number % modulus) for number in numbers]
        rows = modulo.enter(numbers)
        forward = np.arange(len(numbers))
        products = modulo.leave(modulo.multiply(rows, [forward, forward[::-1], forward]))
        assert products == [a * b * a % modulus for a, b in zip(numbers, numbers[::-1], strict=True)]

    @pytest.mark.parametrize("bits", [3, 53, 54, 102, 103, 104, 210, 214, 322, 512, 2048, 4096, 6144, 12000])
    def test_extreme_numbers_of_every_length(self, one, bits):
        for modulus in (2**bits - 1, 2 ** (bits - 1) + 1):
            modulo = kernel.Montgomery(modulus, one)
            numbers = [mpz(0), mpz(1), mpz(modulus - 1), mpz(modulus // 2)]
            rows = modulo.enter(numbers)
            assert modulo.leave(rows) == numbers
            squares = modulo.leave(modulo.multiply(rows, [range(4), range(4)]))
            assert squares == [number * number % modulus for number in numbers]

    def test_factors_up_to_twice_the_modulus_stay_exact(self, one):
        modulus = 2 ** (4 * one.limbs_at_a_time * one.limb_bits - 2) - 1  # R is just above four times this
        modulo = kernel.Montgomery(modulus, one)
        largest = mpz(2 * modulus - 1)
        product = modulo.multiply(modulo.rows([largest]), [[0], [0]])
        assert modulo.integers(product) == [largest**2 * gmpy2.invert(modulo.r, modulus) % modulus]
        assert int.from_bytes(product.tobytes()[:8], "little") < 2**one.limb_bits

    @settings(max_examples=20, deadline=None)
    @given(modulus=moduli, number=st.integers(0, 2**701), exponent=st.integers(0, 2**300))
    def test_powers_are_those_of_whole_numbers(self, one, modulus, number, exponent):
        modulo = kernel.Montgomery(modulus, one)
        powers = modulo.leave(modulo.power(modulo.enter([number % modulus] * 9), exponent))
        assert powers == [gmpy2.powmod(number, exponent, modulus)] * 9
        assert modulo.leave(modulo.power(modulo.enter([number % modulus] * 9), exponent, public=True)) == powers

    @settings(max_examples=20, deadline=None)
    @given(modulus=moduli, number=st.integers(0, 2**701), exponent=st.integers(0, 2**300), more=st.integers(0, 12))
    def test_leading_zeros_of_an_exponent_change_no_power(self, one, modulus, number, exponent, more):
        modulo = kernel.Montgomery(modulus, one)
        rows = modulo.enter([number % modulus])
        power = modulo.leave(modulo.power(rows, exponent, exponent.bit_length() + more))
        assert power == [gmpy2.powmod(number, exponent, modulus)]

    @pytest.mark.parametrize("digit", range(32))
    def test_every_digit_of_an_exponent_selects_its_own_power(self, one, digit):
        modulo = kernel.Montgomery(2**103 - 1, one)
        numbers = [mpz(number) for number in range(3, 12)]
        powers = modulo.leave(modulo.power(modulo.enter(numbers), digit, bits=5))
        assert powers == [number**digit % modulo.modulus for number in numbers]
        assert modulo.leave(modulo.power(modulo.enter(numbers), digit, bits=10, public=True)) == powers

    @pytest.mark.parametrize("exponent", [32, -1])
    def test_exponents_that_do_not_fit_are_refused(self, one, exponent):
        modulo = kernel.Montgomery(77, one)
        with pytest.raises(ValueError, match="more than 5"):
            modulo.power(modulo.enter([2]), exponent, bits=5)

    def test_no_numbers_give_no_powers(self, one):
        modulo = kernel.Montgomery(77, one)
        assert modulo.leave(modulo.power(modulo.enter([]), 5)) == []

    @pytest.mark.parametrize("modulus", [10, 2**16_700 + 1], ids=["even", "too long"])
    def test_moduli_it_cannot_work_with_are_refused(self, one, modulus):
        with pytest.raises(ValueError, match="must be odd and of at most"):
            kernel.Montgomery(modulus, one)

    def test_rows_outside_the_table_are_refused(self, one):
        modulo = kernel.Montgomery(77, one)
        rows = modulo.enter([1, 2])
        for chosen in ([[0, 2]], [[-1, 0]]):
            with pytest.raises(ValueError, match="not all in a table of 2"):
                modulo.multiply(rows, chosen)
        with pytest.raises(ValueError, match="at least one factor"):
            modulo.multiply(rows, np.empty((0, 2)))
        with pytest.raises(ValueError, match="contiguous"):
            modulo.multiply(np.zeros((2, modulo.words + 2), np.uint64), [[0], [1]])
        with pytest.raises(ValueError, match="contiguous"):
            modulo.integers(np.zeros((1, modulo.words - 1), np.uint64))
        with pytest.raises(ValueError, match="contiguous"):
            modulo.power(rows[:, ::-1], 3)
        with pytest.raises(ValueError, match="do not fit"):
            modulo.multiply(rows, [[0], [1]], out=modulo.enter([1, 2]))


def square_of(root: mpz | int, one: kernel.Kernel) -> kernel.Montgomery:
    return kernel.Montgomery(mpz(root) ** 2, one, pairs=True)


class TestPairs:
    @settings(max_examples=60, deadline=None)
    @given(
        root=moduli, numbers=st.lists(st.integers(0, 2**1402), min_size=1, max_size=19), exponent=st.integers(0, 2**90)
    )
    def test_products_and_powers_are_those_of_whole_numbers(self, one, root, numbers, exponent):
        modulo, square = square_of(root, one), root**2
        numbers = [mpz(number % square) for number in numbers]
        rows = modulo.enter(numbers)
        forward = np.arange(len(numbers))
        products = modulo.leave(modulo.multiply(rows, [forward, forward[::-1], forward]))
        assert products == [a * b * a % square for a, b in zip(numbers, numbers[::-1], strict=True)]
        powers = modulo.leave(modulo.power(rows, exponent))
        assert powers == [gmpy2.powmod(number, exponent, square) for number in numbers]
        assert modulo.leave(modulo.power(rows, exponent, public=True)) == powers

    @pytest.mark.parametrize("bits", [2, 27, 53, 102, 104, 214, 216, 312, 512, 1024, 2048, 3072])
    def test_extreme_numbers_of_every_length(self, one, bits):
        for root in (mpz(2) ** bits - 1, mpz(2) ** (bits - 1) + 1):
            modulo, square = square_of(root, one), root**2
            numbers = [mpz(0), mpz(1), root, square - root, square - 1]
            rows = modulo.enter(numbers)
            assert modulo.leave(rows) == numbers
            products = modulo.leave(modulo.multiply(rows, [range(5)] * 32))
            assert products == modulo.leave(modulo.power(rows, 32)) == [number**32 % square for number in numbers]

    @pytest.mark.parametrize("way", ["products", "squares"])
    def test_halves_up_to_twice_the_root_stay_exact_and_below_that(self, one, way):
        limbs = 4 * one.limbs_at_a_time
        root = mpz(2) ** (limbs * one.limb_bits - 4) - 1  # R is just above 16 times this
        modulo, largest = square_of(root, one), 2 * root - 1
        assert modulo.words == 2 * limbs
        whole = kernel.Montgomery(2**200 * root + 1, one)  # only to cut numbers into limbs
        halves = whole.rows_of_bytes(
            2 * largest.to_bytes(limbs * one.limb_bits // 8, "little"), limbs * one.limb_bits // 8
        )
        row = np.ascontiguousarray(halves[:, :limbs]).reshape(1, modulo.words)
        assert modulo.integers(row) == [(largest - largest * root) % root**2]
        many = modulo.multiply(row, [[0]] * 32) if way == "products" else modulo.power(row, 32)
        [value] = modulo.integers(row)
        assert modulo.integers(many) == [value**32 * gmpy2.invert(modulo.r, root**2) ** 31 % root**2]
        for half in many.reshape(2, limbs):
            assert sum(int(word) << one.limb_bits * place for place, word in enumerate(half)) < 2 * root

    @pytest.mark.parametrize("modulus", [mpz(77), mpz(2) ** 24_000 + 1, (mpz(2) ** 8_318 - 1) ** 2])
    def test_what_is_no_square_or_too_long_is_refused(self, one, modulus):
        with pytest.raises(ValueError, match=r"no square, or too long|must be odd and of at most"):
            kernel.Montgomery(modulus, one, pairs=True)

    @pytest.mark.parametrize(("modulus", "words"), [(77, 1), (77**2, 2), (mpz(2) ** 800 + 1, 1), (N**2, 2), (N**3, 1)])
    def test_squares_are_worked_with_in_pairs(self, one, modulus, words, monkeypatch):
        monkeypatch.setenv("GROKFED_KERNEL", one.name)
        modulo, root = kernel.arithmetic(mpz(modulus)), gmpy2.isqrt(mpz(modulus))
        limbs = one.limbs(root.bit_length() + 2) if words == 2 else one.limbs(mpz(modulus).bit_length())
        assert modulo.words == words * limbs

    def test_a_square_too_long_for_pairs_is_worked_with_as_it_is(self, monkeypatch):
        monkeypatch.setenv("GROKFED_KERNEL", usable("ifma").name)
        root = mpz(2) ** 8_318 - 1
        assert kernel.arithmetic(root**2).leave(kernel.arithmetic(root**2).enter([root])) == [root]


@pytest.mark.parametrize("name", NAMES)
class TestInUse:
    @settings(max_examples=30, deadline=None)
    @given(exponent=st.integers(0, 2**64 - 1), window=st.integers(1, 7))
    def test_tables_give_the_same_powers_as_those_of_gmp(self, name, exponent, window):
        base = gmpy2.powmod(mpz(-9), N, N * N)
        power = gmpy2.powmod(base, exponent, N * N)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GROKFED_KERNEL", usable(name).name)
            assert KernelFixedBase(base, N * N, 64, window).power(exponent) == power
        assert GmpFixedBase(base, N, 64, window).power(exponent) == power
        assert PlainFixedBase(base, N * N, 64, window).power(exponent) == power

    @pytest.mark.parametrize("times", [0, 1, 2, 7])
    def test_running_products_are_the_same_bytes(self, name, times, monkeypatch):
        monkeypatch.setenv("GROKFED_KERNEL", usable(name).name)
        rng = np.random.default_rng(times)
        gmp, eight = GmpProduct(N * N, 11, 64), KernelProduct(N * N, 11, 64)
        for _ in range(times):
            numbers = [int.from_bytes(rng.bytes(64), "big") % (N * N) for _ in range(10)] + [N * N - 1]
            for product in (gmp, eight):
                product.multiply(join_payload([mpz(number) for number in numbers], 64))
        assert gmp.payload() == eight.payload()


@pytest.mark.parametrize("switch", [*NAMES, "off"])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 64])
def test_one_number_that_shares_a_factor_is_found_among_any_number_of_others(count, switch, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", switch)
    units = [mpz(number) for number in range(2, 2 + count)]
    assert all_units(units, N)
    for place in range(count):
        for bad in (mpz(KEY.p), 3 * mpz(KEY.q), mpz(0)):
            assert not all_units([*units[:place], bad, *units[place + 1 :]], N)


@pytest.mark.parametrize("switch", [*NAMES, "off"])
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
    for each in kernel.KERNELS:
        assert kernel.chosen(each.most_bits + 1) not in (each, kernel.AVX2)
    assert isinstance(running_product(mpz(2) ** 16_640 + 1, 1, 2_100), GmpProduct)


@pytest.mark.parametrize("scheme", ["paillier", "damgard-jurik"])
@pytest.mark.parametrize("switch", [*NAMES, "off"])
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


@pytest.mark.parametrize("name", NAMES)
def test_the_environment_names_the_kernel_to_use(name, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", usable(name).name)
    assert kernel.chosen() == usable(name)
    assert kernel.Montgomery(77).kernel == usable(name)


def test_the_faster_kernel_is_used_unless_the_modulus_is_too_long_for_it_or_it_cannot_run_here(monkeypatch):
    monkeypatch.delenv("GROKFED_KERNEL", raising=False)
    monkeypatch.setattr(kernel, "_library", lambda path: path)
    assert kernel.chosen() == kernel.IFMA
    assert kernel.chosen(16_639) is None
    monkeypatch.setattr(kernel, "_library", lambda path: path if path.name == "avx2.so" else None)
    assert kernel.chosen(12_958) == kernel.AVX2
    assert kernel.chosen(12_959) is None
    monkeypatch.setattr(kernel, "_library", lambda path: None)
    assert kernel.chosen() is None


@pytest.mark.parametrize("name", NAMES)
def test_powers_of_public_and_secret_exponents_are_those_of_gmp(name, monkeypatch):
    numbers, exponent = [mpz(number) for number in range(2, 11)], 2**130 + 77
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    expected = powers(numbers, exponent, N)
    monkeypatch.setenv("GROKFED_KERNEL", usable(name).name)
    assert powers(numbers, exponent, N) == secret_powers(numbers, exponent, 140, N) == expected


@pytest.mark.parametrize("name", NAMES)
def test_tables_of_a_base_are_the_kernel_s_where_there_is_one(name, monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", usable(name).name)
    assert isinstance(make_fixed_base(mpz(5), N, 1, 64, 1), KernelFixedBase)
    assert isinstance(make_fixed_base(mpz(5), N, 2, 64, 1), KernelFixedBase)


class TestBuilding:
    @pytest.mark.parametrize("source", build.SOURCES, ids=lambda source: source.stem)
    def test_it_compiles_into_a_library_that_loads_or_says_why_not(self, source, tmp_path):
        if build.compiler() is None or platform.machine() not in ("x86_64", "AMD64"):
            pytest.skip("there is no C compiler here, or the processor is of another kind")
        assert build.build(source, tmp_path).startswith(f"compiled {source.stem}.so")
        assert hasattr(ctypes.CDLL(str(tmp_path / f"{source.stem}.so")), "supported")

    def test_each_is_loaded_from_where_it_is_built(self):
        libraries = [*(each.library for each in kernel.KERNELS), columns.LIBRARY]
        assert [source.with_suffix(".so") for source in build.SOURCES] == libraries

    def test_an_old_library_does_not_outlive_a_build_that_fails(self, tmp_path, monkeypatch):
        monkeypatch.setattr(build, "compiler", lambda: None)
        (tmp_path / "ifma.so").write_text("old")
        build.build(tmp_path / "ifma.c")
        assert list(tmp_path.iterdir()) == []

    def test_without_a_compiler_it_says_so(self, tmp_path, monkeypatch):
        monkeypatch.setattr(build, "compiler", lambda: None)
        assert build.build(tmp_path / "ifma.c") == "there is no C compiler here; the parties do without ifma.c"

    def test_what_does_not_compile_leaves_nothing_behind(self, tmp_path):
        if build.compiler() is None:
            pytest.skip("there is no C compiler here")
        (tmp_path / "wrong.c").write_text("this is no C")
        assert "cannot compile wrong.c" in build.build(tmp_path / "wrong.c")
        assert [path.name for path in tmp_path.iterdir()] == ["wrong.c"]

    def test_a_library_that_is_missing_or_broken_is_not_used(self, tmp_path):
        (tmp_path / "broken.so").write_text("no library")
        assert kernel._library(tmp_path / "broken.so") is None
        assert kernel._library(tmp_path / "missing.so") is None
