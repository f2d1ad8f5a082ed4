"""The benchmark of uploads that come all at once runs a real round, and measures the aggregator alone."""

from __future__ import annotations

import pytest

from benchmarks import uploads
from core.federated import initial_model

pytestmark = pytest.mark.slow


def test_it_takes_every_update_in_and_says_what_that_took():
    taken = uploads.take(clients=3, bits=512)
    # Slots of 16 bits, 2 for three clients and 2 to guard: 480 bits hold 24, one of them the counter.
    ciphertexts = -(-(len(initial_model(uploads.TASK, 0)) + 3) // 23)
    assert 0 < taken.update_bytes - ciphertexts * 128 < 150_000  # the proof of the ranges
    assert 0 < taken.upload_seconds <= taken.round_seconds
    assert 50e6 < taken.before_bytes <= taken.peak_bytes < 1e9
