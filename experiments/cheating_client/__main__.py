"""The client's program with another maker of updates: what somebody who cheats could start instead of the real one.

python -m experiments.cheating_client 2a --identity runs/federation/client-1 --mail generated
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import sys
from functools import partial
from typing import NoReturn
from unittest.mock import patch

import client.__main__ as honest
from core.console import reporting_errors
from core.errors import SettingsError
from experiments.cheating_client.catalogue import ROWS
from experiments.cheating_client.scene import LyingParticipant


def main() -> None:
    """Run the client's command line, with the lie that the first argument names by its number in the study's table."""
    known = {row.number: row for row in ROWS if row.uploads is None and not row.passed_on and not row.count_cap}
    with reporting_errors():
        number = sys.argv[1] if len(sys.argv) > 1 else ""
        if number not in known:
            raise SettingsError(f"the lie is {number[:40]!r}; expected one of {', '.join(known)}")
    del sys.argv[1]
    with patch.object(honest, "Participant", partial(LyingParticipant, known[number], _alone)):
        honest.app()


def _alone() -> NoReturn:
    raise SettingsError("this lie needs an accomplice, and a client on its own has none")


if __name__ == "__main__":
    main()
