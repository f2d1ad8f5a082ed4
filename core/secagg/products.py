"""A product that grows: of many numbers at once, each time a payload comes, modulo n² or n³."""

from __future__ import annotations

from typing import Protocol

import gmpy2
import numpy as np
from gmpy2 import mpz

from core.secagg import kernel
from core.secagg.scheme import join_payload


class RunningProduct(Protocol):
    """As many products as a payload has numbers, each 1 to begin with."""

    def multiply(self, payload: bytes) -> None:
        """Multiply each product by its number of the payload; all of them are below the modulus."""

    def payload(self) -> bytes:
        """Return the products so far."""


def running_product(modulus: mpz, count: int, size: int) -> RunningProduct:
    """Return `count` products of numbers of `size` big-endian bytes, with the kernel where there is one."""
    return (KernelProduct if kernel.available(modulus.bit_length()) else GmpProduct)(modulus, count, size)


def all_units(numbers: list[mpz], modulus: mpz) -> bool:
    """Tell whether no number shares a factor with an odd modulus: their product shares it too, so one gcd is enough."""
    if kernel.chosen(modulus.bit_length()) != kernel.IFMA:  # with AVX2, cutting into limbs takes longer than it saves
        product = mpz(1)
        for number in numbers:
            product = product * number % modulus
        return bool(gmpy2.gcd(product, modulus) == 1)
    modulo = kernel.Montgomery(modulus)
    rows = modulo.rows(numbers)
    while len(rows) > 1:  # pair by pair; the odd one out comes along, as do divisions by R, which is a unit
        half = len(rows) // 2
        rows = np.concatenate([modulo.multiply(rows, np.arange(2 * half).reshape(2, half)), rows[2 * half :]])
    return all(gmpy2.gcd(number, modulus) == 1 for number in modulo.integers(rows))


class GmpProduct:
    """One multiplication after the other. Args: as of running_product."""

    def __init__(self, modulus: mpz, count: int, size: int) -> None:
        self._modulus, self._size = modulus, size
        self._products = [mpz(1)] * count

    def multiply(self, payload: bytes) -> None:
        """Multiply each product by the number at its place in the payload."""
        pieces = range(0, len(payload), self._size)
        numbers = (mpz.from_bytes(payload[start : start + self._size], "big") for start in pieces)
        self._products = [old * new % self._modulus for old, new in zip(self._products, numbers, strict=True)]

    def payload(self) -> bytes:
        """Return the products so far."""
        return join_payload(self._products, self._size)


class KernelProduct:
    """Eight at a time. Args: as of running_product.

    Montgomery's product divides by R each time; that is made up for at the end, once.
    """

    def __init__(self, modulus: mpz, count: int, size: int) -> None:
        self._modulo = kernel.Montgomery(modulus)
        self._count, self._size = count, size
        # Blocks of rows: products, the numbers of a payload, products. The products change from first to last and back.
        self._blocks = np.empty((3, count, self._modulo.words), np.uint64)
        self._places = np.arange(3 * count).reshape(3, count)
        self._at = 0
        self._divisions = 0
        self._blocks[0] = self._modulo.rows([mpz(1)] * count)

    def multiply(self, payload: bytes) -> None:
        """Multiply each product by the number at its place in the payload."""
        little = np.frombuffer(payload, np.uint8).reshape(self._count, self._size)[:, ::-1].tobytes()
        self._blocks[1] = self._modulo.rows_of_bytes(little, self._size)
        table = self._blocks.reshape(3 * self._count, self._modulo.words)
        into = 2 - self._at
        self._modulo.multiply(table, self._places[[self._at, 1]], out=self._blocks[into])
        self._at = into
        self._divisions += 1

    def payload(self) -> bytes:
        """Return the products so far."""
        modulo = self._modulo
        # One more division comes with making up for those before.
        missing = modulo.rows([pow(modulo.r, self._divisions + 1, modulo.modulus)])
        table = np.concatenate([self._blocks[self._at], missing])
        places = np.arange(self._count)
        whole = modulo.multiply(table, [places, np.full(self._count, self._count)])
        return join_payload(modulo.integers(whole), self._size)
