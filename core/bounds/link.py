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

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gmpy2 import mpz

from core.bounds.field import Elements
from core.bounds.parameters import Parameters
from core.bounds.transcript import Statement
from core.secagg.logarithm import exponential
from core.secagg.powers import powers, product_of_powers

POWER_BITS = 96
"""Of the random powers of equations that are checked together."""


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
    return exponential(message, n, degree) * powers([root], n**degree, whole)[0] % whole


@dataclass(frozen=True)
class Equation:
    """What has to hold of one update's ciphertexts: left = (1 + n)^message root^n mod n^(degree + 1)."""

    n: mpz
    degree: int
    left: mpz
    message: mpz
    root: mpz

    @classmethod
    def of(
        cls, parameters: Parameters, statement: Statement, mask: mpz, root: mpz, x: Elements, sums: Elements
    ) -> Equation:
        """Return the equation of the masked combination of the ciphertexts, as the sums and the root say it."""
        n, degree, mixed = statement.modulus, statement.degree, exponents(parameters, x)
        whole = n ** (degree + 1)
        left = product_of_powers(statement.ciphertexts, mixed, whole) * mask % whole
        return cls(n, degree, left, plaintext(parameters, sum(mixed), sums), root)

    def holds(self) -> bool:
        """Return whether both sides are the same."""
        return bool(self.left == encrypt(self.n, self.degree, self.message, self.root))


def all_hold(equations: Sequence[Equation], random_bits: Callable[[int], int] = secrets.randbits) -> bool:
    """Return whether the product of all equations, each raised to a random power, holds; all of one modulus.

    If it does, each message is right, but with a chance of 2^-96. For every unit is (1 + n)^a r^n with one a modulo
    n^degree; let d be what an equation's a is more than its message. The powers' sum of all d is 0 modulo n^degree, so
    modulo a prime factor of n as well; and where some d is not 0 modulo such a factor, one power at most makes it so,
    whatever the others are. (As factors of n are longer than the powers, that is one of 2^96.) A root may be wrong by
    a factor of small order, such as -1, and the product hold: that says nothing of the message, which is all that is
    proven. Chosen after the equations and kept by whoever checks, the powers can be foreseen by nobody (Bellare, Garay
    and Rabin, EUROCRYPT 1998, have this test for groups of prime order).
    """
    if len(equations) < 2:
        return all(equation.holds() for equation in equations)
    n, degree = equations[0].n, equations[0].degree
    chosen = [random_bits(POWER_BITS) for _ in equations]
    left = product_of_powers([equation.left for equation in equations], chosen, n ** (degree + 1))
    message = sum((e * equation.message for e, equation in zip(chosen, equations, strict=True)), mpz(0))
    root = product_of_powers([equation.root for equation in equations], chosen, n)
    return Equation(n, degree, left, message, root).holds()
