"""The root of a sum's noise, and how a sum is opened and checked with it: public arithmetic.

Write N = n^s and E = Delta^3. A ciphertext is c = (1 + n)^m r^N mod n^(s+1), and holder i has answered c^(Delta f(i)),
where f(0) = Delta D and c^D = r mod n (core.secagg.key_share). With the answers of any t holders:

    R = product of answer_i^(Delta l_i)  =  c^(Delta Delta f(0))  =  r^E   mod n           (core.secagg.sharing)
    check    R^N = c^E                                                     mod n
    c^E / R^N = (1 + n)^(m E)                                              mod n^(s+1)
    m = logarithm / E                                                      mod n^s         (core.secagg.logarithm)

**The check is exact.** Every number that shares no factor with n is the N-th power of exactly one such number mod n,
because N shares no factor with phi(n). So it holds for R = r^E and for no other number: a wrong answer never gives a
wrong sum. (One that is wrong by so little that R comes out right does no harm and may pass. If only the sign of R is
wrong, R^N is -c^E, since N is odd: then -R is taken.)

**Who has not combined checks all at once**, with random w_j (Bellare, Garay and Rabin, EUROCRYPT 1998):

    (product of R_j^w_j)^N (1 + n)^(E * sum of w_j m_j)  =  product of c_j^(E w_j)         mod n^(s+1)

Every number that shares no factor with n is (1 + n)^x y^N for exactly one x mod n^s and one y mod n. So the two sides
agree in x: the sum of w_j (m_j - true m_j) is 0 mod n^s, whatever the roots are. If some m_j is wrong, it is so modulo
p^s or q^s; then, the other w given, at most one w_j below that prime makes the sum 0. A wrong plaintext passes with a
chance of at most 2^-128, if the primes are above 2^128: for keys of 258 bits or more. Of the roots this says less: some
wrong ones, by the sign say, pass every other time.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import combinations

import gmpy2
from gmpy2 import mpz

from core.secagg.logarithm import exponential, logarithm
from core.secagg.powers import powers, product_of_powers
from core.secagg.scheme import PublicKey
from core.secagg.sharing import coefficients, delta

WEIGHT_BITS = 128

Answers = Mapping[int, Sequence[mpz]]
"""Units mod n by holder, one for each ciphertext."""


def roots_from(key: PublicKey, holders: int, answers: Answers) -> list[mpz]:
    """Return R for each ciphertext from the answers of exactly as many holders as are needed."""
    n = mpz(key.modulus)
    count = len(next(iter(answers.values())))
    above, below = [mpz(1)] * count, [mpz(1)] * count
    for holder, coefficient in coefficients(answers, holders).items():
        factors = gmpy2.powmod_base_list(list(answers[holder]), abs(coefficient), n)
        side = above if coefficient > 0 else below
        side[:] = [product * factor % n for product, factor in zip(side, factors, strict=True)]
    return [product * gmpy2.invert(divisor, n) % n for product, divisor in zip(above, below, strict=True)]


def promising(
    key: PublicKey, threshold: int, holders: int, ciphertexts: Sequence[mpz], answers: Answers
) -> list[tuple[int, ...]]:
    """Return the choices of holders whose answers may fit together: all that do, and hardly any others.

    What has to hold for every ciphertext is tried for one random product of them all. If there is but one choice, that
    is not worth the trouble.
    """
    choices = list(combinations(sorted(answers), threshold))
    if len(choices) == 1:
        return choices
    n = mpz(key.modulus)
    weights = _draw_weights(len(ciphertexts))
    product = product_of_powers([ciphertext % n for ciphertext in ciphertexts], weights, n)
    raised = gmpy2.powmod(product, _exponent(holders), n)
    mixed = {holder: [product_of_powers(numbers, weights, n)] for holder, numbers in answers.items()}

    def fits(chosen: tuple[int, ...]) -> bool:
        root = roots_from(key, holders, {holder: mixed[holder] for holder in chosen})[0]
        return gmpy2.powmod(root, n**key.degree, n) in (raised, n - raised)

    return [chosen for chosen in choices if fits(chosen)]


def open_with(
    key: PublicKey, holders: int, ciphertexts: Sequence[mpz], roots: Sequence[mpz]
) -> tuple[list[int], list[mpz]] | None:
    """Return the plaintexts and the roots with their right signs, or None if a root is not that of its ciphertext."""
    n, whole, exponent = mpz(key.modulus), _whole(key), _exponent(holders)
    raised = gmpy2.powmod_base_list(list(ciphertexts), exponent, whole)
    inverse = gmpy2.invert(exponent, n**key.degree)
    plaintexts, right = [], []
    for given, power, raised_root in zip(roots, raised, _noise(key, roots), strict=True):
        negative = (power + raised_root) % n == 0
        root, noise = (n - given, whole - raised_root) if negative else (given, raised_root)
        if (power - noise) % n:
            return None
        log = logarithm(power * gmpy2.invert(noise, whole) % whole, n, mpz(1), key.degree)
        plaintexts.append(int(log * inverse % n**key.degree))
        right.append(root)
    return plaintexts, right


def agree(
    key: PublicKey, holders: int, ciphertexts: Sequence[mpz], plaintexts: Sequence[int], roots: Sequence[mpz]
) -> bool:
    """Tell whether the plaintexts are those of the ciphertexts, wrongly with a chance of at most 2^-128."""
    n, whole, exponent = mpz(key.modulus), _whole(key), _exponent(holders)
    weights = _draw_weights(len(ciphertexts))
    root = product_of_powers(roots, weights, n)
    x = exponent * sum(weight * plaintext for weight, plaintext in zip(weights, plaintexts, strict=True))
    opened = _noise(key, [root])[0] * exponential(x, n, key.degree) % whole
    return bool(opened == gmpy2.powmod(product_of_powers(ciphertexts, weights, whole), exponent, whole))


def _noise(key: PublicKey, roots: Sequence[mpz]) -> list[mpz]:
    """Return R^(n^s) modulo n^(s+1), one n-th power after the other: x modulo n^k is enough for x^n modulo n^(k+1)."""
    n = mpz(key.modulus)
    noise = list(roots)
    for power in range(key.degree):
        noise = powers(noise, n, n ** (power + 2))
    return noise


def _draw_weights(count: int) -> list[int]:
    return [secrets.randbits(WEIGHT_BITS) for _ in range(count)]


def _exponent(holders: int) -> int:
    return delta(holders) ** 3


def _whole(key: PublicKey) -> mpz:
    return mpz(key.modulus) ** (key.degree + 1)
