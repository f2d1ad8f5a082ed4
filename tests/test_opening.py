"""t of n holders open a sum and fewer learn nothing; a wrong answer changes no sum, and is named."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from gmpy2 import mpz
from hypothesis import given, settings
from hypothesis import strategies as st
from opened_sums import BITS, ENCRYPTING, SCHEMES, SIZES, case, dealt, times, total_of
from refusals import refused_with

from core.errors import Reason, Refused
from core.secagg import opening, roots
from core.secagg.encoding import Encoding, Update
from core.secagg.opening import combine, verify_opened
from core.secagg.paillier import ciphertext_bytes
from core.secagg.plain import PlainDecryptor
from core.secagg.scheme import PublicKey, join_payload
from core.secagg.sharing import coefficients

# --- Opening ---


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]} of {size[1]}")
@pytest.mark.parametrize("scheme", SCHEMES)
class TestOpening:
    def test_any_threshold_of_holders_opens_the_sum(self, scheme, size):
        this = case(scheme, *size)
        for chosen in combinations(this.partials, this.threshold):
            opened = this.combine({holder: this.partials[holder] for holder in chosen})
            assert opened.plaintexts == (8, 0, 111)
            this.verify(opened)

    def test_all_of_them_open_it_too(self, scheme, size):
        this = case(scheme, *size)
        assert this.combine(this.partials).plaintexts == (8, 0, 111)

    def test_fewer_are_not_asked(self, scheme, size):
        this = case(scheme, *size)
        few = dict(list(this.partials.items())[: this.threshold - 1])
        with pytest.raises(ValueError, match=f"expected {this.threshold} or more of {this.holders}"):
            this.combine(few)

    def test_a_sum_of_packed_updates_opens_to_the_integers_of_the_plain_twin(self, scheme, size):
        key = dealt(scheme, *size)
        encoding = Encoding(values=30, plaintext_bits=key.public_key.plaintext_bits, max_cohort=3)
        rng = np.random.default_rng(1)
        updates = [Update(rng.normal(size=30), examples=9, loss=1.5, correct=3) for _ in range(3)]
        rows = [encoding.encode(update) for update in updates]
        twin = PublicKey("plain", key.public_key.degree * BITS)
        integers = PlainDecryptor(twin.bits).decrypt(total_of(twin, rows))
        total = total_of(key.public_key, rows)
        partials = {share.holder: share.partial(total) for share in key.shares[-size[0] :]}
        opened = combine(key.public_key, *size, total, partials)
        assert list(opened.plaintexts) == integers
        assert encoding.decode(opened.plaintexts, 3).examples == 27


@settings(max_examples=20, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_any_sum_opens_exactly(scheme, data):
    key = dealt(scheme, 2, 3)
    whole = st.integers(0, (1 << key.public_key.plaintext_bits) - 1)
    rows = data.draw(st.lists(st.lists(whole, min_size=2, max_size=2), min_size=1, max_size=3))
    total = total_of(key.public_key, rows)
    opened = combine(key.public_key, 2, 3, total, {share.holder: share.partial(total) for share in key.shares[1:]})
    assert list(opened.plaintexts) == [sum(column) for column in zip(*rows, strict=True)]
    verify_opened(key.public_key, 2, 3, total, opened)


@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_numbers_that_one_can_check_by_hand(scheme):
    # n = 7 * 11 = 77, lambda = 30. 2 of 2 holders: Delta = 2, E = 8. Paillier: D = 1 / 77 mod 30 = 23.
    key = PublicKey(scheme, 7, 77)
    degree = key.degree
    secret = pow(77**degree, -1, 30)
    assert secret == {1: 23, 2: 19}[degree]
    shares = {1: 2 * secret + 5, 2: 2 * secret + 10}  # f(x) = Delta D + 5 x
    c = pow(78, 40, 77 ** (degree + 1)) * pow(3, 77**degree, 77 ** (degree + 1)) % 77 ** (degree + 1)
    assert pow(c, secret, 77) == 3
    answers = {holder: [mpz(pow(c, 2 * share, 77))] for holder, share in shares.items()}
    root = roots.roots_from(key, 2, answers)
    assert root == [3**8 % 77]
    assert roots.open_with(key, 2, [mpz(c)], root) == ([40], root)
    assert roots.open_with(key, 2, [mpz(c)], [77 - root[0]]) == ([40], root), "with its sign put right"
    assert roots.open_with(key, 2, [mpz(c)], [root[0] * 2 % 77]) is None
    assert roots.agree(key, 2, [mpz(c)], [40], root)


# --- Answers that are wrong ---


class TestWrongAnswers:
    @pytest.mark.parametrize("size", [(1, 1), (2, 2), (2, 3), (3, 5)])
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_a_threshold_of_holders_with_one_wrong_opens_nothing(self, scheme, size):
        this = case(scheme, *size)
        for liar in range(1, this.threshold + 1):
            partials = {holder: this.partials[holder] for holder in range(1, this.threshold + 1)}
            partials[liar] = times(this, partials[liar], 2)
            names = ", ".join(map(str, partials))
            with refused_with(Reason.WRONG_SHARE, f"holders {names} do not open the sum: at least one"):
                this.combine(partials)

    @pytest.mark.parametrize("place", [0, 1, 2])
    @pytest.mark.parametrize("size", [(1, 3), (2, 3), (3, 5)])
    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_with_one_more_the_sum_opens_all_the_same(self, scheme, size, place):
        this = case(scheme, *size)
        for liar in this.partials:
            partials = {**this.partials, liar: times(this, this.partials[liar], 2, place)}
            assert this.combine(partials).plaintexts == (8, 0, 111)

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_two_wrong_ones_of_five_change_nothing(self, scheme):
        this = case(scheme, 3, 5)
        for liars in combinations(this.partials, 2):
            partials = {**this.partials, **{liar: times(this, this.partials[liar], 2 + liar) for liar in liars}}
            assert this.combine(partials).plaintexts == (8, 0, 111)

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_three_wrong_ones_of_five_leave_too_few(self, scheme):
        this = case(scheme, 3, 5)
        partials = {**this.partials, **{liar: times(this, this.partials[liar], 2 + liar) for liar in (1, 2, 4)}}
        with pytest.raises(Refused, match="no 3 of them fit together"):
            this.combine(partials)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_wrong_ones_who_make_up_for_each_other_change_nothing(self, scheme):
        this = case(scheme, 3, 5)
        # With holder 3 as the third, Delta l_1 = 120 * 2*3 / (1*2) = 360 and Delta l_2 = 120 * 1*3 / (-1*1) = -360.
        assert coefficients([1, 2, 3], 5) == {1: 360, 2: -360, 3: 120}
        partials = {**this.partials, **{liar: times(this, this.partials[liar], 2) for liar in (1, 2)}}
        opened = this.combine(partials)
        assert opened.plaintexts == (8, 0, 111)
        apart = {holder: partials[holder] for holder in (1, 2, 4, 5)}
        with pytest.raises(Refused):
            this.combine(apart)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_a_sign_does_no_harm(self, scheme):
        """Proofs do not show it. It vanishes with even exponents; else the root has the other sign, which shows."""
        for chosen, even in (((1, 2), True), ((1, 3), False)):
            assert (coefficients(chosen, 3)[1] % 2 == 0) is even
            this = case(scheme, 2, 3)
            partials = {holder: this.partials[holder] for holder in chosen}
            assert this.combine({**partials, 1: times(this, partials[1], -1)}) == this.combine(partials)
        assert this.combine({**this.partials, 1: times(this, this.partials[1], -1)}).plaintexts == (8, 0, 111)

    @pytest.mark.parametrize("scheme", ENCRYPTING)
    def test_whatever_passes_the_quick_trial_of_all_choices_is_checked_exactly(self, scheme, monkeypatch):
        this = case(scheme, 2, 3)
        partials = {**this.partials, 1: times(this, this.partials[1], 2)}
        monkeypatch.setattr(roots, "_draw_weights", lambda count: [0] * count)  # a trial that everything passes
        assert this.combine(partials).plaintexts == (8, 0, 111)

    def test_choices_that_do_not_fit_are_sorted_out_by_one_trial_each(self, monkeypatch):
        this = case("paillier", 3, 5)  # of ten choices of three, six have holder 1
        opened = []
        monkeypatch.setattr(opening, "open_with", lambda *a: opened.append(a) or roots.open_with(*a))
        this.combine({**this.partials, 1: times(this, this.partials[1], 2)})
        assert len(opened) == 1

    @pytest.mark.parametrize("scheme", SCHEMES)
    def test_an_answer_for_another_sum_is_wrong(self, scheme):
        this = case(scheme, 2, 3)
        other = total_of(this.key, [[1, 2, 3]])
        answer = dealt(scheme, 2, 3).shares[0].partial(other)
        with pytest.raises(Refused, match="holders 1, 2 do not"):
            this.combine({1: answer, 2: this.partials[2]})

    @pytest.mark.parametrize("holder", [0, 4])
    def test_holders_that_there_are_not_have_no_answers(self, holder):
        this = case("paillier", 2, 3)
        with pytest.raises(ValueError, match="or more of 3"):
            this.combine({1: this.partials[1], holder: this.partials[2]})


def malformed(key: PublicKey, partial: bytes) -> dict[str, tuple[bytes, Reason]]:
    size = key.bits // 8

    def first(number: int) -> bytes:
        return number.to_bytes(size, "big") + partial[size:]

    return {
        "short": (partial[:-1], Reason.WRONG_LENGTH),
        "long": (partial + b"\0", Reason.WRONG_LENGTH),
        "one missing": (partial[size:], Reason.WRONG_LENGTH),
        "empty": (b"", Reason.WRONG_LENGTH),
        "zero": (first(0), Reason.WRONG_SHARE),
        "n": (first(key.modulus), Reason.WRONG_SHARE),
        "n + 1": (first(key.modulus + 1), Reason.WRONG_SHARE),
    }


@pytest.mark.parametrize("name", list(malformed(PublicKey("paillier", 256, 77), b"")))
@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_malformed_answers_are_refused_by_name(scheme, name):
    this = case(scheme, 2, 3)
    bad, reason = malformed(this.key, this.partials[1])[name]
    with refused_with(reason, "holder 1's answer"):
        this.combine({**this.partials, 1: bad})


def test_an_answer_that_shares_a_factor_with_the_key_is_refused():
    key, size = PublicKey("paillier", 16, 223 * 227), 2
    total = join_payload([5, 6], 2 * size)
    for number in (223, 5 * 227):
        with pytest.raises(Refused, match="shares a factor with n"):
            combine(key, 1, 1, total, {1: join_payload([5, number], size)})


@pytest.mark.parametrize("scheme", ENCRYPTING)
def test_what_is_no_sum_under_the_key_is_refused(scheme):
    this = case(scheme, 2, 3)
    size = ciphertext_bytes(this.key)
    for number in (0, this.key.modulus, this.key.modulus ** (this.key.degree + 1) + 1):
        total = join_payload([number], size) + this.total[size:]
        with refused_with(Reason.BAD_CIPHERTEXT):
            combine(this.key, 2, 3, total, this.partials)
        with pytest.raises(Refused):
            verify_opened(this.key, 2, 3, total, this.combine(this.partials))
    with refused_with(Reason.WRONG_LENGTH):
        combine(this.key, 2, 3, this.total[:-1], this.partials)
