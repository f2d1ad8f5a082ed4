"""Open a sum with the holders' answers, and check that it was opened right: what anybody may do.

The arithmetic is in core.secagg.roots; it needs no secret. What it makes public of each ciphertext of the sum is the
plaintext m and R, a power of the root r of the noise.

**R says no more than the sum does.** Suppose that all ciphertexts of the cohort are known but those of one honest
client. Whoever knows the sum m as well can make up an r with the same chances as the true one: draw it at random, and
divide (1 + n)^m r^(n^s) by the known ciphertexts. The quotient stands for the missing one, whose noise is as random; or
cannot be told from random, if its exponents are short (core.secagg.noise). Of the answers of single holders,
core.secagg.key_share says the same.

That holds for a sum only. The r of a single ciphertext opens it for everybody; so a holder answers for nothing but a
sum that it has added up itself, of a whole cohort, and once for each key.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from gmpy2 import mpz

from core.errors import Reason, Refused
from core.secagg.factory import payload_bytes
from core.secagg.paillier import split_ciphertexts
from core.secagg.products import all_units
from core.secagg.roots import agree, open_with, promising, roots_from
from core.secagg.scheme import PLAIN, PublicKey, join_payload, split_payload
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


def check_partial(key: PublicKey, count: int, holder: int, raw: bytes) -> None:
    """Check what can be seen at once of a holder's answer: its length, and that each number can be a power mod n.

    Raises Refused: WRONG_LENGTH or WRONG_SHARE.
    """
    _read_partial(key, count, holder, raw)


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
        if (plaintexts := open_with(key, holders, ciphertexts, roots)) is not None:
            return OpenedSum(tuple(plaintexts), tuple(map(int, roots)))
    raise _wrong_share(threshold, partials)


def wrong_holders(
    key: PublicKey, threshold: int, holders: int, total: bytes, partials: Mapping[int, bytes], opened: OpenedSum
) -> frozenset[int]:
    """Return the holders whose answers fit the opened sum in the company of no others.

    A holder who is alone in answering wrong is named, unless the sum opens with that answer too. As long as `threshold`
    of the answers are right, no holder that answered right is named, whatever the others agreed on: they may hide each
    other, but cannot have changed the sum.

    Args: as of combine.
        opened: what `combine` gave.

    Raises: as combine, but for WRONG_SHARE, since all that are no numbers below n are wrong.
    """
    _check_answers(threshold, holders, partials)
    if key.scheme == PLAIN:
        return frozenset(holder for holder, partial in partials.items() if partial != total)
    answers = {}
    for holder, raw in partials.items():
        try:
            answers[holder] = _read_partial(key, len(opened.roots), holder, raw)
        except Refused:
            continue
    right: set[int] = set()
    for chosen in combinations(sorted(answers), threshold):
        if not right.issuperset(chosen):
            roots = roots_from(key, holders, {holder: answers[holder] for holder in chosen})
            right.update(chosen if tuple(roots) == opened.roots else ())
    return frozenset(partials) - right


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
