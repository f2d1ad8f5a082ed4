"""Primes of round keys: sieved exactly, of the promised shape, and never twice the same."""

from __future__ import annotations

import gmpy2
import pytest
from gmpy2 import mpz

from registrar import key_generation
from registrar.key_generation import _prime, _residues, _sieved, _small_primes, generate_private_key

ODD = gmpy2.primorial(1 << 16) // 2
"""The product of all odd primes below 2^16."""


def rough(number: mpz) -> bool:
    return bool(gmpy2.gcd(number, ODD) == 1)


@pytest.mark.parametrize("bits", [64, 512, 1024])
def test_the_sieve_leaves_exactly_what_has_no_small_factor(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key_generation, "WINDOW", 400)  # so that some primes are larger, and some smaller
    start = mpz(3 << (bits - 2)) + 4 * 12_345 + 3
    found = _sieved(start)
    assert found == [k for k in range(400) if rough(start + 4 * k) and rough((start + 4 * k - 1) // 2)]


def test_residues_are_those_of_whole_numbers() -> None:
    number = mpz(7) ** 400 + 5
    primes, inverses = _small_primes()
    assert len(primes) == 6541
    assert _residues(number).tolist() == [int(number % prime) for prime in primes.tolist()]
    assert all(4 * inverse % prime == 1 for prime, inverse in zip(primes.tolist(), inverses.tolist(), strict=True))


@pytest.mark.parametrize("bits", [64, 256, 1024])
def test_a_prime_has_the_promised_shape(bits: int) -> None:
    prime = _prime(bits)
    assert gmpy2.is_prime(prime, 40)
    assert prime.bit_length() == bits
    assert prime >> (bits - 2) == 3
    assert prime % 4 == 3
    assert rough((prime - 1) // 2)


def test_a_window_without_a_prime_is_followed_by_another(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[mpz] = []

    def nothing_at_first(start: mpz) -> list[int]:
        asked.append(start)
        return _sieved(start) if asked[1:] else []

    monkeypatch.setattr(key_generation, "_sieved", nothing_at_first)
    assert gmpy2.is_prime(_prime(64))
    assert len(set(asked)) == len(asked) >= 2


def test_keys_have_exactly_their_bits_and_are_new_each_time() -> None:
    keys = [generate_private_key(128) for _ in range(20)]
    assert {key.public_key.n.bit_length() for key in keys} == {128}
    assert len({key.public_key.n for key in keys}) == 20
    assert all(gmpy2.gcd(key.p - 1, key.q - 1) == 2 for key in keys)
