"""Deal a key out: make it, share its secret among holders, forget it.

The secret is D = 1 / n^s modulo lambda(n), which takes the noise out of a ciphertext (core.secagg.key_share); it exists
because n, a product of two primes of one length, shares no factor with lambda(n). The dealer draws a polynomial of
whole numbers

    f(x) = Delta D + a_1 x + ... + a_(t-1) x^(t-1),       Delta = holders!, each a_k uniform in [0, A)

and holder i gets f(i). t of them give Delta f(0) (core.secagg.sharing). It cannot be done modulo lambda(n), as Shamir
does, for who knows lambda(n) has factored n; so the a_k must be large instead (Rabin, CRYPTO 98).

Why t - 1 shares say nothing of D. Let S be any t - 1 holders, and D' any other secret, 0 <= D' < 2^bits. Then

    h(x) = (D' - D) Delta * product over i in S of (i - x) / i

is 0 at every i in S and (D' - D) Delta at 0, so f + h deals the same shares to S, and D' to all. Its coefficients are
whole, since Delta is a multiple of the product of the i; and apart from the one at 0, in absolute value, they add up to
less than 2^bits Delta ((1 + 1/1)(1 + 1/2) ... (1 + 1/(t-1)) - 1) = 2^bits Delta (t - 1). If f has the a_k of D, f + h
has those of D' moved by that little: of all choices of a_k, no more than a part (t - 1) Delta 2^bits / A leaves the
range. With A = Delta 2^(bits + 128 + 4) and t <= 10 this is below 2^-128: so near are what S gets for D and for D'.

With the shares go v^(Delta f(i)) mod n, for everyone to see: what each holder's answers are proven by, and what it
checks its own share by (core.secagg.share_proof). With t - 1 shares and n anyone can make up the others' values
(docs/shares.md), so they say nothing more.
The dealer could decrypt everything, so all parties must trust it to keep nothing.

Only the registrar may import this module.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz
from phe import PaillierPrivateKey

from core.secagg.key_share import KeyShare
from core.secagg.scheme import PLAIN, PublicKey, check_key_bits
from core.secagg.share_proof import base
from core.secagg.sharing import check_holders, delta, mask_limit
from registrar.key_generation import generate_private_key


@dataclass(frozen=True)
class DealtKey:
    """A public key, a share for each holder, holder 1 first, and the values that their answers are proven by."""

    public_key: PublicKey
    shares: tuple[KeyShare, ...]
    values: tuple[int, ...]


def deal(scheme: str, bits: int, threshold: int, holders: int) -> DealtKey:
    """Make a fresh key of exactly `bits` bits of which `threshold` of the holders together open a sum.

    Raises SettingsError unless 1 <= threshold <= holders <= 10 and the scheme has keys of such a size (whether so short
    a one protects anything is for the caller to judge).
    """
    check_holders(threshold, holders)
    check_key_bits(scheme, bits, insecure_demo_keys=True)
    if scheme == PLAIN:
        key = PublicKey(PLAIN, bits)
        return DealtKey(key, tuple(KeyShare(i, threshold, holders, key, 0) for i in range(1, holders + 1)), ())
    private = generate_private_key(bits)
    key = PublicKey(scheme, bits, int(private.public_key.n))
    secret = pow(key.modulus**key.degree, -1, math.lcm(private.p - 1, private.q - 1))
    polynomial = draw_polynomial(secret, bits, threshold, holders)
    shares = tuple(KeyShare(i, threshold, holders, key, evaluate(polynomial, i)) for i in range(1, holders + 1))
    return DealtKey(key, shares, tuple(_value(share, private) for share in shares))


def _value(share: KeyShare, private: PaillierPrivateKey) -> int:
    """Return v^(Delta f(i)) mod n, computed modulo p and modulo q, which takes a quarter of the time."""
    v, exponent = base(share.public_key), delta(share.holders) * share.exponent
    p, q = mpz(private.p), mpz(private.q)
    of_p, of_q = (gmpy2.powmod_sec(v % prime, exponent % (prime - 1), prime) for prime in (p, q))
    return int(of_q + q * ((of_p - of_q) * gmpy2.invert(q, p) % p))


def draw_polynomial(secret: int, bits: int, threshold: int, holders: int) -> list[int]:
    """Return the coefficients of f, the one at x^0 first, with masks of the operating system's randomness."""
    limit = mask_limit(bits, holders)
    return [delta(holders) * secret, *(secrets.randbelow(limit) for _ in range(threshold - 1))]


def evaluate(polynomial: Sequence[int], x: int) -> int:
    """Return the value of a polynomial at x."""
    return sum(coefficient * x**power for power, coefficient in enumerate(polynomial))
