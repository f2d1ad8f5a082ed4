"""Noise: both ways give n-th powers, from the operating system's randomness, and tables give exact powers."""

from __future__ import annotations

import random

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st

from book.decryption import PaillierDecryptor
from core.secagg.fixed_base import GmpFixedBase, _Digits, best_window
from core.secagg.noise import NoiseKind, ShortExponentNoise, TextbookNoise, noise_for
from core.secagg.paillier import PaillierEncryptor
from core.secagg.scheme import PublicKey
from registrar.key_generation import generate_private_key

BITS = 256
KEY = generate_private_key(BITS)
PUBLIC = PublicKey("paillier", BITS, int(KEY.public_key.n))
N = mpz(PUBLIC.modulus)
LONG = int(generate_private_key(2048).public_key.n)
BASE = gmpy2.powmod(mpz(-9), N, N * N)


def is_nth_power(number: mpz) -> bool:
    """With the primes it shows: only the n-th powers become 1 when raised to (p - 1)(q - 1)."""
    return gmpy2.powmod(number, (KEY.p - 1) * (KEY.q - 1), N * N) == 1


class TestKeys:
    @pytest.mark.parametrize("bits", [128, 256, 512])
    def test_the_modulus_has_exactly_its_bits_and_the_primes_are_of_the_right_kind(self, bits):
        for _ in range(5):
            key = generate_private_key(bits)
            assert (key.p * key.q).bit_length() == bits
            assert key.p % 4 == key.q % 4 == 3
            assert gmpy2.gcd(key.p - 1, key.q - 1) == 2
            assert gmpy2.is_prime(key.p)
            assert gmpy2.is_prime(key.q)

    def test_no_small_factor_of_p_or_q_less_one_can_be_missed_by_the_base(self):
        for _ in range(5):
            key = generate_private_key(256)
            for prime in (key.p, key.q):
                assert gmpy2.gcd(prime - 1, gmpy2.primorial(1 << 16)) == 2

    def test_no_two_keys_are_alike_whatever_pythons_generator_is_seeded_with(self):
        found = set()
        for _ in range(2):
            random.seed(1)
            np.random.seed(1)  # to show that it plays no part
            found.add(generate_private_key(128).p)
        assert len(found) == 2


