"""What a key holder can say about its answer that is not so; each lie as good as somebody can make it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, cached_property

import gmpy2
import pytest
from gmpy2 import mpz
from opened_sums import BITS, case, dealt

from core.secagg import share_proof
from core.secagg.key_share import KeyShare
from core.secagg.scheme import join_payload
from core.secagg.share_proof import Statement, base, proof_bytes, prove
from core.secagg.sharing import delta


@dataclass(frozen=True)
class Claim:
    """What one of three holders says of a sum of three ciphertexts, and its share."""

    statement: Statement
    share: KeyShare

    @cached_property
    def partial(self) -> bytes:
        return self.share.partial(self.statement.total)

    @cached_property
    def honest(self) -> bytes:
        return self.share.answer(self.statement)

    @property
    def proof(self) -> bytes:
        return self.honest[len(self.partial) :]

    @property
    def numbers(self) -> list[mpz]:
        return split(self.partial)

    @property
    def n(self) -> mpz:
        return mpz(self.statement.key.modulus)

    @property
    def exponent(self) -> int:
        return delta(self.share.holders) * self.share.exponent

    def proven(self, numbers: list[mpz], exponent: int | None = None) -> bytes:
        """These numbers with the proof that an honest program makes of them."""
        return proven(self.statement, joined(numbers), self.exponent if exponent is None else exponent)


@cache
def claim(holder: int = 1, scheme: str = "paillier", other: bool = False) -> Claim:
    key = dealt(scheme, 2, 3)
    total = case(scheme, 2, 3).total
    if other:
        size = len(total) // 3
        total = total[size:] + total[:size]
    statement = Statement(key.public_key, 2, 3, holder, key.values[holder - 1], b"a request", total)
    return Claim(statement, key.shares[holder - 1])


def proven(statement: Statement, partial: bytes, exponent: int) -> bytes:
    """An answer with the proof that an honest program makes of it, whose response is cut to its length."""
    size = proof_bytes(statement.key, statement.threshold, statement.holders)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(share_proof, "proof_bytes", lambda *_: size + 100)
        made = prove(statement, partial, exponent)
    return partial + made[:16] + made[-(size - 16) :]


def split(partial: bytes) -> list[mpz]:
    return [mpz.from_bytes(partial[start : start + BITS // 8], "big") for start in range(0, len(partial), BITS // 8)]


def joined(numbers: list[mpz]) -> bytes:
    return join_payload(numbers, BITS // 8)


# ------------------------------------------------------------------------------------------------ lies

Lie = Callable[[Claim, random.Random], tuple[Statement, bytes]]


def changed(this: Claim, draw: random.Random, place: int, factor: int) -> list[mpz]:
    numbers = this.numbers
    numbers[place] = numbers[place] * factor % this.n
    return numbers


def one_number(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    return this.statement, this.proven(changed(this, draw, draw.randrange(3), draw.randrange(2, 1 << 64)))


def one_number_with_the_honest_proof(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    numbers = changed(this, draw, draw.randrange(3), draw.randrange(2, 1 << 64))
    return this.statement, joined(numbers) + this.proof


def two_that_make_up_for_each_other(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    factor, (first, second) = mpz(draw.randrange(2, 1 << 64)), draw.sample(range(3), 2)
    numbers = this.numbers
    numbers[first] = numbers[first] * factor % this.n
    numbers[second] = numbers[second] * gmpy2.invert(factor, this.n) % this.n
    return this.statement, this.proven(numbers)


def swapped(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    first, second = draw.sample(range(3), 2)
    numbers = this.numbers
    numbers[first], numbers[second] = numbers[second], numbers[first]
    return this.statement, this.proven(numbers)


def another_exponent(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    """A right proof of equal exponents, of which neither is the share's."""
    exponent = this.exponent + draw.choice([-1, 1]) * draw.randrange(1, 1 << 64)
    numbers = share_proof.modulo_n(this.statement.key, this.statement.total)
    return this.statement, this.proven([gmpy2.powmod(c, exponent, this.n) for c in numbers], exponent)


def another_holders(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    other = claim(this.statement.holder % 3 + 1)
    return this.statement, draw.choice([other.honest, this.proven(other.numbers, other.exponent)])


def another_sums(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    other = claim(this.statement.holder, other=True)
    return this.statement, draw.choice([other.honest, this.proven(other.numbers)])


def another_requests(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    elsewhere = replace(this.statement, context=draw.randbytes(draw.randrange(40)))
    return elsewhere, this.honest


def another_shape(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    """The same numbers under a certificate of another value, threshold or number."""
    value = int(base(this.statement.key)) if draw.random() < 0.5 else this.statement.key.modulus - this.statement.value
    changes = draw.choice([{"holder": 2}, {"holder": 3}, {"value": value}])
    return replace(this.statement, **changes), this.honest


def flipped_bit(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    answer = bytearray(this.honest)
    answer[draw.randrange(len(answer))] ^= 1 << draw.randrange(8)
    return this.statement, bytes(answer)


def shifted_response(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    answer = this.honest
    size = proof_bytes(this.statement.key, 2, 3) - 16
    response = int.from_bytes(answer[-size:], "big") + draw.choice([1, -1, int(this.n), -int(this.n), 2, 1 << 300])
    return this.statement, answer[:-size] + response.to_bytes(size, "big")


def made_up(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    """Numbers as they should be or not, and a proof of zeros, of ones, or of anything."""
    size = proof_bytes(this.statement.key, 2, 3)
    numbers = draw.choice([this.numbers, changed(this, draw, 0, 2)])
    return this.statement, joined(numbers) + draw.choice([bytes(size), b"\xff" * size, draw.randbytes(size)])


def another_length(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    answer = this.honest
    cut = draw.randrange(1, len(answer))
    return this.statement, draw.choice([answer[:-cut], answer + draw.randbytes(cut), answer[cut:], this.partial, b""])


def no_unit(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    numbers, place = this.numbers, draw.randrange(3)
    number = draw.choice([mpz(0), this.n, numbers[place] + this.n])
    numbers[place] = number if number < 1 << BITS else this.n
    return this.statement, joined(numbers) + this.proof


def two_masks(this: Claim, draw: random.Random) -> tuple[Statement, bytes]:
    """A false answer for which the proof's two equations have masks of their own."""
    numbers = changed(this, draw, 0, 2)
    partial, key = joined(numbers), this.statement.key
    seed = share_proof._seed(this.statement, partial)
    mixed = share_proof._combined(share_proof.modulo_n(key, this.statement.total), seed, this.n)
    first, second = draw.randrange(1 << 600), draw.randrange(1 << 600)
    powers_of = [gmpy2.powmod(base(key), first, this.n), gmpy2.powmod(mixed, second, this.n)]
    challenge = share_proof._challenge(seed, *powers_of)
    size = proof_bytes(key, 2, 3) - 16
    response = draw.choice([first, second]) + int.from_bytes(challenge, "big") * this.exponent
    return this.statement, partial + challenge + response.to_bytes(size, "big")


LIES: list[Lie] = [
    one_number, one_number_with_the_honest_proof, two_that_make_up_for_each_other, swapped, another_exponent,
    another_holders, another_sums, another_requests, another_shape, flipped_bit, shifted_response, made_up,
    another_length, no_unit, two_masks,
]  # fmt: skip
