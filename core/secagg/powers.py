"""Powers of many numbers at once: on all cores, with the kernel where there is one, and else with GMP."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import gmpy2
import numpy as np
from gmpy2 import mpz

from core.secagg import kernel
from core.secagg.kernel.alone import PAYS_TO, alone

KERNEL_PAYS_FROM = 3
"""Numbers; a kernel's lanes take as long as two or three with GMP (measured modulo 2048 to 6144 bits)."""

Work = Callable[[list[mpz]], list[mpz]]


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def in_threads(work: Work, numbers: Sequence[mpz], threads: int | None = None, least: int = 1) -> list[mpz]:
    """Do the work in shares, one for each thread, and return all results in the order of the numbers.

    Args:
        work: gives a result for each number of a list; it helps only if it does so without Python's lock.
        threads: as many as there are cores that this process may use, if left out.
        least: what one thread does as fast as less.
    """
    wanted = min(threads or processors(), -(-len(numbers) // least))
    if wanted < 2:
        return work(list(numbers))
    results = [mpz(0)] * len(numbers)
    with ThreadPoolExecutor(wanted) as pool:
        shares = pool.map(work, (list(numbers[start::wanted]) for start in range(wanted)))
        for start, share in enumerate(shares):
            results[start::wanted] = share
    return results


def powers(numbers: Sequence[mpz], exponent: mpz | int, modulus: mpz) -> list[mpz]:
    """Raise units modulo an odd number to a public exponent, at least 0."""
    if len(numbers) <= PAYS_TO and (single := alone(mpz(modulus))):
        return [single.power(mpz(number), int(exponent)) for number in numbers]
    if len(numbers) < KERNEL_PAYS_FROM or not kernel.available(modulus.bit_length()):
        return in_threads(lambda some: gmpy2.powmod_base_list(some, exponent, modulus), numbers)
    return _kernel_powers(numbers, int(exponent), int(exponent).bit_length(), modulus, public=True)


def secret_powers(numbers: Sequence[mpz], exponent: int, bits: int, modulus: mpz) -> list[mpz]:
    """Raise numbers modulo an odd number to a secret exponent, in steps that do not depend on it.

    Neither the kernel nor GMP's powmod_sec branches, or chooses where to read, by what the digits are. How many steps
    there are follows from `bits` with the kernel; GMP goes by the words of 64 bits that the exponent takes.

    Args:
        exponent: greater than 0.
        bits: the most that any such exponent has.
    """
    if kernel.available(modulus.bit_length()):
        return _kernel_powers(numbers, exponent, bits, modulus, public=False)

    def work(some: list[mpz]) -> list[mpz]:
        with gmpy2.context(gmpy2.get_context(), allow_release_gil=True):
            return [gmpy2.powmod_sec(number, exponent, modulus) for number in some]

    return in_threads(work, numbers)


def _kernel_powers(numbers: Sequence[mpz], exponent: int, bits: int, modulus: mpz, *, public: bool) -> list[mpz]:
    modulo = kernel.arithmetic(modulus)

    def work(some: list[mpz]) -> list[mpz]:
        return modulo.leave(modulo.power(modulo.enter(some), exponent, bits, public=public))

    return in_threads(work, numbers, least=modulo.kernel.lanes)


def product_of_powers(numbers: Sequence[mpz], exponents: Sequence[int], modulus: mpz) -> mpz:
    """Return the product of all number^exponent modulo an odd number, for short public exponents.

    All numbers share their squarings: for each digit of the exponents, from the highest, the product so far is raised
    to the digits' base and multiplied by the product of all number^digit (Straus, Amer. Math. Monthly 71, 1964).
    """
    length = max((exponent.bit_length() for exponent in exponents), default=0)
    if not length:
        return mpz(1)
    used = kernel.chosen(modulus.bit_length())
    window = _window(len(numbers), length, 0 if used is None else used.lanes)
    places, largest = reversed(range(0, length, window)), (1 << window) - 1
    digits = [[exponent >> place & largest for exponent in exponents] for place in places]
    result = mpz(1)
    for product in (_gmp_products if used is None else _kernel_products)(numbers, digits, window, modulus):
        result = gmpy2.powmod(result, 1 << window, modulus) * product % modulus
    return result


def _window(count: int, length: int, lanes: int) -> int:
    """Return how many bits a digit has, so that there are the fewest multiplications; `lanes` of them at once, or 0.

    The kernel makes all powers of each number, and multiplies as many rows of digits at once as it has lanes.
    """

    def multiplications(window: int) -> int:
        rows, values = -(-length // window), 1 << window
        if not lanes:
            return rows * (count + 2 * values)
        return (values - 2) * -(-count // lanes) + -(-rows // lanes) * count

    return min(range(1, 9), key=multiplications)


def _gmp_products(numbers: Sequence[mpz], digits: list[list[int]], window: int, modulus: mpz) -> list[mpz]:
    """Return, for each row of digits, the product of all number^digit.

    Numbers with the same digit d are multiplied first; then P_d, those of all digits from d on, is a product of the
    one before, and the product of all P_d has each number d times (Pippenger, FOCS 1976).
    """
    products = []
    for row in digits:
        with_digit = [mpz(1)] * (1 << window)
        for number, digit in zip(numbers, row, strict=True):
            with_digit[digit] = with_digit[digit] * number % modulus if digit else mpz(1)
        product = from_here = mpz(1)
        for number in reversed(with_digit[1:]):
            from_here = from_here * number % modulus
            product = product * from_here % modulus
        products.append(product)
    return products


def _kernel_products(numbers: Sequence[mpz], digits: list[list[int]], window: int, modulus: mpz) -> list[mpz]:
    """Return, for each row of digits, the product of all number^digit: as many rows at once as there are lanes."""
    modulo, count = kernel.arithmetic(modulus), len(numbers)
    rows = modulo.enter([*[mpz(1)] * count, *numbers])
    table = np.concatenate([rows, np.empty((count * ((1 << window) - 2), modulo.words), rows.dtype)])
    own = np.arange(count)
    for power in range(2, 1 << window):
        factors = [own + count * (power - 1), own + count]
        modulo.multiply(table, factors, out=table[count * power : count * (power + 1)])
    return modulo.leave(modulo.multiply(table, (np.array(digits) * count + own).T))
