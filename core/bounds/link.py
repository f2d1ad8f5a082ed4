"""What ties the committed numbers to the ciphertexts: one random combination of all plaintexts, opened under a mask.

Ciphertext k is c_k = (1 + n)^m_k r_k^n mod n², and m_k = 1 + sum over s of v_ks 2^(w s): the counter, and the slots.
With random x_k, and one more ciphertext c_Y of the masks y,

    product of c_k^x_k  c_Y  =  (1 + n)^(sum of x_k m_k + Y)  (r_Y product of r_k^x_k)^n  mod n²

so whoever knows the masked sums z_s = y_s + sum of x_k v_ks and the root on the right can check the left. Every number
without a factor of n is such a product in one way only; if some m_k is not what its slots say, then modulo a prime
factor of n at most one x_k makes the two sides equal. (With Damgård and Jurik's longer plaintexts, n² and n³ take the
places of n and n².)
"""

from __future__ import annotations

from collections.abc import Sequence

import gmpy2
from gmpy2 import mpz

from core.bounds.field import Elements
from core.bounds.parameters import Parameters
from core.secagg.logarithm import exponential
from core.secagg.powers import product_of_powers


def exponents(parameters: Parameters, x: Elements) -> list[int]:
    """Return x_k, made of the independent shorter numbers of shape (links, plaintexts), side by side."""
    return [_side_by_side(parameters, column) for column in x.T]


def plaintext(parameters: Parameters, counters: int, sums: Elements) -> mpz:
    """Return what a plaintext with these sums, shape (links, slots), and this counter holds."""
    packed = mpz(0)
    for column in reversed(sums.T):
        packed = (packed << parameters.slot_bits) + _side_by_side(parameters, column)
    return (packed << parameters.slot_bits) + counters


def _side_by_side(parameters: Parameters, numbers: Elements) -> int:
    return sum(int(number) << (parameters.link_bits * link) for link, number in enumerate(numbers))


def encrypt(n: mpz, degree: int, message: mpz, root: mpz) -> mpz:
    """Return the ciphertext of a message with a noise whose root is known, mod n², or n³ for the degree 2."""
    whole = n ** (degree + 1)
    return exponential(message, n, degree) * gmpy2.powmod(root, n**degree, whole) % whole


def holds(
    parameters: Parameters,
    n: mpz,
    degree: int,
    ciphertexts: Sequence[mpz],
    mask: mpz,
    root: mpz,
    x: Elements,
    sums: Elements,
) -> bool:
    """Return whether the masked combination of the ciphertexts is what the sums and the root say."""
    mixed = exponents(parameters, x)
    whole = n ** (degree + 1)
    left = product_of_powers(ciphertexts, mixed, whole) * mask % whole
    return bool(left == encrypt(n, degree, plaintext(parameters, sum(mixed), sums), root))