@pytest.mark.parametrize("kind", list(NoiseKind))
class TestNoise:
    def test_it_is_fresh_nth_powers(self, kind):
        drawn = noise_for(PUBLIC, 20, kind).draw(20)
        assert all(0 < number < N * N and is_nth_power(number) for number in drawn)
        assert len(set(drawn)) == 20
        assert not is_nth_power(drawn[0] * (1 + N))  # the test can tell

    def test_it_takes_its_randomness_from_the_operating_system(self, kind):
        """Seeding Python's generators changes nothing: they must play no part in anything secret."""
        drawn = []
        for _ in range(2):
            random.seed(1)
            np.random.seed(1)
            drawn.append(noise_for(PUBLIC, 1, kind).draw(1)[0])
        assert drawn[0] != drawn[1]

    def test_ciphertexts_open_in_the_library_of_the_book(self, kind):
        payload = PaillierEncryptor(PUBLIC, noise_for(PUBLIC, 2, kind)).encrypt([12345, 0])
        numbers = [int.from_bytes(payload[start : start + BITS // 4], "big") for start in (0, BITS // 4)]
        assert [KEY.raw_decrypt(number) for number in numbers] == [12345, 0]


class TestShortExponents:
    def test_every_source_has_a_base_of_its_own(self):
        first, second = ShortExponentNoise(PUBLIC, 5), ShortExponentNoise(PUBLIC, 5)
        assert first._power.power(1) != second._power.power(1)

    def test_the_base_is_the_nth_power_of_minus_a_square(self):
        base = ShortExponentNoise(PUBLIC, 5)._power.power(1)
        assert is_nth_power(base)
        assert gmpy2.jacobi(base % N, N) == 1
        # -y² is no square modulo either prime: n-th powers keep that, since n is odd.
        assert gmpy2.legendre(base % KEY.p, KEY.p) == gmpy2.legendre(base % KEY.q, KEY.q) == -1

    def test_short_exponents_of_512_bits_have_that_many(self):
        power = noise_for(PublicKey("paillier", 2048, LONG), 1, NoiseKind.SHORT_512)._power
        assert 512 <= power._digits.places * power._digits.window < 530
        power = noise_for(PublicKey("paillier", 2048, LONG), 1)._power
        assert 1024 <= power._digits.places * power._digits.window < 1042

    def test_textbook_noise_takes_numbers_from_all_below_the_modulus(self, monkeypatch):
        seen = []
        monkeypatch.setattr("core.secagg.noise.secrets.randbelow", lambda limit: seen.append(limit) or 7)
        assert TextbookNoise(PUBLIC).draw(2) == [gmpy2.powmod(8, N, N * N)] * 2
        assert seen == [int(N) - 1] * 2

    def test_exponents_are_at_least_half_as_long_as_the_modulus(self, monkeypatch):
        seen = []
        monkeypatch.setattr("core.secagg.fixed_base.os.urandom", lambda size: seen.append(size) or bytes([255]) * size)
        noise = ShortExponentNoise(PUBLIC, 100)
        noise.draw(1)
        assert seen[0] * 8 >= BITS // 2

    def test_a_modulus_of_another_kind_gets_textbook_noise(self):
        other = PublicKey("paillier", BITS, PUBLIC.modulus + 2)
        assert isinstance(noise_for(PUBLIC, 1), ShortExponentNoise)
        assert isinstance(noise_for(other, 1), TextbookNoise)
        with pytest.raises(ValueError, match="not 1 modulo 4"):
            ShortExponentNoise(other, 1)


class TestFixedBase:
    @settings(max_examples=30, deadline=None)
    @given(exponent=st.integers(0, 2**64 - 1), window=st.integers(1, 7))
    def test_powers_are_exact(self, exponent, window):
        assert GmpFixedBase(BASE, N, 64, window).power(exponent) == gmpy2.powmod(BASE, exponent, N * N)

    @pytest.mark.parametrize("exponent", [0, 1, 2**64 - 1, 2**63])
    def test_extreme_exponents_are_exact(self, exponent):
        assert GmpFixedBase(BASE, N, 64, 4).power(exponent) == gmpy2.powmod(BASE, exponent, N * N)

    def test_random_powers_are_those_of_the_random_bits(self, monkeypatch):
        words = lambda size: (np.arange(size // 2, dtype=np.uint16) + 0xABC0).tobytes()  # noqa: E731
        monkeypatch.setattr("core.secagg.fixed_base.os.urandom", words)
        # The last four bits of each word are a digit: 0, 1, 2, 3 and then 4, 5, 6, 7, the lowest place first.
        expected = [gmpy2.powmod(BASE, exponent, N * N) for exponent in (0x3210, 0x7654)]
        assert GmpFixedBase(BASE, N, 16, 4).random_powers(2) == expected
        assert GmpFixedBase(BASE, N, 16, 4).known_powers(2) == (expected, [0x3210, 0x7654])

    def test_digits_are_spread_over_their_whole_range(self):
        digits = _Digits(128, 4).random(1000)
        assert digits.shape == (1000, 32)
        counts = np.bincount(digits.ravel(), minlength=16)
        assert len(counts) == 16
        assert abs(counts - 2000).max() < 300  # seven standard deviations

    def test_tables_stay_within_their_bound_however_many_powers_are_wanted(self):
        for exponent_bits, entry_bytes in ((1024, 512), (4096, 3072)):
            window = best_window(exponent_bits, 1_000_000, 1.0, entry_bytes)
            assert -(-exponent_bits // window) * (1 << window) * entry_bytes <= 1 << 27
            assert window < best_window(exponent_bits, 1_000_000, 1.0)
        assert best_window(1024, 1_000, 1.0, 512) == best_window(1024, 1_000, 1.0)

    def test_few_powers_want_small_tables_and_many_want_large_ones(self):
        windows = [best_window(1024, expected, 2.0) for expected in (1, 100, 1_000, 10_000)]
        assert windows == sorted(windows)
        assert (windows[0], windows[1], windows[-1]) == (2, 5, 10)


def test_opening_on_one_core_or_several_gives_the_same():
    noise = noise_for(PUBLIC, 7)
    payload = PaillierEncryptor(PUBLIC, noise).encrypt(list(range(7)))
    for threads in (1, 2, 7, 20):
        assert PaillierDecryptor(KEY, threads).decrypt(payload) == list(range(7))
    assert PaillierDecryptor(KEY).decrypt(b"") == []
