"""Open a sum with the holders' answers, and check that it was opened right; no secret is needed.

The arithmetic is in core.secagg.roots; it needs no secret. What it makes public of each ciphertext of the sum is the
plaintext m and R, a power of the root r of the noise.

**R says no more than the sum does.** Suppose that all ciphertexts of the cohort are known but those of one honest
client. A party that also knows the sum m can make up an r with the same chances as the true one: draw it at random, and
divide (1 + n)^m r^(n^s) by the known ciphertexts. The quotient stands for the missing one, whose noise is as random; or
cannot be distinguished from random, if its exponents are short (core.secagg.noise). Of the answers of single holders,
core.secagg.key_share says the same.

That holds for a sum only. The r of a single ciphertext opens it for every party; so a holder answers for nothing but a
sum that it has added up itself, of a whole cohort, and once for each key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gmpy2 import mpz

from core.errors import Reason, Refused
from core.secagg.factory import payload_bytes
from core.secagg.paillier import split_ciphertexts
from core.secagg.products import all_units
from core.secagg.roots import agree, open_with, promising, roots_from
from core.secagg.scheme import PLAIN, PublicKey, join_payload, split_payload
from core.secagg.share_proof import Statement, proof_bytes, verify
from core.secagg.sharing import check_holders


def partial_bytes(key: PublicKey, count: int) -> int:
    """Return the length of one holder's answer for `count` ciphertexts."""
    return count * key.bits // 8


