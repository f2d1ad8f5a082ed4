"""A simulation that is killed while keys are being dealt leaves no process."""

from __future__ import annotations

import os

import pytest
from parties import Parties, processes_of
from test_simulation import _children_of, _wait_for_end

pytestmark = pytest.mark.slow


def test_not_even_a_dealer_is_left(parties: Parties) -> None:
    simulation = parties.start(
        "simulation", "--clients", "2", "--rounds", "200", "--key-bits", "3072", "--out", parties.folder / "out"
    )
    simulation.hear("the aggregator listens on")
    descriptors = [os.pidfd_open(pid) for pid in _children_of(simulation.process.pid)]
    assert len(descriptors) >= 2, "the dealer and the aggregator"
    simulation.kill()
    for descriptor in descriptors:
        _wait_for_end(descriptor)
    assert processes_of(parties.folder) == []
