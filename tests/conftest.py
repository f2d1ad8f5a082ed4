"""Fixtures that several test files share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from parties import Parties


@pytest.fixture
def parties(tmp_path: Path) -> Iterator[Parties]:
    """Real processes, all ended when the test is over."""
    parties = Parties(tmp_path)
    yield parties
    parties.close()


@pytest.fixture
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Key files that open in no time, in this process only."""
    monkeypatch.setattr("core.identity.key_file.SMALLEST_COST", 1)
    monkeypatch.setattr("core.identity.key_file.COST", 1)
