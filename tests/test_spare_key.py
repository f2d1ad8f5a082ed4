"""The key holder keeps one key ahead and hands each out once."""

from __future__ import annotations

import threading

import pytest

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


def test_the_kind_of_the_spare_is_that_which_was_asked_for_last():
    make = Maker()
    spare = SpareKey(make)
    for bits in (256, 512, 512):
        assert spare.take("paillier", bits).public_key.bits == bits
        make.spare_made.acquire()
    assert len(make.asked) == 5  # the last came from the spare: 256, its spare, 512, its spare, and the next spare


def test_a_spare_that_could_not_be_made_is_made_again():
    failing = [False]

    def make(scheme: str, bits: int) -> Decryptor:
        if failing[0]:
            raise MemoryError("no room")
        return generate_decryptor("plain", bits)

    spare = SpareKey(make)
    failing[0] = True
    with pytest.raises(MemoryError):
        spare.take("paillier", 256)
    failing[0] = False
    assert spare.take("paillier", 256).public_key.bits == 256


def test_nobody_waits_for_a_spare_that_is_not_needed_any_more():
    spare = SpareKey(Maker())
    spare.take("paillier", 256)
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "spare-key")


def test_no_two_keys_are_the_same():
    spare = SpareKey()
    moduli = {spare.take("paillier", 128).public_key.modulus for _ in range(5)}
    assert len(moduli) == 5
