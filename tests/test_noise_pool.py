"""A pool hands each piece of noise out once, makes what is missing, and refuses to be copied."""

from __future__ import annotations

import os
import threading

import pytest
from gmpy2 import mpz

from book.decryption import generate_decryptor
from core.secagg.factory import encryptor_for
from core.secagg.noise_pool import BATCH, NoisePool


class Counting:
    """A source that numbers what it hands out, so that a piece handed out twice shows."""

    def __init__(self) -> None:
        self.next = 0
        self._lock = threading.Lock()

    def draw_known(self, count: int) -> list[tuple[mpz, int]]:
        with self._lock:
            first, self.next = self.next, self.next + count
        return [(mpz(number), -number) for number in range(first, first + count)]


def test_what_was_made_ahead_is_handed_out_once_and_the_rest_is_made_then():
    source = Counting()
    pool = NoisePool(lambda: source, size=BATCH + 3)
    pool.wait()
    assert source.next == BATCH + 3
    assert pool.draw(BATCH) == list(range(BATCH))
    assert pool.draw(5) == list(range(BATCH, BATCH + 5))
    assert source.next == BATCH + 5
    assert pool.draw(0) == []


def test_drawing_while_it_is_being_filled_hands_nothing_out_twice():
    pool = NoisePool(Counting, size=2_000)
    drawn: list[mpz] = []
    threads = [threading.Thread(target=lambda: drawn.extend(pool.draw(700))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.wait()
    drawn += pool.draw(10)
    assert len(set(drawn)) == len(drawn) == 2_810


def test_closing_stops_the_filling_and_forgets_what_is_left():
    going_on = threading.Event()

    class Slow(Counting):
        def draw_known(self, count: int) -> list[tuple[mpz, int]]:
            going_on.wait()
            return super().draw_known(count)

    source = Slow()
    pool = NoisePool(lambda: source, size=10 * BATCH)
    pool._closed.set()
    going_on.set()
    pool.close()
    assert source.next <= BATCH  # the batch that was being made, at most
    assert pool.draw(1) == [mpz(source.next - 1)]


def test_what_is_drawn_before_it_is_ready_is_not_made_ahead_any_more():
    going_on = threading.Event()

    class SlowAhead(Counting):
        def draw_known(self, count: int) -> list[tuple[mpz, int]]:
            if threading.current_thread().name == "noise":
                going_on.wait()
            return super().draw_known(count)

    source = SlowAhead()
    pool = NoisePool(lambda: source, size=20 * BATCH)
    assert len(set(pool.draw(19 * BATCH))) == 19 * BATCH
    going_on.set()
    pool.wait()
    assert source.next <= 20 * BATCH


def test_a_round_that_comes_to_nothing_leaves_no_noise_being_made(monkeypatch):
    started = []

    class Endless(Counting):
        def draw_known(self, count: int) -> list[tuple[mpz, int]]:
            started.append(threading.current_thread())
            return super().draw_known(count)

    key = generate_decryptor("paillier", 256).public_key
    monkeypatch.setattr("core.secagg.factory.noise_for", lambda *_: Endless())
    encryptor = encryptor_for(key, 1_000_000)
    encryptor.close()
    assert not any(thread.is_alive() for thread in started)


def test_a_forked_process_is_refused():
    pool = NoisePool(Counting, size=3)
    pool.wait()
    pool._process = os.getpid() + 1  # as it is for a child
    with pytest.raises(RuntimeError, match="forked process"):
        pool.draw(1)
