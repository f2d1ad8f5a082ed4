"""Time each kernel beside GMP, at the modular powers and products of a round: `python -m benchmarks.kernels`."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from gmpy2 import mpz
from rich.console import Console

from benchmarks.measure import numbers_table, processor_seconds
from core.secagg import kernel
from core.secagg.fixed_base import make_fixed_base
from core.secagg.powers import powers, secret_powers
from core.secagg.products import running_product
from core.secagg.scheme import join_payload

GMP = "off"
NUMBERS = 16
CIPHERTEXTS = 106
"""Of an update of 10,000 weights, 10 clients, 2048 bits."""
EXPONENT_BITS = 512

Work = Callable[[], object]


@contextmanager
def using(name: str) -> Iterator[None]:
    """Let a kernel do the work, or GMP."""
    before = os.environ.get("GROKFED_KERNEL")
    os.environ["GROKFED_KERNEL"] = name
    try:
        yield
    finally:
        os.environ.pop("GROKFED_KERNEL")
        if before is not None:
            os.environ["GROKFED_KERNEL"] = before


def work_with(bits: int) -> dict[str, Work]:
    """Return what is timed, by name, with a modulus n of that many bits; prepared by the kernel in use."""
    n = mpz(secrets.randbits(bits) | 1 << (bits - 1) | 1)
    square, exponent = n * n, secrets.randbits(bits) | 1 << (bits - 1)
    numbers = [mpz(secrets.randbelow(int(n))) for _ in range(NUMBERS)]
    ciphertexts = [mpz(secrets.randbelow(int(square))) for _ in range(CIPHERTEXTS)]
    size = -(-2 * bits // 8)
    payload = join_payload(ciphertexts, size)
    product = running_product(square, CIPHERTEXTS, size)
    product.multiply(payload)
    unit = pow(mpz(2), exponent, square)  # as any power of 2 is, modulo an odd number
    base = make_fixed_base(unit, n, 1, EXPONENT_BITS, CIPHERTEXTS)
    return {
        "powers mod n, secret exponent": lambda: secret_powers(numbers, exponent, bits, n),
        "powers mod n, public exponent": lambda: powers(numbers, exponent, n),
        "powers mod n², public exponent": lambda: powers(ciphertexts[:NUMBERS], exponent, square),
        "one power mod n²": lambda: powers(ciphertexts[:1], exponent, square),
        "tables of one base mod n²": lambda: make_fixed_base(unit, n, 1, EXPONENT_BITS, CIPHERTEXTS),
        "powers of that base": lambda: base.random_powers(CIPHERTEXTS),
        "products mod n²": lambda: product.multiply(payload),
    }


def kernels() -> list[str]:
    """Return the names of the kernels that run here, and that of GMP."""
    names = []
    for name in (each.name for each in kernel.KERNELS):
        with using(name):
            names += [name] * kernel.available()
    return [GMP, *names]


def time_work(bits: int, repeats: int) -> dict[str, dict[str, float]]:
    """Return the least processor seconds of each piece of work, by its name and the kernel's, timed turn about."""
    made: dict[str, dict[str, Work]] = {}
    for name in kernels():
        with using(name):
            made[name] = work_with(bits)
    seconds = {work: dict.fromkeys(made, float("inf")) for work in made[GMP]}
    for _ in range(repeats):
        for work, times in seconds.items():
            for name in made:
                with using(name):
                    times[name] = min(times[name], processor_seconds(made[name][work]))
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--bits", type=int, default=2048, help="of the modulus n (default %(default)s)")
    parser.add_argument("--repeats", type=int, default=9, help="to take the least of (default %(default)s)")
    options = parser.parse_args(arguments)
    if options.bits < 16 or options.repeats < 1:
        parser.error("--bits must be at least 16, and --repeats at least 1")
    names = kernels()
    table = numbers_table([f"{options.bits} bits"], ["GMP, ms", *(f"{name}, ms (times faster)" for name in names[1:])])
    for work, times in time_work(options.bits, options.repeats).items():
        faster = (f"{times[name] * 1e3:.2f} ({times[GMP] / times[name]:.2f})" for name in names[1:])
        table.add_row(work, f"{times[GMP] * 1e3:.2f}", *faster)
    Console(width=120, highlight=False).print(table)


if __name__ == "__main__":
    main()
