"""The benchmark of whole rounds runs a real federation and finds every party in it."""

from __future__ import annotations

import pytest

from benchmarks import rounds


def test_it_times_every_round_and_finds_every_party():
    whole = rounds.run("plain", clients=2, rounds=3, bits=512)
    assert len(whole.rounds) == 2  # from one completed round to the next
    assert 0 < min(whole.rounds) < whole.total
    assert set(whole.watch.by_party()) >= {"simulation", "server", "keyholder", "client"}
    assert sorted(whole.watch.names.values()).count("client") == 2
    assert all(seconds > 0 for seconds in whole.watch.by_party().values())
    assert 50e6 < whole.watch.memory < 1e9


def test_a_federation_that_fails_is_reported_with_what_it_said():
    with pytest.raises(RuntimeError, match="the federation of 1 clients failed: .*at least 2 are needed"):
        rounds.run("paillier", clients=1, rounds=1, bits=2048)
