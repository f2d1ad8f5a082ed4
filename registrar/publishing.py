"""A federation's folder at the registrar, and the roster's way into it.

FOLDER/registrar/        the registrar's own, to be kept offline        (folder.py)
FOLDER/NAME/             one for each party that was made here          (core/identity/party.py)
FOLDER/passphrases/NAME  one for each of these folders
FOLDER/invitations/      one file for each party that makes its own keys
FOLDER/answers/          what the registrar answered to the requests that came as files
FOLDER/for-holders/NAME  round keys for a key holder whose folder is elsewhere
FOLDER/WHO-GETS-WHAT.txt
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from core.errors import SettingsError
from core.identity.files import PUBLIC, write_file
from core.identity.members import Roster, check_name
from core.identity.party import CARD, ROSTER, SHARES
from core.identity.roster import sign_roster
from registrar.folder import NAME as REGISTRAR
from registrar.folder import Registrar, make_folder
from registrar.minimum import read_min_cohort
from registrar.words import who_gets_what

PASSPHRASES, INVITED, ANSWERS, FOR_HOLDERS = "passphrases", "invitations", "answers", "for-holders"
WHO_GETS_WHAT = "WHO-GETS-WHAT.txt"
RESERVED = {name.lower() for name in (REGISTRAR, PASSPHRASES, INVITED, ANSWERS, FOR_HOLDERS, WHO_GETS_WHAT)}


@dataclass(frozen=True)
class Federation:
    """A federation's folder, and the newest roster."""

    folder: Path
    roster: Roster

    def party(self, name: str) -> Path:
        """Return the folder of a party, as long as it is here."""
        return self.folder / name

    def passphrase_file(self, name: str) -> Path:
        """Return the file with a party's passphrase, as long as it is here."""
        return self.folder / PASSPHRASES / name

    @property
    def parties_here(self) -> tuple[str, ...]:
        """Names of the parties whose folders are still here."""
        names = (member.name for member in self.roster.members)
        return tuple(name for name in names if (self.party(name) / CARD).is_file())


def check_party_name(name: str) -> None:
    """Raise SettingsError for what cannot be a party's name, or is needed in the federation's folder."""
    check_name(name)
    if name.lower() in RESERVED:
        raise SettingsError(f"a party cannot be named {name}; that name is needed in the federation's folder")


def make_place(folder: Path, *names: str) -> Path:
    """Return a folder in the federation's, made if it is missing. Raises StorageError."""
    for name in names:
        folder /= name
        if not folder.is_dir():
            make_folder(folder)
    return folder


def folder_for_shares(folder: Path, holder: str) -> Path:
    """Return where a holder's shares are put: its folder if that is here, else one whose content is sent to it."""
    if (folder / holder / CARD).is_file():
        return folder / holder
    make_place(folder, FOR_HOLDERS, holder, SHARES)
    return folder / FOR_HOLDERS / holder


def publish(registrar: Registrar, federation: Federation) -> None:
    """Sign the roster, keep it, and put it into every folder that is here. The registrar's copy comes first: it decides
    which version is the next."""
    raw = sign_roster(federation.roster, registrar.signing)
    for folder in (registrar.folder, *map(federation.party, federation.parties_here)):
        write_file(folder / ROSTER, raw, PUBLIC)
    write_paper(registrar.folder, federation)


def write_paper(registrar: Path, federation: Federation) -> None:
    """Write WHO-GETS-WHAT.txt, by the minimum cohort that the registrar's folder has."""
    paper = who_gets_what(federation.roster, federation.parties_here, read_min_cohort(registrar))
    write_file(federation.folder / WHO_GETS_WHAT, paper.encode(), PUBLIC)
