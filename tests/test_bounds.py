"""Honest proofs of ranges pass, show nothing but what they are to, and hold for their own bytes only."""

from __future__ import annotations

import hashlib
import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz
from liars import (
    BITS,
    COUNTED,
    FIRST,
    NORM,
    OFFSET,
    VALUES,
    P,
    Sent,
    check,
    counted_slots,
    encoding,
    honest_slots,
    packed,
    refused_by,
    sent,
    with_slot,
)

from core.bounds import field
from core.bounds.field import PRIME
from core.bounds.parameters import LONG, MEDIUM, SHORT, Difference, Parameters, Strength, parameters_for
from core.bounds.proof import Attempt, Witness, prove
from core.bounds.transcript import Statement, longest, part_sizes, split
from core.bounds.verification import verify
from core.errors import SettingsError
from core.secagg.encoding import LARGEST_CHANGE, Encoding

# ------------------------------------------------------------------------------------------------ honest proofs


def extreme_slots() -> dict[str, Any]:
    changes = {
        "as large as may be": [LARGEST_CHANGE] * VALUES,
        "as small as may be": [-LARGEST_CHANGE] * VALUES,
        "nothing": [0] * VALUES,
        "both extremes": [LARGEST_CHANGE, -LARGEST_CHANGE] * (VALUES // 2),
    }
    metrics = {
        "as large as may be": [65_535, 65_535, 0, 0, 0],
        "as small as may be": [0, 0, 0, 0, 0],
        "nothing": [65_535, 0, 0, 0, 1],
        "both extremes": [1, 0, 1, 0, 0],
    }
    return {name: np.array([*metrics[name], *(OFFSET + each for each in changes[name])]) for name in changes}


@pytest.mark.parametrize("name", extreme_slots())
def test_honest_extremes_pass(name):
    said = sent(P, extreme_slots()[name])
    check(said, prove(P, said.statement, said.witness))


@pytest.mark.parametrize(
    "changed",
    [
        replace(P, strength=MEDIUM),
        replace(P, strength=LONG),
        replace(P, norm=NORM),
        parameters_for(encoding(), metrics=False),
    ],
)
def test_honest_proofs_of_every_setting_pass(changed):
    slots = honest_slots(changed)
    slots[changed.metrics : FIRST] = 0
    said = sent(changed, slots)
    check(said, prove(changed, said.statement, said.witness))


def test_the_bounds_are_those_of_the_argument():
    assert P.bound == 32_767**2 - 2**26
    assert LARGEST_CHANGE == 31_726
    for strength in (SHORT, MEDIUM, LONG):
        agreement = 7 / 6 * (strength.length / strength.columns) ** 0.5
        assert agreement**strength.opened < 2**-81.8
    assert P.projections == P.links * P.link_bits == 90


@pytest.mark.parametrize(
    "slots",
    [
        with_slot(FIRST, OFFSET + LARGEST_CHANGE + 1),
        with_slot(0, 65_536),
        with_slot(1, 65_535),
        np.array([1, 0, 0, 0, 0] + [OFFSET] * VALUES),
    ],
)
def test_of_numbers_out_of_range_no_proof_is_made(slots):
    said = sent(P, slots)
    with pytest.raises(ValueError, match="range|contradict"):
        prove(P, said.statement, said.witness)


def test_of_a_norm_above_its_bound_no_proof_is_made():
    tight = replace(P, norm=10**6)
    said = sent(tight, honest_slots(tight))
    with pytest.raises(ValueError, match="norm"):
        prove(tight, said.statement, said.witness)


@pytest.mark.parametrize("count", [0, 1, 7, 9])
def test_honest_proofs_of_counted_updates_pass(count):
    said = sent(COUNTED, counted_slots(count))
    check(said, prove(COUNTED, said.statement, said.witness))


def test_the_largest_loss_of_a_counted_update_is_proven_and_leaves_the_sum_readable():
    counted, slots = Encoding(VALUES, BITS - 32, max_cohort=8, count_cap=9), counted_slots()
    slots[0] = counted.largest_loss
    said = sent(COUNTED, slots)
    check(said, prove(COUNTED, said.statement, said.witness))
    counted.check_sum(8 * slots, 8)
    slots[0] += 1
    with pytest.raises(ValueError, match="contradict"):
        prove(COUNTED, said.statement, Witness(slots, said.witness.power_of_roots))


def test_a_cap_of_16_bits_needs_shorter_numbers_in_more_links():
    wide = parameters_for(Encoding(8193, 2016, 64, count_cap=65_535))
    assert (wide.metric_bits, wide.links, wide.link_bits) == (32, 23, 4)
    assert wide.links * wide.link_bits >= 90


@pytest.mark.slow
def test_a_hundred_honest_proofs_pass():
    """`python -m benchmarks.bounds --honest 10000` makes more."""
    rng = np.random.default_rng(4)
    small = Strength(64, 512, 8)  # as exact, and not as strong
    p = replace(P, strength=small)
    for seed in range(100):
        slots = honest_slots(p, seed)
        slots[FIRST:] = OFFSET + rng.integers(-LARGEST_CHANGE, LARGEST_CHANGE + 1, VALUES)
        said = sent(p, slots)
        check(said, prove(p, said.statement, said.witness))


# ------------------------------------------------------------------------------------------------ bytes


@pytest.fixture(scope="module")
def honest() -> tuple[Sent, bytes]:
    said = sent(P, honest_slots(P))
    return said, prove(P, said.statement, said.witness)


def test_a_proof_holds_for_its_client_and_attempt_only(honest):
    said, proof = honest
    assert refused_by(said, proof) == ""
    assert refused_by(said, proof, b"another attempt") != ""


def test_a_proof_of_other_ciphertexts_is_refused(honest):
    _, proof = honest
    assert refused_by(sent(P, honest_slots(P)), proof) != ""


def test_a_proof_of_other_settings_is_refused(honest):
    said, proof = honest
    assert refused_by(replace(said, parameters=replace(P, norm=NORM)), proof) != ""


def test_every_flipped_bit_is_refused(honest):
    said, proof = honest
    sizes = part_sizes(P, BITS // 8, 1)
    starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    places = [start + size // 2 for start, size in zip(starts, sizes, strict=False)]
    rng = random.Random(3)
    places += [
        starts[-1],
        starts[-1] + 1,
        starts[-1] + 2,
        len(proof) - 1,
        *(rng.randrange(len(proof)) for _ in range(20)),
    ]
    for place in places:
        flipped = bytearray(proof)
        flipped[place] ^= 1 << rng.randrange(8)
        assert refused_by(said, bytes(flipped)) != "", place


def test_proofs_of_another_length_are_refused(honest):
    said, proof = honest
    count = sum(part_sizes(P, BITS // 8, 1))
    for wrong in (b"", proof[:-1], proof + b"\0", proof[:100], proof + bytes(40), proof[: count + 2]):
        assert refused_by(said, wrong) == "length"
    for hashes in (0, 65_535):
        changed = proof[:count] + hashes.to_bytes(2, "big") + proof[count + 2 :]
        assert refused_by(said, changed) == "length"
    assert len(proof) <= longest(P, BITS // 8, 1)


def test_a_proof_is_the_same_bytes_after_it_was_cut_into_parts(honest):
    said, proof = honest
    assert split(P, said.statement, proof).to_bytes() == proof


# ------------------------------------------------------------------------------------------------ hiding


def test_a_kill_between_any_two_steps_lets_no_mask_meet_two_challenges(monkeypatch):
    said = sent(P, honest_slots(P))
    masks = []
    steps = ["_answer", "_commit_bits", "_mask_sums", "_combined_rows", "_equations", "_shown"]
    for step in steps:

        def killed(self: Any, *_: Any) -> Any:
            masks.append(self._masks.copy())
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Attempt, step, killed)
            with pytest.raises(KeyboardInterrupt):
                prove(P, said.statement, said.witness)
    again = Attempt(P, said.statement, said.witness, os.urandom)
    again._commit_numbers()
    masks.append(again._masks)
    everything = np.concatenate([each.reshape(-1) for each in masks])
    assert len(masks) == len(steps) + 1
    assert len(set(everything.tolist())) == len(everything)


def test_an_attempt_that_would_show_something_is_thrown_away_with_all_its_masks(monkeypatch):
    said, seen = sent(P, honest_slots(P)), []
    tries = iter([False, False, True])
    real = Attempt._require

    def sometimes(self: Attempt, hides: bool) -> None:
        if not seen or seen[-1] is not self:
            seen.append(self)
            real(self, next(tries))

    monkeypatch.setattr(Attempt, "_require", sometimes)
    check(said, prove(P, said.statement, said.witness))
    assert len({attempt._masks.tobytes() for attempt in seen}) == 3


def kolmogorov(numbers: Any, low: float, high: float) -> float:
    """The distance from uniform, times the root of the count: above 1.95 once in a thousand."""
    sorted_ = np.sort((np.asarray(numbers, float) - low) / (high - low))
    count = len(sorted_)
    return float(np.abs(sorted_ - (np.arange(count) + 0.5) / count).max() * count**0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["as large as may be", "as small as may be", "nothing"])
def test_what_is_sent_looks_uniform_whatever_the_update(name):
    p = replace(P, strength=Strength(64, 512, 8))
    said = sent(p, extreme_slots()[name])
    shown: dict[str, list[Any]] = {"sums": [], "mask_sums": [], "combinations": [], "equations": [], "columns": []}
    for _ in range(25):
        parts = split(p, said.statement, prove(p, said.statement, said.witness))
        for part in shown:
            shown[part].append(field.unpack(getattr(parts, part)))
    for part, numbers in shown.items():
        low, high = (p.least_answer, 1 << p.mask_bits) if part == "sums" else (0, PRIME)
        assert kolmogorov(np.concatenate(numbers), low, high) < 2.3, part


# ------------------------------------------------------------------------------------------------ settings


def test_for_encodings_without_a_proof_none_is_promised():
    for wrong in (
        Encoding(60, 224, 8, value_bits=12),
        Encoding(250_001, 2016, 8),
    ):
        with pytest.raises(SettingsError, match="no proof"):
            parameters_for(wrong)


def test_a_count_without_metrics_has_no_proof():
    """The count is one of the metrics; a description with privacy and a count cap would end its check in a trace."""
    with pytest.raises(SettingsError, match="a count cap of 9 and without metrics"):
        parameters_for(Encoding(VALUES, BITS - 32, max_cohort=8, count_cap=9), metrics=False)


def test_the_strength_follows_from_the_number_of_weights():
    by = {values: parameters_for(Encoding(values, 2016, 64)).strength for values in (600, 8193, 65528)}
    assert by == {600: SHORT, 8193: MEDIUM, 65528: LONG}


# ------------------------------------------------------------------------------------------------ the prototype

PROTOTYPE = Path(__file__).parents[2] / "shared" / "bounds"


@pytest.fixture
def prototype(monkeypatch):
    if not PROTOTYPE.is_dir():
        pytest.skip("the independent prototype is not here (../shared/bounds)")
    monkeypatch.setattr(sys, "path", [str(PROTOTYPE), *sys.path])
    monkeypatch.setenv("GROKFED", str(Path(__file__).parents[1]))
    import bounds as module

    yield module
    for name in ("bounds", "field"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("norm", [0, NORM])
def test_the_independent_prototype_accepts_our_proofs_and_we_accept_its(prototype, norm):
    values, shape = 40, (P.slot_bits, P.per_row + 1)
    theirs = prototype.Params(values, *shape, norm=norm)
    ours = Parameters(values, P.slot_bits, P.per_row, 3, 3, differences=(Difference((1, 0, -1), 0, 16),), norm=norm)
    metrics, changes = np.array([100, 2000, 70]), honest_slots(replace(P, values=values))[FIRST:]
    said = sent(ours, np.concatenate([metrics, changes]), context=b"both")
    n, context, digest, numbers = said.statement.modulus, b"both", said.statement.digest, said.statement.ciphertexts
    proof = prove(ours, said.statement, said.witness)
    prototype.verify(theirs, n, context, digest, numbers, proof)
    back, _ = prototype.prove(theirs, n, context, digest, metrics, changes, said.witness.power_of_roots)
    check(said, back)
    flipped = back[:5000] + bytes([back[5000] ^ 1]) + back[5001:]
    assert refused_by(said, flipped) != ""
    with pytest.raises(prototype.Bad):
        prototype.verify(theirs, n, context, digest, numbers, proof[:5000] + bytes([proof[5000] ^ 1]) + proof[5001:])


# ------------------------------------------------------------------------------------------------ vectors


def from_seed(seed: bytes) -> Any:
    """Random bytes that everybody can draw again: for test vectors only."""
    drawn = [0]

    def random_bytes(count: int) -> bytes:
        drawn[0] += 1
        return hashlib.shake_256(seed + drawn[0].to_bytes(4, "big")).digest(count)

    return random_bytes


def vector() -> tuple[Parameters, Statement, bytes]:
    """Twenty weights, a known key, noise 3 in every ciphertext, masks from a seed."""
    p = replace(
        parameters_for(Encoding(20, 224, 8)), strength=Strength(16, 256, 4), projections=8, links=2, link_bits=4
    )
    n = mpz((2**127 - 1) * (2**129 - 25))
    slots = np.array([100, 20, 5, 3, 72, *range(OFFSET - 10, OFFSET + 10)])
    ciphertexts = [(1 + m * n) * pow(mpz(3), n, n**2) % n**2 for m in packed(p, slots)]
    digest = hashlib.sha256(b"".join(c.to_bytes(64, "big") for c in ciphertexts)).digest()
    statement = Statement(n, b"test vector", digest, ciphertexts)
    witness = Witness(slots, lambda x: pow(mpz(3), sum(x), n))
    return p, statement, prove(p, statement, witness, from_seed(b"vector"))


VECTOR_BYTES = 3342
VECTOR_SHA256 = "aec02523c36a26fb13b2ec976f48aa9b"
VECTOR_ROOTS = ("d598a62aff5e48a2953c76db11da084dadcbc14e", "93bbbb2f037281f412ccb39e42f6c9b43a85665d")


def test_the_test_vector_has_not_changed():
    p, statement, proof = vector()
    verify(p, statement, proof)
    parts = split(p, statement, proof)
    assert (len(proof), hashlib.sha256(proof).hexdigest()[:32]) == (VECTOR_BYTES, VECTOR_SHA256)
    assert (parts.first_root.hex(), parts.second_root.hex()) == VECTOR_ROOTS


def test_the_fields_arithmetic_is_that_of_whole_numbers():
    a = np.array([PRIME - 1, PRIME - 1, 0, 1 << 55, 123_456_789_012_345])
    b = np.array([PRIME - 1, 1, PRIME - 1, (1 << 55) + 1, PRIME // 3])
    assert field.multiply(a, b).tolist() == [int(x) * int(y) % PRIME for x, y in zip(a, b, strict=True)]
    assert field.add(a, b).tolist() == [(int(x) + int(y)) % PRIME for x, y in zip(a, b, strict=True)]
    assert field.subtract(a, b).tolist() == [(int(x) - int(y)) % PRIME for x, y in zip(a, b, strict=True)]
    many = np.full((200, 3), PRIME - 1)
    assert field.total(many).tolist() == [200 * (PRIME - 1) % PRIME] * 3
    rng = np.random.default_rng(2)
    left, right = rng.integers(0, PRIME, (3, 300)), rng.integers(0, PRIME, (300, 4))
    expected = left.astype(object) @ right.astype(object) % PRIME
    assert (field.matrix_product(left, right) == expected.astype(np.int64)).all()


def test_polynomials_have_the_values_that_horner_finds():
    coefficients = np.random.default_rng(3).integers(0, PRIME, (2, 16))
    root = field.root_of_unity(16)
    expected = [sum(int(c) * pow(root, 5 * i, PRIME) for i, c in enumerate(row)) % PRIME for row in coefficients]
    assert field.values_of(coefficients)[:, 5].tolist() == expected
    assert (field.coefficients_of(field.values_of(coefficients)) == coefficients).all()
