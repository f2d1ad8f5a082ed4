"""Short moduli are factored, keys as they are made; and what longer ones cost is plainly an extrapolation."""

from __future__ import annotations

import random
from pathlib import Path

import gmpy2
import pytest

from book.decryption import generate_decryptor
from book.run import Run
from core.errors import SettingsError
from core.secagg.paillier import check_public_key
from core.secagg.scheme import PAILLIER, PublicKey
from experiments.attacks.factoring import _Curve, _exponent, ecm, rho
from experiments.studies import weak_key

pytestmark = pytest.mark.slow


def draws(seed: int):
    return random.Random(seed).randrange


@pytest.mark.parametrize(("modulus", "primes"), [(8051, {83, 97}), (10403, {101, 103}), (4295098369 * 65537, {65537})])
def test_rho_finds_a_prime_factor(modulus: int, primes: set[int]) -> None:
    found = rho(modulus, draws(1))
    assert 1 < found.factor < modulus
    assert modulus % found.factor == 0
    assert {found.factor, modulus // found.factor} & primes


def test_rho_takes_about_the_root_of_the_smaller_prime() -> None:
    p, q = 4294967291, 4294967279  # below 2^32: a walk of some 2^16 steps, two or three multiplications each
    efforts = [rho(p * q, draws(seed)).multiplications for seed in range(10)]
    assert 2**15 < sorted(efforts)[5] < 2**19


def test_elliptic_curves_find_a_factor_that_a_bound_of_150_reaches() -> None:
    p, q = 4294967291, 4294967279
    found = ecm(p * q, 150, draws(3))
    assert found.factor in (p, q)
    assert str(found.factor) not in repr(found)


def test_a_bound_too_small_for_two_stages_is_refused() -> None:
    with pytest.raises(ValueError, match="the bound of stage 1 is 99"):
        ecm(8051, 99, draws(1))


def test_the_exponent_is_the_least_common_multiple() -> None:
    assert _exponent(9) == _exponent(10) == 2520
    assert _exponent(8) == 840


@pytest.mark.parametrize("sigma", [6, 7, 8, 11])
def test_suyamas_curves_have_an_order_that_twelve_divides_and_a_point_on_them(sigma: int) -> None:
    p = 1009
    curve = _Curve(gmpy2.mpz(p), gmpy2.mpz(sigma))
    a = (4 * curve.quarter - 2) % p
    x = curve.start[0] * gmpy2.invert(curve.start[1], p) % p
    twist = gmpy2.legendre(x**3 + a * x**2 + x, p)  # the curve or its twist, whichever the point is on
    order = 1 + sum(1 + twist * gmpy2.legendre(x**3 + a * x**2 + x, p) for x in range(p))
    assert order % 12 == 0
    assert curve.times(gmpy2.mpz(order), curve.start)[1] == 0
    assert curve.times(gmpy2.mpz(order + 1), curve.start)[1] != 0


def test_moduli_of_the_study_are_as_honest_keys_are() -> None:
    for seed in range(3):
        modulus = weak_key.seeded_modulus(64, draws(seed))
        check_public_key(PublicKey(PAILLIER, 64, modulus))
        assert modulus == weak_key.seeded_modulus(64, draws(seed))
        factor = rho(modulus, draws(seed)).factor
        assert gmpy2.is_prime(factor)
        assert factor % 4 == 3
        assert gmpy2.gcd((factor - 1) // 2, gmpy2.primorial(1 << 16)) == 1


@pytest.mark.parametrize("bits", [63, 46])
def test_moduli_that_cannot_be_are_refused(bits: int) -> None:
    with pytest.raises(SettingsError, match=f"a modulus of {bits} bits"):
        weak_key.seeded_modulus(bits, draws(1))


def test_a_real_demo_key_is_broken_from_its_public_half() -> None:
    holder = generate_decryptor(PAILLIER, 96)
    broken = weak_key.break_key(holder.public_key)
    ciphertext = (1 + 42 * holder.public_key.modulus) % holder.public_key.modulus**2
    assert broken.decrypt(ciphertext.to_bytes(24, "big")) == holder.decrypt(ciphertext.to_bytes(24, "big")) == [42]


def test_growth_of_the_sieve_is_that_of_the_formula() -> None:
    # Without its o(1) it gives the well-known 2^87 and 2^117 for 1,024 and 2,048 bits.
    assert weak_key._sieve_growth(1024) == pytest.approx(87, abs=0.5)
    assert weak_key._sieve_growth(2048) == pytest.approx(117, abs=0.5)
    assert weak_key._rho_growth(128) == 32
    assert weak_key._quadratic_growth(512) == pytest.approx(66, abs=1)  # ln n = 355, and exp(sqrt(355 * 5.87))


@pytest.mark.parametrize("method", [weak_key.RHO, weak_key.ECM, weak_key.QUADRATIC])
def test_the_same_seed_counts_the_same_steps(tmp_path: Path, method: str) -> None:
    said: list[str] = []
    run = Run(tmp_path, quick=True, say=said.append)
    first = weak_key.measured(run, method, 64, 1)
    assert first == weak_key.measured(run, method, 64, 1)
    assert "seconds" in said[0]
    assert not any("second" in str(value) for value in first.values())
    assert float(str(first["log2 steps"]).split()[0]) < float(first["trial division"])
