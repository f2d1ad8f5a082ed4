"""What ties proofs to ciphertexts, checked for all updates of a round at once."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from gmpy2 import mpz
from liars import Liar, P, honest_slots, packed, sent

from core.bounds.link import POWER_BITS, Equation, all_hold, encrypt
from core.bounds.verification import verify


def equation_of(seed: int, more: int = 0) -> Equation:
    """The equation of a whole proof, whose first ciphertext holds this much more than what is proven."""
    slots, found = honest_slots(P, seed), []
    plaintexts = packed(P, slots)
    plaintexts[0] += more
    said = sent(P, slots, plaintexts)
    verify(P, said.statement, Liar(said).proof(), later=found.append)
    return found[0]


@cache
def honest() -> tuple[Equation, ...]:
    return tuple(equation_of(seed) for seed in range(5))


def changed(equation: Equation, message: int = 0, root: int = 1) -> Equation:
    return replace(equation, message=equation.message + message, root=equation.root * root % equation.n)


def test_a_proof_passes_with_its_equation_left_for_later_only_if_all_else_is_right() -> None:
    lie = equation_of(7, more=1)
    assert not lie.holds()
    assert equation_of(7).holds()


def test_right_equations_hold_together() -> None:
    for count in range(6):
        assert all_hold(honest()[:count])


@pytest.mark.parametrize("place", range(5))
@pytest.mark.parametrize("wrong", [{"message": 1}, {"message": -(1 << 200)}, {"root": 2}])
def test_one_wrong_equation_among_right_ones_is_found(place: int, wrong: dict[str, int]) -> None:
    equations = list(honest())
    equations[place] = changed(equations[place], **wrong)
    assert not any(all_hold(equations) for _ in range(20))


def test_a_lie_in_one_ciphertext_is_found_among_honest_updates() -> None:
    assert not all_hold([*honest(), equation_of(6, more=1)])


def test_wrong_equations_that_make_up_for_each_other_are_found_by_powers_that_nobody_foresees() -> None:
    first, second, *others = honest()
    more, n = 12345, first.n
    shifted = [changed(first, message=more), changed(second, message=-more), *others]
    turned = [changed(first, root=2), changed(second, root=int(pow(mpz(2), -1, n))), *others]
    for pair in (shifted, turned):
        assert all_hold(pair, random_bits=lambda _: 1), "with equal powers nobody would see it"
        assert not any(all_hold(pair) for _ in range(20))


def test_powers_have_all_their_bits_and_each_equation_its_own() -> None:
    asked: list[int] = []

    def random_bits(bits: int) -> int:
        asked.append(bits)
        return len(asked)

    assert all_hold(honest(), random_bits)
    assert asked == [POWER_BITS] * 5


def test_a_root_that_is_wrong_by_a_factor_of_small_order_says_nothing_of_the_message() -> None:
    first, *others = honest()
    turned = changed(first, root=-1)
    assert not turned.holds()
    assert all_hold([turned, *others], random_bits=lambda _: 2), "an even power takes the sign away"
    n = first.n
    assert encrypt(n, 1, first.message, turned.root) == encrypt(n, 1, first.message, first.root) * pow(-1, n) % n**2