@dataclass(frozen=True, repr=False)
class OpenedSum:
    """A sum in clear, and what proves it.

    Attributes:
        plaintexts: one for each ciphertext, in [0, n^s).
        roots: R for each ciphertext, in (0, n); none with the scheme that encrypts nothing.
    """

    plaintexts: tuple[int, ...]
    roots: tuple[int, ...]

    def __repr__(self) -> str:
        return f"OpenedSum({len(self.plaintexts)} plaintexts)"

    def to_bytes(self, key: PublicKey) -> bytes:
        """Return all plaintexts and then all roots, as big-endian integers of fixed length."""
        return join_payload(self.plaintexts, key.plaintext_bytes) + join_payload(self.roots, key.bits // 8)

    @classmethod
    def from_bytes(cls, key: PublicKey, count: int, raw: bytes) -> OpenedSum:
        """Read what was opened of `count` ciphertexts.

        Raises Refused: WRONG_LENGTH, or WRONG_OPENING if a number is out of range.
        """
        roots = 0 if key.scheme == PLAIN else count
        cut = count * key.plaintext_bytes
        if len(raw) != cut + roots * key.bits // 8:
            sentence = f"the opened sum has {len(raw)} bytes; expected {cut + roots * key.bits // 8}"
            raise Refused(Reason.WRONG_LENGTH, sentence)
        plaintexts = split_payload(raw[:cut], count, key.plaintext_bytes)
        opened = cls(tuple(plaintexts), tuple(split_payload(raw[cut:], roots, key.bits // 8)))
        _check_form(key, count, opened)
        return opened


def answer_bytes(key: PublicKey, threshold: int, holders: int, count: int) -> int:
    """Return the length of one holder's answer with its proof."""
    return partial_bytes(key, count) + proof_bytes(key, threshold, holders)


def partial_of(key: PublicKey, count: int, answer: bytes) -> bytes:
    """Return an answer without its proof."""
    return answer[: partial_bytes(key, count)]


def check_answer(statement: Statement, raw: bytes) -> bytes:
    """Check an answer and its proof as soon as it comes; return it without the proof.

    Raises Refused: WRONG_LENGTH, or WRONG_SHARE if it was not made with the holder's share.
    """
    key, size = statement.key, payload_bytes(statement.key, 1)
    count = len(statement.total) // size
    expected = answer_bytes(key, statement.threshold, statement.holders, count)
    if len(raw) != expected:
        sentence = f"holder {statement.holder}'s answer has {len(raw)} bytes with its proof; expected {expected}"
        raise Refused(Reason.WRONG_LENGTH, sentence)
    partial = partial_of(key, count, raw)
    numbers = _read_partial(key, count, statement.holder, partial)
    if key.scheme != PLAIN:
        verify(statement, partial, numbers, raw[len(partial) :])
    elif partial != statement.total:  # nothing is secret: each answer is the sum itself
        raise Refused(Reason.WRONG_SHARE, f"holder {statement.holder}'s answer is not the sum")
    return partial


def combine(key: PublicKey, threshold: int, holders: int, total: bytes, partials: Mapping[int, bytes]) -> OpenedSum:
    """Open a sum with the answers of `threshold` or more holders; if there are more, some may be wrong.

    Args:
        total: the sum's ciphertexts, as an Adder gives them.
        partials: the answers by the holder's number.

    Raises:
        Refused: WRONG_SHARE if no `threshold` of the answers fit together, or one is not even a number below n; or
            WRONG_LENGTH. BAD_CIPHERTEXT if the sum is not one.
        SettingsError: not 1 <= threshold <= holders <= 10.
        ValueError: fewer answers than the threshold, or of holders that there are not.
    """
    _check_answers(threshold, holders, partials)
    ciphertexts = _split(key, total)
    answers = {holder: _read_partial(key, len(ciphertexts), holder, raw) for holder, raw in partials.items()}
    if key.scheme == PLAIN:
        if sum(partial == total for partial in partials.values()) < threshold:
            raise _wrong_share(threshold, partials)
        return OpenedSum(tuple(map(int, ciphertexts)), ())
    for chosen in promising(key, threshold, holders, ciphertexts, answers):
        roots = roots_from(key, holders, {holder: answers[holder] for holder in chosen})
        if (opened := open_with(key, holders, ciphertexts, roots)) is not None:
            return OpenedSum(tuple(opened[0]), tuple(map(int, opened[1])))
    raise _wrong_share(threshold, partials)


def verify_opened(key: PublicKey, threshold: int, holders: int, total: bytes, opened: OpenedSum) -> None:
    """Check, without the answers, that the plaintexts are those of the sum.

    Raises Refused: WRONG_OPENING (with a chance of at most 2^-128 to miss it), or BAD_CIPHERTEXT if the sum is not one.
    """
    check_holders(threshold, holders)
    ciphertexts = _split(key, total)
    _check_form(key, len(ciphertexts), opened)
    if key.scheme == PLAIN:
        right = list(opened.plaintexts) == ciphertexts
    else:
        right = agree(key, holders, ciphertexts, opened.plaintexts, [mpz(root) for root in opened.roots])
    if not right:
        raise _wrong_opening("the plaintexts are not those of the sum")


# --- Reading ---


def _check_answers(threshold: int, holders: int, partials: Mapping[int, bytes]) -> None:
    check_holders(threshold, holders)
    if len(partials) < threshold or not all(1 <= holder <= holders for holder in partials):
        raise ValueError(f"the answers are of holders {_names(partials)}; expected {threshold} or more of {holders}")


def _split(key: PublicKey, total: bytes) -> list[mpz]:
    """Cut a sum into its ciphertexts, or its plaintexts if it is not encrypted."""
    size = payload_bytes(key, 1)
    numbers, n = split_ciphertexts(total, len(total) // size, size), mpz(key.modulus)
    limit = n ** (key.degree + 1)
    if key.scheme != PLAIN and not (
        all(number < limit for number in numbers) and all_units([number % n for number in numbers], n)
    ):
        raise Refused(Reason.BAD_CIPHERTEXT, "the sum is not made of ciphertexts under this key")
    return numbers


def _read_partial(key: PublicKey, count: int, holder: int, raw: bytes) -> list[mpz]:
    expected = partial_bytes(key, count)
    if len(raw) != expected:
        raise Refused(Reason.WRONG_LENGTH, f"holder {holder}'s answer has {len(raw)} bytes; expected {expected}")
    numbers, n = split_ciphertexts(raw, count, key.bits // 8), mpz(key.modulus)
    if key.scheme != PLAIN and not (all(0 < number < n for number in numbers) and all_units(numbers, n)):
        sentence = f"holder {holder}'s answer has a number that is not between 0 and n, or shares a factor with n"
        raise Refused(Reason.WRONG_SHARE, sentence)
    return numbers


def _check_form(key: PublicKey, count: int, opened: OpenedSum) -> None:
    limit = 1 << key.bits if key.scheme == PLAIN else key.modulus**key.degree
    if len(opened.plaintexts) != count or not all(0 <= plaintext < limit for plaintext in opened.plaintexts):
        raise _wrong_opening(f"expected {count} plaintexts, each from 0 to below n^{key.degree}")
    roots = 0 if key.scheme == PLAIN else count
    if len(opened.roots) != roots or not all(0 < root < key.modulus for root in opened.roots):
        raise _wrong_opening(f"expected {roots} roots, each between 0 and n")


def _wrong_share(threshold: int, partials: Mapping[int, bytes]) -> Refused:
    kind = "at least one of them is wrong" if len(partials) == threshold else f"no {threshold} of them fit together"
    return Refused(Reason.WRONG_SHARE, f"the answers of holders {_names(partials)} do not open the sum: {kind}")


def _wrong_opening(problem: str) -> Refused:
    return Refused(Reason.WRONG_OPENING, f"the sum was not opened right: {problem}")


def _names(partials: Mapping[int, bytes]) -> str:
    return ", ".join(map(str, sorted(partials)))
