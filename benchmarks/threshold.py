"""Time opening a sum by several holders, our way and the textbook's: `python -m benchmarks.threshold`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import math
import os
import secrets
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import gmpy2
import numpy as np
from gmpy2 import mpz
from phe import PaillierPrivateKey
from rich.console import Console
from rich.table import Table

from benchmarks.encryption import significant
from benchmarks.measure import numbers_table, processor_seconds
from benchmarks.secure_aggregation import draw_problem
from core.secagg import kernel
from core.secagg.encoding import Encoding, Update
from core.secagg.factory import adder_for
from core.secagg.logarithm import logarithm
from core.secagg.noise import noise_for
from core.secagg.opening import check_answer, combine, verify_opened
from core.secagg.paillier import PaillierEncryptor, ciphertext_bytes, split_ciphertexts
from core.secagg.powers import secret_powers
from core.secagg.scheme import DAMGARD_JURIK, PAILLIER, PublicKey
from core.secagg.share_proof import Statement, prove
from core.secagg.sharing import coefficients, delta
from registrar.dealing import deal, evaluate
from registrar.key_generation import generate_private_key

OURS, TEXTBOOK = "grokfed", "textbook"
PARTIAL, COMBINE, VERIFY = "one holder's answer", "combine", "verify what another combined"
PROVE, CHECK = "prove that an answer is right", "check an answer and its proof"
SIDE_BY_SIDE, ALL = "an answer and combining", "all answers and combining"
WITH, WITHOUT = "kernel", "GMP alone"

Jobs = Mapping[str, Callable[[], object]]
Seconds = dict[tuple[str, str, str], float]
"""Processor seconds by way, step, and with what."""


# --- The textbook's way ---


@dataclass(frozen=True)
class Textbook:
    """Shared decryption of Damgård and Jurik (PKC 2001, section 4.1), without the proofs that answers are right.

    The secret d is 0 modulo lambda(n) and 1 modulo n^s, so that c^d = (1 + n)^m; it is shared as Shamir does, modulo
    n^s lambda(n). Holder i answers c^(Delta f(i)) mod n^(s+1); together they give c^(Delta² d) = (1 + n)^(Delta² m).
    (The factors 2 that the proofs need are left out with them.)
    """

    key: PublicKey
    holders: int
    shares: Mapping[int, int]

    def partial(self, holder: int, ciphertexts: Sequence[mpz]) -> list[mpz]:
        bits = (self.key.degree + 1) * self.key.bits + delta(self.holders).bit_length()
        return secret_powers(ciphertexts, delta(self.holders) * self.shares[holder], bits, self._whole)

    def combine(self, answers: Mapping[int, Sequence[mpz]]) -> list[int]:
        n, degree, whole = mpz(self.key.modulus), self.key.degree, self._whole
        products = [mpz(1)] * len(next(iter(answers.values())))
        for holder, coefficient in coefficients(answers, self.holders).items():
            factors = gmpy2.powmod_base_list(list(answers[holder]), coefficient, whole)
            products = [product * factor % whole for product, factor in zip(products, factors, strict=True)]
        inverse = gmpy2.invert(delta(self.holders) ** 2, n**degree)
        return [int(logarithm(product, n, mpz(1), degree) * inverse % n**degree) for product in products]

    @property
    def _whole(self) -> mpz:
        return mpz(self.key.modulus) ** (self.key.degree + 1)


def deal_textbook(private: PaillierPrivateKey, scheme: str, threshold: int, holders: int) -> Textbook:
    n = int(private.public_key.n)
    key = PublicKey(scheme, n.bit_length(), n)
    order, plaintexts = math.lcm(private.p - 1, private.q - 1), n**key.degree
    secret = order * pow(order, -1, plaintexts)
    polynomial = [secret, *(secrets.randbelow(order * plaintexts) for _ in range(threshold - 1))]
    shares = {i: evaluate(polynomial, i) % (order * plaintexts) for i in range(1, holders + 1)}
    return Textbook(key, holders, shares)


# --- What is timed ---


def build_ours(integers: Sequence[Sequence[int]], scheme: str, bits: int, threshold: int, holders: int) -> Jobs:
    """Return our steps for the sum of some plaintexts. Raises AssertionError if it does not open right."""
    dealt = deal(scheme, bits, threshold, holders)
    key, total = dealt.public_key, _total(dealt.public_key, integers)
    partials = {share.holder: share.partial(total) for share in dealt.shares[:threshold]}
    opened = combine(key, threshold, holders, total, partials)
    _check(OURS, opened.plaintexts, integers)
    claim, share = Statement(key, threshold, holders, 1, dealt.values[0], b"", total), dealt.shares[0]
    answer = share.answer(claim)
    return {
        PARTIAL: lambda: dealt.shares[0].partial(total),
        COMBINE: lambda: combine(key, threshold, holders, total, partials),
        PROVE: lambda: prove(claim, partials[1], delta(holders) * share.exponent),
        CHECK: lambda: check_answer(claim, answer),
        VERIFY: lambda: verify_opened(key, threshold, holders, total, opened),
    }


def build_textbook(integers: Sequence[Sequence[int]], scheme: str, bits: int, threshold: int, holders: int) -> Jobs:
    """Return the textbook's steps for the same sum. Raises AssertionError if it does not open right."""
    textbook = deal_textbook(generate_private_key(bits), scheme, threshold, holders)
    total, size = _total(textbook.key, integers), ciphertext_bytes(textbook.key)
    ciphertexts = split_ciphertexts(total, len(total) // size, size)
    answers = {holder: textbook.partial(holder, ciphertexts) for holder in range(1, threshold + 1)}
    _check(TEXTBOOK, textbook.combine(answers), integers)
    return {PARTIAL: lambda: textbook.partial(1, ciphertexts), COMBINE: lambda: textbook.combine(answers)}


def _total(key: PublicKey, integers: Sequence[Sequence[int]]) -> bytes:
    encryptor = PaillierEncryptor(key, noise_for(key, len(integers) * len(integers[0])))
    adder = adder_for(key, len(integers[0]))
    for row in integers:
        adder.add(encryptor.encrypt(row))
    return adder.payload()


def _check(name: str, opened: Sequence[int], integers: Sequence[Sequence[int]]) -> None:
    if list(opened) != [sum(column) for column in zip(*integers, strict=True)]:
        raise AssertionError(f"{name}: the sum does not open to the sum of what was encrypted")


def draw_integers(weights: int, clients: int, scheme: str, bits: int) -> list[list[int]]:
    """Return the plaintexts of each client's update, of random weights of 16 bits."""
    encoding = Encoding(weights, PublicKey(scheme, bits).plaintext_bits, max_cohort=clients)
    changes = draw_problem(weights, clients, bits, np.random.default_rng(1)).changes
    return [encoding.encode(Update(change, examples=1, loss=0.0, correct=1)) for change in changes]


def measure(ways: Mapping[str, Jobs], repeats: int) -> Seconds:
    """Time every step of every way with and without the kernel, turn about, so that a busy machine slows all alike."""
    taken: dict[tuple[str, str, str], list[float]] = {}
    for _ in range(repeats):
        for step in (PARTIAL, PROVE, CHECK, COMBINE, VERIFY):
            for way, jobs in ways.items():
                for arithmetic in (WITH, WITHOUT) if kernel.available() else (WITHOUT,):
                    if step in jobs:
                        taken.setdefault((way, step, arithmetic), []).append(_time(jobs[step], arithmetic))
    return {what: statistics.median(times) for what, times in taken.items()}


def _time(work: Callable[[], object], arithmetic: str) -> float:
    with _environment(arithmetic):
        return processor_seconds(work)


@contextmanager
def _environment(arithmetic: str) -> Iterator[None]:
    before = os.environ.get("GROKFED_KERNEL")
    if arithmetic == WITHOUT:
        os.environ["GROKFED_KERNEL"] = "off"
    try:
        yield
    finally:
        os.environ.pop("GROKFED_KERNEL", None)
        if before is not None:
            os.environ["GROKFED_KERNEL"] = before


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process, and so every pool of threads in it, to one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


# --- Tables ---


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    options = _options(arguments)
    console = Console(width=120, highlight=False)
    with one_core():
        for bits in options.bits:
            integers = draw_integers(options.weights, options.clients, options.scheme, bits)
            size = (options.scheme, bits, options.threshold, options.holders)
            with console.status(f"opening sums under keys of {bits} bits ..."):
                ways = {OURS: build_ours(integers, *size), TEXTBOOK: build_textbook(integers, *size)}
                seconds = measure(ways, options.repeats)
                dealing = [_time(partial(deal, *size), WITHOUT) for _ in range(options.repeats)]
            console.print(
                f"\n{options.threshold} of {options.holders} holders, {options.scheme}, {bits} bits, {options.clients} "
                f"clients, {options.weights:,} weights: {len(integers[0])} ciphertexts, {options.repeats} repeats"
            )
            console.print("milliseconds of processor time, median, on one core")
            console.print(_table(seconds, options.threshold))
            console.print(
                f"dealing a key: {statistics.median(dealing):.2f} s, from {min(dealing):.2f} to {max(dealing):.2f}"
            )


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.threshold", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--bits", type=int, nargs="+", default=[2048, 3072], help="of the keys (default 2048 3072)")
    parser.add_argument("--weights", type=int, default=10_000, help="in one update (default %(default)s)")
    parser.add_argument("--clients", type=int, default=3, help="in the cohort (default %(default)s)")
    parser.add_argument("--threshold", type=int, default=2, help="holders who open a sum (default %(default)s)")
    parser.add_argument("--holders", type=int, default=3, help="holders there are (default %(default)s)")
    parser.add_argument("--scheme", choices=(PAILLIER, DAMGARD_JURIK), default=PAILLIER, help="(default %(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="of which the median counts (default %(default)s)")
    options = parser.parse_args(arguments)
    for name in ("weights", "clients", "threshold", "repeats"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} is {getattr(options, name)}; it must be at least 1")
    if options.threshold > options.holders:
        parser.error(f"--threshold is {options.threshold}; there are only {options.holders} holders")
    return options


def _table(seconds: Seconds, threshold: int) -> Table:
    arithmetics = list(dict.fromkeys(arithmetic for _, _, arithmetic in seconds))
    headings = (f"{name}\n{arithmetic}" for arithmetic in arithmetics for name in (OURS, TEXTBOOK, "times faster"))
    table = numbers_table([""], headings)
    for step in (PARTIAL, PROVE, CHECK, COMBINE, SIDE_BY_SIDE, ALL, VERIFY):
        cells: list[str] = []
        for arithmetic in arithmetics:
            ours, theirs = (seconds_of(seconds, way, step, arithmetic, threshold) for way in (OURS, TEXTBOOK))
            cells += [_cell(ours, 1000), _cell(theirs, 1000), _cell(theirs / ours if ours and theirs else None)]
        table.add_row(step, *cells)
    cells = []
    for arithmetic in arithmetics:
        cells += [_cell(seconds[OURS, COMBINE, arithmetic] / seconds[OURS, VERIFY, arithmetic]), "", ""]
    table.add_row("times that verifying is cheaper than combining", *cells)
    return table


def seconds_of(seconds: Seconds, way: str, step: str, arithmetic: str, threshold: int) -> float | None:
    """Return the seconds of a step, or of opening as a whole: the holders side by side, or one after the other."""
    answers = {SIDE_BY_SIDE: 1, ALL: threshold}
    if step in answers:
        return answers[step] * seconds[way, PARTIAL, arithmetic] + seconds[way, COMBINE, arithmetic]
    return seconds.get((way, step, arithmetic))


def _cell(value: float | None, unit: float = 1) -> str:
    return "" if value is None else significant(value * unit)


if __name__ == "__main__":
    main()
