"""A key holder proves that it answered with its own share: honest answers pass, and no forged one does."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace

import gmpy2
import pytest
from gmpy2 import mpz
from opened_sums import BITS, ENCRYPTING, case, dealt, times
from refusals import refused_with
from share_lies import LIES, Claim, Lie, another_exponent, claim, one_number, two_that_make_up_for_each_other

from core.errors import Reason, Refused
from core.secagg import powers, share_proof
from core.secagg.opening import check_answer
from core.secagg.scheme import PublicKey, join_payload
from core.secagg.share_proof import Statement, base, check_values, exponent_bits, proof_bytes, prove
from core.secagg.sharing import coefficients
from registrar.dealing import deal

COUNTS = [pytest.param(200, id="200"), pytest.param(10_000, id="10,000", marks=pytest.mark.slow)]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Numbers as short as these are faster without threads and without the kernel."""
    monkeypatch.setattr(powers, "processors", lambda: 1)
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    return


def passes(statement: Statement, answer: bytes) -> bool:
    refused = None
    try:
        check_answer(statement, answer)
    except Refused as refusal:
        refused = refusal
    assert refused is None or refused.reason in (Reason.WRONG_SHARE, Reason.WRONG_LENGTH), refused
    assert refused is None or f"holder {statement.holder}" in str(refused)
    return refused is None


@pytest.mark.parametrize("count", COUNTS)
def test_forged_answers_of_every_kind_are_refused_and_their_holder_named(count: int) -> None:
    draw = random.Random(count)
    for number in range(count):
        lie = LIES[number % len(LIES)]
        assert not passes(*lie(claim(), draw)), lie.__name__


@pytest.mark.parametrize("count", COUNTS)
def test_honest_answers_pass(count: int) -> None:
    for number in range(count):
        this = claim(number % 3 + 1, ENCRYPTING[number % 2])
        assert check_answer(this.statement, this.share.answer(this.statement)) == this.partial


# ------------------------------------------------------------------------------------------------ without a check


