"""Every way to lie, and what is to stop it."""

from __future__ import annotations

import os

from core.errors import Reason
from core.secagg.encoding import IntArray
from experiments.cheating_client import lies
from experiments.cheating_client.forge import Forge
from experiments.cheating_client.lie import By, Gain, Off, Row
from experiments.cheating_client.lies import counted, first_ciphertext, in_both, in_plaintexts, metrics, with_proof

BAD, FALSE = Reason.BAD_CIPHERTEXT, Reason.WRONG_PROOF
ENDED, COPIED, NOTHING = Gain.ENDED, Gain.COPIED, Gain.NOTHING
UPDATES, NO_PROOFS, KEPT = Off.UPDATES, Off.NO_PROOFS, Off.NOTHING
ZERO = first_ciphertext(lambda _: 0)


def large(forge: Forge, slots: IntArray) -> IntArray:
    """Return the slots with a change that is too large."""
    return lies.boosted(forge, slots)


def small(forge: Forge, slots: IntArray) -> IntArray:
    """Return the slots with a change that is too small to be allowed."""
    return lies.boosted(forge, slots, -80_000)


CIPHERTEXTS = (
    Row("1a", "a ciphertext that is 0", ZERO, BAD, gain=ENDED, off=UPDATES),
    Row("1b", "a ciphertext that is n", first_ciphertext(lambda n: n), BAD, gain=ENDED, off=UPDATES),
    Row("1c", "a ciphertext above n²", first_ciphertext(lambda n: n * n + 5), BAD, gain=ENDED, off=UPDATES),
)
RANGES = (
    Row("2a", "a large change, which the proof does not have", lies.only_in_ciphertexts, FALSE, "link"),
    Row("2b", "a large change, in the proof too", in_both(large), FALSE, "sum"),
    Row("2c", "a large change downwards", in_both(small), FALSE, "sum"),
    Row("2d", "numbers in the places of bits", lies.not_bits, FALSE, "sum"),
    Row("2e", "equations mended to the right sum", in_both(large, mend=True), FALSE, "equations"),
    Row("2f", "columns made up afterwards", in_both(large, mend=True, make_up=True), FALSE, "committed"),
    Row(
        "2g", "columns of no polynomial", in_both(large, columns=lies.altered_columns), FALSE,
        "rows", also=("sum", "equations"),
    ),
)  # fmt: skip
COUNTERS = (
    Row("3a", "an update that counts twice", in_plaintexts(lambda _p, _s: 1), FALSE, "link", gain=ENDED),
    Row("3b", "an update that does not count", in_plaintexts(lambda _p, _s: -1, 1), FALSE, "link", gain=ENDED),
    Row(
        "3c", "something above all slots", in_plaintexts(lambda p, s: 1 << ((p.per_row + 1) * s + 3)), FALSE,
        "link", gain=ENDED,
    ),
    Row(
        "3d", "something in an unused slot", in_plaintexts(lambda p, s: 3 << (p.per_row * s), -1), FALSE,
        "link", gain=ENDED,
    ),
)  # fmt: skip
METRICS = (
    Row("4a", "a loss that is too large", in_both(metrics(70_000)), FALSE, "sum", gain=ENDED),
    Row("4b", "150,000 answers", in_both(metrics(9, 150_000, 0, 0, 0)), FALSE, "sum", gain=Gain.COUNTED),
    Row("4c", "a loss without an example", in_both(metrics(65_535, 0, 0, 0, 0)), FALSE, "sum", gain=ENDED),
    Row("5a", "a large change with a small count", in_both(counted(1, 1, 3)), FALSE, "sum", count_cap=9),
    Row("5b", "a count above the cap", in_both(counted(20, 20, 20)), FALSE, "sum", count_cap=9),
    Row("5c", "a count above its examples", in_both(counted(9, 1, 9)), FALSE, "sum", gain=ENDED, count_cap=9),
    Row("5d", "a change with a count of 0", in_both(counted(0, 1, 2)), FALSE, "sum", count_cap=9),
)
PROOFS = (
    Row(
        "6a", "no proof", with_proof(lambda _f, _s, _h: b""), Reason.WRONG_DESCRIPTION, off=NO_PROOFS, named=False,
    ),
    Row(
        "6b", "a proof that is too short", with_proof(lambda _f, _s, h: h.proof[:100]), Reason.WRONG_LENGTH,
        off=NO_PROOFS, named=False,
    ),
    Row("6c", "half a proof, then zeros", with_proof(lambda _f, _s, h: lies.half(h.proof)), FALSE, off=UPDATES),
    Row("6d", "random bytes", with_proof(lambda _f, _s, h: os.urandom(len(h.proof))), FALSE, off=UPDATES),
    Row("6e", "the proof of other ciphertexts", with_proof(lambda _f, _s, h: h.proof), FALSE, off=UPDATES),
    Row("6f", "another client's proof", with_proof(lambda f, _s, _h: f.others.proof), FALSE, off=UPDATES),
    Row("6g", "the proof of an earlier round", lies.earlier_proof, FALSE, off=UPDATES, rounds=2),
    Row("6h", "a proof in another's name", lies.in_anothers_name, FALSE, off=UPDATES, gain=NOTHING),
)  # fmt: skip
COPIES = (
    Row("7a", "another's update", lies.copied, Reason.COPIED, off=KEPT, gain=NOTHING, named=False),
    Row(
        "7b", "another's ciphertexts with a proof", lies.copied_with_other_proof, Reason.COPIED, off=KEPT,
        gain=NOTHING, named=False,
    ),
    Row("7c", "another's, under a false digest", lies.disguised, Reason.WRONG_DIGEST, off=UPDATES, gain=COPIED),
    Row("7d", "another's, blinded anew", lies.blinded_anew, FALSE, off=UPDATES, gain=COPIED),
)  # fmt: skip
UPLOADS = (
    Row(
        "8a", "swapped after committing", lies.honest, Reason.WRONG_DIGEST, off=KEPT, gain=NOTHING,
        named=False, uploads=lies.sent_as(lies.flipped),
    ),
    Row(
        "8b", "of another length than committed to", lies.honest, Reason.WRONG_LENGTH, off=KEPT, gain=NOTHING,
        named=False, uploads=lies.sent_as(lambda payload: payload[:100]),
    ),
)  # fmt: skip
PASSED_ON = (
    Row("9a", "passed on: a large change", lies.only_in_ciphertexts, FALSE, "link", by=By.HOLDER, passed_on=True),
    Row(
        "9b", "passed on: another client's proof", with_proof(lambda f, _s, _h: f.others.proof), FALSE, by=By.HOLDER,
        off=UPDATES, passed_on=True,
    ),
    Row("9c", "passed on: a ciphertext that is 0", ZERO, BAD, by=By.HOLDER, off=UPDATES, gain=ENDED, passed_on=True),
)  # fmt: skip
ROWS = (*CIPHERTEXTS, *RANGES, *COUNTERS, *METRICS, *PROOFS, *COPIES, *UPLOADS, *PASSED_ON)
"""In the order of the page."""


def chosen(quick: bool) -> tuple[Row, ...]:
    """Return all lies; in the quick form the first of each kind."""
    return tuple(row for row in ROWS if not quick or row.number.endswith("a"))
