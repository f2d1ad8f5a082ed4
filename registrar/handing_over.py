"""Put a new federation into folders that are there already, such as the volumes of containers, one for each party.

What `make_federation` does in one step is done here in several, so the registrar's own card is written last: as long as
it is missing nothing was handed over, and what an attempt that was cut off has left is written over.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

from core.errors import SettingsError, StorageError
from core.identity.files import write_file
from core.identity.members import Roster
from registrar.federation import WHO_GETS_WHAT, Federation
from registrar.folder import CARD, read_own_roster
from registrar.folder import NAME as REGISTRAR


def make_if_missing(
    folder: Path, clients: int, holders: int, threshold: int, make: Callable[[Path], Federation]
) -> tuple[Federation, bool]:
    """Return the federation in `folder`, and whether it was made just now, by `make` in a place of its own.

    FOLDER/NAME may be there, empty, for any party. Raises SettingsError if the federation that is there has another
    threshold, other key holders, or fewer clients than asked for; StorageError; what `make` raises.
    """
    if (folder / REGISTRAR / CARD).is_file():
        roster = read_own_roster(folder / REGISTRAR)
        _check_is_as_asked(folder, roster, clients, holders, threshold)
        return Federation(folder, roster), False
    with tempfile.TemporaryDirectory() as scratch:
        made = make(Path(scratch, "federation"))
        _hand_over(made.folder, folder)
    return Federation(folder, made.roster), True


def _check_is_as_asked(folder: Path, roster: Roster, clients: int, holders: int, threshold: int) -> None:
    asked = (threshold, holders)
    there = (roster.threshold, len(roster.holders))
    if there != asked or len(roster.clients) < clients:
        raise SettingsError(
            f"{folder} holds a federation of {len(roster.clients)} clients with {there[0]} of {there[1]} key holders; "
            f"expected at least {clients} clients and {asked[0]} of {asked[1]}"
        )


def _hand_over(made: Path, folder: Path) -> None:
    try:
        left_out = shutil.ignore_patterns(CARD)
        for name in sorted(path.name for path in made.iterdir() if path.is_dir()):
            shutil.copytree(made / name, folder / name, dirs_exist_ok=True, copy_function=_copy, ignore=left_out)
        for last in (WHO_GETS_WHAT, f"{REGISTRAR}/{CARD}"):
            _copy(made / last, folder / last)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"{folder} cannot be filled: {error}") from error


def _copy(source: Path | str, to: Path | str) -> None:
    """Copy one file, durably, with its permissions from the first moment."""
    path = Path(source)
    write_file(Path(to), path.read_bytes(), stat.S_IMODE(path.stat().st_mode))
