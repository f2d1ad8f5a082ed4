"""Put a new federation into folders that are there already, such as the volumes of containers, one for each party.

What `make_federation` does in one step is done here in several, so the registrar's own card is written last: as long as
it is missing nothing was handed over, and what an attempt that was cut off has left is written over.
"""

from __future__ import annotations

import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import SettingsError, StorageError
from core.identity.files import write_file
from core.identity.members import Roster
from core.wording import counted, listing
from registrar.folder import CARD, read_address, read_own_roster
from registrar.folder import NAME as REGISTRAR
from registrar.publishing import WHO_GETS_WHAT, Federation


def make_if_missing(
    folder: Path,
    clients: int,
    holders: int,
    threshold: int,
    make: Callable[[Path], Federation],
    *,
    address: str | None = None,
    prefixes: tuple[str, str] | None = None,
    observer: str | None = None,
) -> tuple[Federation, bool]:
    """Return the federation in `folder`, and whether it was made just now, by `make` in a new place.

    FOLDER/NAME may be there, empty, for any party. `prefixes` are those of the names of clients and key holders;
    `observer` is the name of one.
    Raises SettingsError, which names all that differs, if the federation that is there has another threshold, other key
    holders, fewer clients, another address of the server or other names; StorageError; what `make` raises.
    """
    if (folder / REGISTRAR / CARD).is_file():
        roster = read_own_roster(folder / REGISTRAR)
        differences = [
            *_other_numbers(roster, clients, holders, threshold),
            *_other_names(roster, prefixes),
            *_other_address(folder, address),
            *_other_observer(roster, observer),
        ]
        if differences:
            there = (
                f"{counted(len(roster.clients), 'client')} with {roster.threshold} of {len(roster.holders)} key holders"
            )
            raise SettingsError(
                f"{folder} holds a federation of {there}; expected {listing(differences)}. Ask for what is there, or "
                "remove it to make a new one (in containers: docker compose down --volumes)"
            )
        return Federation(folder, roster), False
    with tempfile.TemporaryDirectory() as scratch:
        made = make(Path(scratch, "federation"))
        _hand_over(made.folder, folder)
    return Federation(folder, made.roster), True


def _other_numbers(roster: Roster, clients: int, holders: int, threshold: int) -> Iterator[str]:
    if len(roster.clients) < clients:
        yield f"at least {counted(clients, 'client')}"
    if (roster.threshold, len(roster.holders)) != (threshold, holders):
        yield f"{threshold} of {counted(holders, 'key holder')}"


def _other_names(roster: Roster, prefixes: tuple[str, str] | None) -> Iterator[str]:
    if prefixes is not None:
        for members, prefix in zip((roster.clients, roster.holders), prefixes, strict=True):
            if members and members[0].name != f"{prefix}-{members[0].number}":
                yield f"the name {prefix}-{members[0].number}, not {members[0].name}"


def _other_address(folder: Path, address: str | None) -> Iterator[str]:
    there = read_address(folder / REGISTRAR)
    if address is not None and address != there:
        yield f"its server at {address}, not {there}"


def _other_observer(roster: Roster, observer: str | None) -> Iterator[str]:
    if observer is not None and observer not in {member.name for member in roster.observers}:
        yield f"an observer named {observer}"


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
