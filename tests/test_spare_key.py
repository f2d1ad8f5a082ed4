"""The key holder keeps one key ahead and hands each out once."""

from __future__ import annotations

import threading

from core.secagg.decryption import generate_decryptor
from core.secagg.scheme import Decryptor
from keyholder.spare import SpareKey


class Maker:
    """Makes plain keys, notes what was asked for, and says when a spare was made."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []
        self.spare_made = threading.Semaphore(0)

    def __call__(self, scheme: str, bits: int) -> Decryptor:
        self.asked.append((scheme, bits))
        key = generate_decryptor("plain", bits)
        if threading.current_thread().name.startswith("spare-key"):
            self.spare_made.release()
        return key


def test_the_next_key_is_there_before_it_is_asked_for():
    make = Maker()
    spare = SpareKey(make)
    first = spare.take("paillier", 256)
    make.spare_made.acquire()
    assert len(make.asked) == 2
    second = spare.take("paillier", 256)
    make.spare_made.acquire()
    assert len(make.asked) == 3
    assert first is not second


def test_a_key_of_another_kind_is_made_anew():
    make = Maker()
    spare = SpareKey(make)
    spare.take("paillier", 256)
    assert spare.take("paillier", 512).public_key.bits == 512
    make.spare_made.acquire()
    make.spare_made.acquire()
    assert spare.take("paillier", 512).public_key.bits == 512


def test_no_two_keys_are_the_same():
    spare = SpareKey()
    moduli = {spare.take("paillier", 128).public_key.modulus for _ in range(5)}
    assert len(moduli) == 5
