"""The quadratic sieve factors, and each of its parts is what its sentence says."""

from __future__ import annotations

import itertools
import random
from functools import reduce
from operator import xor

import gmpy2
import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given
from hypothesis import strategies as st

from experiments.attacks import quadratic_sieve as qs

pytestmark = pytest.mark.slow

P, Q = 4294967291, 4294967279  # both 3 modulo 4 and below 2^32
N = mpz(P * Q)


def draws(seed: int):
    return random.Random(seed).randrange


@pytest.fixture(scope="module")
def base() -> qs.Base:
    return qs.factor_base(N)


@pytest.mark.parametrize("seed", range(3))
def test_it_factors_and_shows_no_factor(seed: int) -> None:
    found = qs.quadratic_sieve(int(N), draws(seed))
    assert found.factor in (P, Q)
    assert str(found.factor) not in repr(found)


def test_it_takes_fewer_values_than_there_are_divisions_to_try(base: qs.Base) -> None:
    assert qs.quadratic_sieve(int(N), draws(1)).values < 2**20 < gmpy2.isqrt(N)


@pytest.mark.parametrize(("p", "q"), [(1073741827, 1073741831), (4294967291, 1152921504606846883)])
def test_short_and_uneven_moduli_are_factored_too(p: int, q: int) -> None:
    for seed in range(3):
        assert qs.quadratic_sieve(p * q, draws(seed)).factor in (p, q)


def test_what_is_too_short_to_sieve_is_refused() -> None:
    with pytest.raises(ValueError, match="the modulus has 59 bits; the sieve needs at least 60"):
        qs.quadratic_sieve(536870909 * 1073741827, draws(1))


def test_the_base_has_the_primes_modulo_which_n_is_a_square(base: qs.Base) -> None:
    largest = int(base.primes[-1])
    squares = [p for p in range(3, largest + 1) if gmpy2.is_prime(p) and any(x * x % p == N % p for x in range(p))]
    assert base.primes.tolist() == [2, *squares]
    for prime, root in zip(base.primes.tolist(), base.roots.tolist(), strict=True):
        assert (root * root - N) % prime == 0


def test_each_polynomial_is_divisible_where_it_says_and_nowhere_else(base: qs.Base) -> None:
    for polynomial in itertools.islice(qs.polynomials(base, draws(2)), 12):
        a, b = polynomial.a, polynomial.b
        assert (b * b - N) % a == 0
        for index in (0, 3, 20, len(base.primes) - 1):
            prime = int(base.primes[index])
            zeros = [at for at in range(prime) if ((a * (at - base.half) + b) ** 2 - N) // a % prime == 0]
            said = {int(polynomial.first[index]), int(polynomial.second[index])}
            assert set(zeros) == said or (said == {-1} and a % prime == 0)


def test_a_is_of_the_size_that_keeps_values_small(base: qs.Base) -> None:
    wanted = gmpy2.isqrt(2 * N) // base.half
    for polynomial in itertools.islice(qs.polynomials(base, draws(3)), 0, 40, 4):
        assert wanted / 3 < polynomial.a < 3 * wanted


def test_relations_are_relations(base: qs.Base) -> None:
    seen = 0
    for polynomial in itertools.islice(qs.polynomials(base, draws(4)), 4):
        for relation, rest in qs.relations(base, polynomial):
            product = mpz(-1) ** relation.negative * rest
            for prime, power in zip(base.primes.tolist(), relation.exponents.tolist(), strict=True):
                product *= mpz(prime) ** power
            assert (relation.square**2 - product) % N == 0
            assert rest == 1 or gmpy2.is_prime(rest)
            seen += 1
    assert seen > 10


def test_two_with_the_same_large_prime_are_one_without() -> None:
    exponents = np.array([1, 0])
    joined = qs._joined(qs.Relation(mpz(10), exponents, 1), qs.Relation(mpz(6), exponents + 1, 0), 5, mpz(77))
    assert (joined.square, joined.exponents.tolist(), joined.negative) == (12, [3, 1], 1)  # 10 * 6 / 5


@given(st.lists(st.integers(0, 2**12 - 1), max_size=40))
def test_dependencies_are_all_there_and_add_up_to_nothing(rows: list[int]) -> None:
    found = list(qs.dependencies(rows))
    for places in found:
        assert places
        assert reduce(xor, (rows[place] for place in places), 0) == 0
    independent: list[int] = []
    for row in rows:  # the textbook's rank, one row after the other
        for other in independent:
            row = min(row, row ^ other)
        if row:
            independent.append(row)
    assert len(found) == len(rows) - len(independent)
