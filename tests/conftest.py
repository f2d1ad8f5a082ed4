"""Fixtures that several test files share."""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

from browser import Page, browser
from federations import HonestAttempt, SmallFederation
from in_process import SpamFederation, Start
from invited import Invited
from manual_parties import ManualParties
from parties import Parties
from templates import TEMPLATES

from core.checks import Verifier
from keyholder.holder import KeyHolder

# Tests write and sync many small files; in memory that takes a fifth of the time.
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2 << 30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

# Machines are shared: how long an example takes says nothing of the code.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared-machine")

# Started in the background by a shell, tests would pass on that Ctrl-C is ignored, and the parties would ignore it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# The same is true of the end of a terminal where tests run under `nohup`.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def template_folder(tmp_path_factory: pytest.TempPathFactory) -> None:
    TEMPLATES.append(tmp_path_factory.mktemp("templates"))


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    """Real processes, all ended when the test is over."""
    parties = Parties(tmp_path)
    yield parties
    parties.close()


@pytest.fixture
def manual(parties: Parties) -> Iterator[ManualParties]:
    """Clients and holders of the same federation that wait where the test wants them to."""
    manual = ManualParties(parties)
    yield manual
    manual.close()


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts federations in this process, and closes them when the test is over."""
    started: list[SpamFederation] = []

    async def start(*rules: Any, absent: Collection[str] = (), gather: bool = True, **how: Any) -> SpamFederation:
        federation = SpamFederation(tmp_path / f"in-process-{len(started)}", *rules, **how)
        started.append(federation)
        for name in absent:
            await federation.party(name).stop()
        await federation.start()
        if gather:
            await federation.gather()
        return federation

    yield start
    for federation in started:
        await federation.close()


# ------------------------------------------------------------------------------------------------ one key holder


@pytest.fixture(scope="session")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
    """Four clients and three key holders; every attempt has a round key of its own."""
    federation = SmallFederation(tmp_path_factory.mktemp("four") / "federation", clients=4)
    yield federation
    federation.close()


@pytest.fixture(scope="module")
def kept(federation: SmallFederation) -> HonestAttempt:
    """An attempt for all tests of a module, which leave it as it is."""
    return HonestAttempt(federation, federation.deal()[0])


@pytest.fixture(scope="module")
def verifier(federation: SmallFederation) -> Verifier:
    return federation.verifier()


@pytest.fixture
def attempt(federation: SmallFederation) -> HonestAttempt:
    return HonestAttempt(federation, federation.deal()[0])


@pytest.fixture
def holder(federation: SmallFederation, tmp_path: Path) -> KeyHolder:
    return federation.key_holder(1, tmp_path / "holder")


@pytest.fixture
def waiting(tmp_path: Path) -> Invited:
    return Invited.make(tmp_path)


@pytest.fixture
def made(waiting: Invited) -> Invited:
    return waiting.found()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of a real browser."""
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


@pytest.fixture
def quiet(page: Page) -> Iterator[Page]:
    """The same page, which must complain of nothing."""
    page.errors()
    yield page
    assert page.errors() == []
