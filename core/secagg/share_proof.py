"""The proof that a key holder's answer was made with its own share: one for all ciphertexts of a sum.

Holder i's answer is a_k = c_k^x for each ciphertext c_k, x = Delta f(i) (core.secagg.key_share). When the key is dealt,
its certificate gets v_i = v^x mod n for each holder, v a square that follows from n. The proof says that the answer's x
is that of v_i (Shoup, EUROCRYPT 2000, section 3). Weights w_k of 128 bits, which follow from all that is claimed, make
one claim of many (Bellare, Garay and Rabin, EUROCRYPT 1998), and squares leave only numbers of odd order:

    C = product of c_k^(2 w_k),   A = product of a_k^(2 w_k)        claimed: A = C^x and v_i = v^x, with one x
    holder:   rho random, V = v^rho, B = C^rho,   e = hash of all before and V, B,   z = rho + e x
    check:    e = hash of all before and v^z / v_i^e, C^z / A^e

The proof is (e, z). An answer counts up to its sign: the squares do not show it, and roots.open_with puts it right. Why
a wrong answer passes only if its holder can factor n, and what z gives away, is in docs/shares.md.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

import gmpy2
from gmpy2 import mpz

from core.errors import Reason, Refused
from core.hashing import hash_parts
from core.secagg.paillier import ciphertext_bytes, split_ciphertexts
from core.secagg.powers import powers, product_of_powers, secret_powers
from core.secagg.scheme import PLAIN, PublicKey, join_payload, split_payload
from core.secagg.sharing import delta, share_bits

CHALLENGE_BYTES = WEIGHT_BYTES = 16
HIDING_BITS = 128
"""rho is so many bits longer than what it hides, so z says less than 2 to minus this of the share."""
_DOMAIN, _BASE = b"grokfed share proof v1", b"grokfed share base v1"


@dataclass(frozen=True, repr=False)
class Statement:
    """What an answer is claimed to be, all of it public.

    Attributes:
        holder: its number, 1 to `holders`.
        value: v_i, from the key's certificate; 0 with the scheme that encrypts nothing.
        context: says, injectively, by which certificate and for which request; the proof holds for no other.
        total: the sum's ciphertexts, which the caller has checked to be units.
    """

    key: PublicKey
    threshold: int
    holders: int
    holder: int
    value: int
    context: bytes
    total: bytes

    def __repr__(self) -> str:
        return f"Statement(holder {self.holder}, {self.key.bits} bits)"


def modulo_n(key: PublicKey, total: bytes) -> list[mpz]:
    """Return a sum's ciphertexts modulo n. Raises Refused(WRONG_LENGTH)."""
    size, n = ciphertext_bytes(key), mpz(key.modulus)
    return [number % n for number in split_ciphertexts(total, len(total) // size, size)]


def exponent_bits(key: PublicKey, threshold: int, holders: int) -> int:
    """Return how many bits x has at the most."""
    return share_bits(key.bits, threshold, holders) + delta(holders).bit_length()


def base(key: PublicKey) -> mpz:
    """Return v: the square of a number that is hashed from n, of 128 bits more so that all are as likely."""
    size = key.bits // 8 + HIDING_BITS // 8
    drawn = hashlib.shake_256(_BASE + key.modulus.to_bytes(key.bits // 8, "big")).digest(size)
    return mpz.from_bytes(drawn, "big") ** 2 % key.modulus


def values_to_bytes(key: PublicKey, values: Sequence[int]) -> bytes:
    """Return verification values as numbers of bits / 8 bytes."""
    return join_payload(values, key.bits // 8)


def values_from_bytes(key: PublicKey, holders: int, raw: bytes) -> tuple[int, ...]:
    """Return a value for each holder; none in plain, or of a key that was dealt before there were any.

    Raises Refused(MALFORMED).
    """
    count, size = 0 if key.scheme == PLAIN else holders, key.bits // 8
    if raw and len(raw) != count * size:
        sentence = f"the verification values of a key have {len(raw)} bytes; expected {count} times {size}"
        raise Refused(Reason.MALFORMED, sentence)
    return tuple(split_payload(raw, count, size)) if raw else ()


def check_values(key: PublicKey, values: Sequence[int]) -> None:
    """Raise Refused(BAD_KEY) unless all verification values of a key are units modulo n."""
    if not all(0 < value < key.modulus and gmpy2.gcd(value, key.modulus) == 1 for value in values):
        message = "a verification value of the key is not between 0 and n, or shares a factor with n"
        raise Refused(Reason.BAD_KEY, message)


def proof_bytes(key: PublicKey, threshold: int, holders: int) -> int:
    """Return the length of a proof; 0 with the scheme that encrypts nothing."""
    if key.scheme == PLAIN:
        return 0
    return CHALLENGE_BYTES + -(-(_mask_bits(key, threshold, holders) + 1) // 8)


def prove(statement: Statement, partial: bytes, exponent: int) -> bytes:
    """Return the proof that each number of an answer is its ciphertext's power with the exponent of v_i.

    Args:
        exponent: x, the secret.
    """
    key = statement.key
    n, about = mpz(key.modulus), (key, statement.threshold, statement.holders)
    seed, bits = _seed(statement, partial), _mask_bits(*about)
    mixed = _combined(modulo_n(key, statement.total), seed, n)
    mask = secrets.randbits(bits)
    challenge = _challenge(seed, *secret_powers([base(key), mixed], mask, bits, n))
    response = mask + int.from_bytes(challenge, "big") * exponent
    return challenge + response.to_bytes(proof_bytes(*about) - CHALLENGE_BYTES, "big")


def verify(statement: Statement, partial: bytes, numbers: Sequence[mpz], proof: bytes) -> None:
    """Raise Refused(WRONG_SHARE) unless the proof shows that the answer was made with the share of its holder.

    Args:
        partial, numbers: the answer, as bytes and as units modulo n; one for each ciphertext.
    """
    key, n = statement.key, mpz(statement.key.modulus)
    right = len(proof) == proof_bytes(key, statement.threshold, statement.holders)
    if right:
        seed, challenge = _seed(statement, partial), proof[:CHALLENGE_BYTES]
        e, z = (mpz.from_bytes(part, "big") for part in (challenge, proof[CHALLENGE_BYTES:]))
        bases = [base(key), _combined(modulo_n(key, statement.total), seed, n)]
        images = [gmpy2.invert(number, n) for number in (mpz(statement.value), _combined(numbers, seed, n))]
        committed = [up * down % n for up, down in zip(powers(bases, z, n), powers(images, e, n), strict=True)]
        right = challenge == _challenge(seed, *committed)
    if not right:
        sentence = f"the answer of holder {statement.holder} is not proven to be made with its share of the key"
        raise Refused(Reason.WRONG_SHARE, sentence)


def _mask_bits(key: PublicKey, threshold: int, holders: int) -> int:
    return exponent_bits(key, threshold, holders) + 8 * CHALLENGE_BYTES + HIDING_BITS


def _combined(numbers: Sequence[mpz], seed: bytes, n: mpz) -> mpz:
    """Return the square of the product of all number^w_k."""
    return product_of_powers(numbers, _weights(seed, len(numbers)), n) ** 2 % n


# -------------------------------------------------------------------------------- the questions, in their order


def _seed(statement: Statement, partial: bytes) -> bytes:
    """Return the hash of all that is claimed, which decides the weights."""
    key = statement.key
    shape = f"{key.scheme} {key.bits} {statement.threshold} {statement.holders} {statement.holder}"
    numbers = (number.to_bytes(key.bits // 8, "big") for number in (key.modulus, statement.value))
    sums = (hashlib.sha256(part).digest() for part in (statement.total, partial))
    return hash_parts(_DOMAIN, shape.encode(), *numbers, statement.context, *sums)


def _weights(seed: bytes, count: int) -> list[int]:
    raw = hashlib.shake_256(seed).digest(count * WEIGHT_BYTES)
    return [int.from_bytes(raw[start : start + WEIGHT_BYTES], "big") for start in range(0, len(raw), WEIGHT_BYTES)]


def _challenge(seed: bytes, first: mpz, second: mpz) -> bytes:
    """Return e, after the commitments to both powers."""
    return hash_parts(seed, f"{first:x}".encode(), f"{second:x}".encode())[:CHALLENGE_BYTES]
