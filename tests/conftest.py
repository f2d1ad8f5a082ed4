"""Fixtures that several test files share."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from manual_parties import ManualParties
from parties import Parties, Templates

# Machines are shared: how long an example takes says nothing of the code.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

# Started in the background by a shell, tests would hand on that Ctrl-C is to be ignored, and the parties would ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Templates:
    """Federations to copy."""
    return Templates(tmp_path_factory.mktemp("federations"))


@pytest.fixture
def parties(tmp_path: Path, templates: Templates) -> Iterator[Parties]:
    """Real processes, all ended when the test is over."""
    parties = Parties(tmp_path, templates)
    yield parties
    parties.close()


@pytest.fixture
def hands(parties: Parties) -> Iterator[ManualParties]:
    """Clients and holders of the same federation that wait where the test wants them to."""
    hands = ManualParties(parties)
    yield hands
    hands.close()