def without(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    """Leave one part out of what decides the questions."""
    seed, challenge = share_proof._seed, share_proof._challenge
    if part in ("context", "value", "holder"):
        nothing = {"context": b"", "value": 0, "holder": 1}[part]
        monkeypatch.setattr(share_proof, "_seed", lambda s, partial: seed(replace(s, **{part: nothing}), partial))
    elif part == "sum":
        monkeypatch.setattr(share_proof, "_seed", lambda s, partial: seed(replace(s, total=b""), partial))
    elif part == "numbers":
        monkeypatch.setattr(share_proof, "_seed", lambda s, _: seed(s, b""))
    elif part == "weights":
        monkeypatch.setattr(share_proof, "_weights", lambda _, count: [1] * count)
    elif part == "v's power":
        monkeypatch.setattr(share_proof, "_challenge", lambda s, _, second: challenge(s, mpz(1), second))
    elif part == "the sum's power":
        monkeypatch.setattr(share_proof, "_challenge", lambda s, first, _: challenge(s, first, mpz(1)))


def weighted(this: Claim, _: random.Random) -> tuple[Statement, bytes]:
    """Two wrong numbers that make up for each other with weights that are known before."""
    first, second, _third = share_proof._weights(share_proof._seed(this.statement, b""), 3)
    numbers = this.numbers
    numbers[0] = numbers[0] * gmpy2.powmod(2, second, this.n) % this.n
    numbers[1] = numbers[1] * gmpy2.powmod(2, -first, this.n) % this.n
    return this.statement, this.proven(numbers)


def in_other_words(this: Claim, _: random.Random) -> tuple[Statement, bytes]:
    return replace(this.statement, context=b"another request"), this.proven(this.numbers)


def in_another_name(this: Claim, _: random.Random) -> tuple[Statement, bytes]:
    return replace(this.statement, holder=2), this.proven(this.numbers)


@pytest.mark.parametrize(
    ("part", "lie"),
    [
        ("context", in_other_words),
        ("holder", in_another_name),
        ("numbers", weighted),
        ("weights", two_that_make_up_for_each_other),
        ("v's power", another_exponent),
        ("the sum's power", one_number),
    ],
)
def test_without_one_part_of_the_questions_the_lie_that_it_stops_passes(
    monkeypatch: pytest.MonkeyPatch, part: str, lie: Lie
) -> None:
    if part != "numbers":  # its lie is made for this hash
        assert not passes(*lie(claim(), random.Random(1)))
    with monkeypatch.context() as patch:
        without(patch, part)
        assert passes(*lie(claim(), random.Random(1)))
        honest = claim()
        assert passes(honest.statement, honest.proven(honest.numbers)), "honest answers pass all the same"
    statement, answer = weighted(claim(), random.Random(1))
    assert not passes(statement, answer)


def test_who_has_a_number_of_small_order_lies_as_often_as_the_argument_says() -> None:
    """5 divides p - 1 of a key that no registrar makes; a number of order 5 passes if 5 divides w, or if not, e."""
    p, q = 5 * 2 * 8 * 10**18 + 1, mpz(2) ** 66
    while not gmpy2.is_prime(p) or p % 4 != 3:
        p += 10
    while not gmpy2.is_prime(q) or q % 4 != 3 or gmpy2.gcd(p - 1, q - 1) != 2:
        q += 1
    n = int(p * q)
    key = PublicKey("paillier", -(-n.bit_length() // 16) * 16, n)
    fifth = next(r for g in range(2, 99) if (r := gmpy2.powmod(g, (p - 1) * (q - 1) // 5, n)) != 1)
    assert gmpy2.powmod(fifth, 5, n) == 1
    assert gmpy2.gcd(fifth - 1, n) in (p, q), "whoever has such a number has the factors"
    exponent, size, lies = 123456789, key.bits // 8, 0
    for number in range(300):
        total = (number + 2).to_bytes(2 * size, "big")
        statement = Statement(key, 1, 1, 1, int(gmpy2.powmod(base(key), exponent, n)), b"", total)
        wrong = gmpy2.powmod(number + 2, exponent, n) * fifth % n
        partial = join_payload([wrong], size)
        lies += passes(statement, partial + prove(statement, partial, exponent))
    assert abs(lies / 300 - (1 / 5 + 4 / 5 * 1 / 5)) < 0.1, lies  # 3.6 standard deviations


# ------------------------------------------------------------------------------------------------ what it is made of


@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_an_answer_whose_sign_is_wrong_passes_and_opens_the_same_sum(scheme: str) -> None:
    """No party can tell the signs of squares' roots, and none needs to: see roots.open_with."""
    this, sum_of = claim(1, scheme), case(scheme, 2, 3)
    wrong = this.numbers
    wrong[1] = this.n - wrong[1]
    partial = check_answer(this.statement, this.proven(wrong))
    for other in (2, 3):
        partials = {1: partial, other: sum_of.partials[other]}
        assert sum_of.combine(partials) == sum_of.combine({**partials, 1: this.partial})


def test_a_single_holder_and_a_long_sum_are_proven_too() -> None:
    key = deal("paillier", BITS, 1, 1)
    total = case("paillier", 2, 3).total  # of another key, but below this one's square, or it is refused as none
    size = 2 * BITS // 8
    total = join_payload([number % key.public_key.modulus for number in split_total(total, size)], size)
    statement = Statement(key.public_key, 1, 1, 1, key.values[0], b"", total)
    assert passes(statement, key.shares[0].answer(statement))


def split_total(total: bytes, size: int) -> list[int]:
    return [int.from_bytes(total[start : start + size], "big") for start in range(0, len(total), size)]


def test_plain_answers_are_the_sum_and_have_no_proof() -> None:
    this, key = case("plain", 2, 3), dealt("plain", 2, 3)
    statement = Statement(key.public_key, 2, 3, 1, 0, b"", this.total)
    assert (key.values, proof_bytes(key.public_key, 2, 3)) == ((), 0)
    assert check_answer(statement, key.shares[0].answer(statement)) == this.total
    assert not passes(statement, times(this, this.total, 1))


def test_the_base_is_a_square_that_follows_from_the_modulus() -> None:
    key = PublicKey("paillier", 16, 223 * 227)
    hashed = hashlib.shake_256(b"grokfed share base v1" + key.modulus.to_bytes(2, "big")).digest(2 + 16)
    assert base(key) == pow(int.from_bytes(hashed, "big"), 2, key.modulus)
    first, second = (dealt(scheme, 2, 3).public_key for scheme in ENCRYPTING)
    assert base(first) == base(first) != base(second)
    assert 1 < base(first) < first.modulus


def test_values_are_the_bases_powers_and_with_one_share_everyone_can_make_up_the_others() -> None:
    """v's root r = v^D stands for the secret: Delta f(2) = Delta (2 f(1) - f(0)), f(0) = Delta D, at 2 of 3."""
    key, v = dealt("paillier", 2, 3), base(dealt("paillier", 2, 3).public_key)
    n, f = mpz(key.public_key.modulus), [share.exponent for share in key.shares]
    assert list(key.values) == [gmpy2.powmod(v, 6 * each, n) for each in f]
    secret = sum(coefficient * f[holder - 1] for holder, coefficient in coefficients([1, 2], 3).items()) // 36
    root = gmpy2.powmod(v, secret, n)
    assert gmpy2.powmod(root, n, n) == v, "known to whoever chooses a root r and takes v = r^n"
    for holder in (2, 3):
        made = gmpy2.powmod(v, 6 * holder * f[0], n) * gmpy2.powmod(root, 6 * 6 * (1 - holder), n) % n
        assert made == key.values[holder - 1]


def test_masks_are_never_the_same_and_long_enough_to_hide_the_share(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    draw = share_proof.secrets.randbits
    monkeypatch.setattr(share_proof.secrets, "randbits", lambda bits: drawn.append(bits) or draw(bits))
    this, responses = claim(), []
    for _ in range(150):
        proof = this.proven(this.numbers)[3 * BITS // 8 :]
        responses.append(int.from_bytes(proof[16:], "big"))
    longest = exponent_bits(this.statement.key, 2, 3)
    assert set(drawn) == {longest + 128 + 128}
    assert this.exponent.bit_length() <= longest
    assert len(set(responses)) == 150
    uniform = sorted(response / 2 ** (longest + 256) for response in responses)
    assert max(abs(at - (i + 0.5) / 150) for i, at in enumerate(uniform)) < 1.95 / 150**0.5, "Kolmogorov and Smirnov"


def test_a_share_that_does_not_fit_its_value_answers_nothing() -> None:
    """So a dealer's mistake, or a damaged disk, does not look like a lie of the holder."""
    this, other = claim(1), claim(2)
    with refused_with(Reason.UNKNOWN_KEY, "does not fit the certificate"):
        this.share.answer(replace(this.statement, value=other.statement.value))
    with refused_with(Reason.UNKNOWN_KEY, "does not fit the certificate"):
        replace(this.share, exponent=this.share.exponent + 1).answer(this.statement)


def test_values_that_are_no_units_are_refused() -> None:
    key = PublicKey("paillier", 16, 223 * 227)
    check_values(key, [1, 5, 223 * 227 - 1])
    for value in (0, 223, 223 * 227):
        with refused_with(Reason.BAD_KEY, "verification value"):
            check_values(key, [5, value])


def test_a_statement_shows_no_content() -> None:
    assert repr(claim().statement) == f"Statement(holder 1, {BITS} bits)"


def test_the_length_at_2048_bits_is_323_bytes() -> None:
    key = PublicKey("paillier", 2048, 1 << 2047 | 1)
    assert (exponent_bits(key, 3, 4), proof_bytes(key, 3, 4)) == (2194, 16 + 307)
