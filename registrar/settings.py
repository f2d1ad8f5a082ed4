"""Settings of the registrar's programs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.errors import SettingsError
from core.identity import certificates
from core.identity.members import Role
from core.secagg.scheme import DEFAULT_KEY_BITS, PAILLIER
from core.settings.common import HOLDERS, THRESHOLD, InsecureDemoKeys, KeyBits, SchemeName
from core.settings.setting import Bounds, Setting, Settings
from core.who_reads import DEFAULT_HOLDERS, DEFAULT_MIN_COHORT, DEFAULT_THRESHOLD
from core.wording import counted
from registrar.enrolment import DAYS
from registrar.federation import DEFAULT_ADDRESS, MOST_CLIENTS
from registrar.invitations import MOST_CLIENTS_INVITED
from results.page import DEFAULT_LISTEN

DEFAULT_FOLDER = Path("runs/federation")
FederationFolder = Annotated[Path, Setting("The federation's folder.", "folder")]

PassphraseFile = Annotated[Path | None, Setting("File with the registrar's passphrase.", "file")]
Registration = Annotated[
    str | None, Setting("Where `registrar serve` will be reached; invitations say so.", "HOST:PORT")
]
Days = Annotated[int, Setting("How long invitations are good.", "days", Bounds(at_least=1, at_most=365))]
Years = Annotated[int, Setting("How long certificates are good.", "years")]


@dataclass(frozen=True, kw_only=True)
class InitSettings(Settings):
    """A new federation."""

    clients: Annotated[
        int,
        Setting(
            "How many clients; 0 if all are to be invited later.", "clients", Bounds(at_least=0, at_most=MOST_CLIENTS)
        ),
    ]
    holders: Annotated[int, HOLDERS] = DEFAULT_HOLDERS
    threshold: Annotated[int, THRESHOLD] = DEFAULT_THRESHOLD
    min_cohort: Annotated[
        int,
        Setting(
            "No party opens a sum of fewer; another number than the default is written into every party's policy.toml.",
            "clients",
            Bounds(at_least=1),
        ),
    ] = DEFAULT_MIN_COHORT
    address: Annotated[str, Setting("Where the server will be.", "HOST:PORT")] = DEFAULT_ADDRESS
    operator: Annotated[list[str] | None, Setting("Who runs a party; may be repeated.", "NAME=WHO")] = None
    client_prefix: Annotated[str, Setting("Clients are named PREFIX-1, PREFIX-2, ...")] = "client"
    holder_prefix: Annotated[str, Setting("Key holders are named PREFIX-1, PREFIX-2, ...")] = "keyholder"
    observer: Annotated[
        str | None, Setting("Also an observer of this name, which may watch and nothing else.", "name")
    ] = None
    years: Years = certificates.YEARS
    if_missing: Annotated[bool, Setting("Leave a federation that is there as it is; fill folders that are.")] = False
    invite: Annotated[
        bool, Setting("Make no party's keys: write an invitation for each party, which makes its own.")
    ] = False
    registration: Registration = None
    days: Days = DAYS

    def __post_init__(self) -> None:
        super().__post_init__()
        if 0 < self.clients < self.min_cohort:
            raise SettingsError(
                f"the federation is to have {counted(self.clients, 'client')}, and its parties open no sum of fewer "
                f"than {self.min_cohort}; pass --min-cohort {self.clients} to let them open smaller ones"
            )


@dataclass(frozen=True, kw_only=True)
class InviteSettings(Settings):
    """An invitation."""

    federation: FederationFolder = DEFAULT_FOLDER
    role: Annotated[Role, Setting("What the party is to do.")] = Role.CLIENT
    clients: Annotated[
        int | None,
        Setting(
            "Invite this many clients by one file, and name them NAME-1, NAME-2, ...; anyone with the file can enrol "
            "as many clients as are left.",
            "clients",
            Bounds(at_least=1, at_most=MOST_CLIENTS_INVITED),
        ),
    ] = None
    operator: Annotated[str, Setting("Who runs it.")] = ""
    registration: Registration = None
    days: Days = DAYS
    out: Annotated[
        Path | None, Setting("Where to write the invitation; default FEDERATION/invitations/NAME.invitation.", "file")
    ] = None
    passphrase_file: PassphraseFile = None


@dataclass(frozen=True, kw_only=True)
class ClassSettings(Settings):
    """A class in a room."""

    folder: Annotated[Path, Setting("Where to make it; a new or empty folder.", "folder")] = Path("runs/class")
    address: Annotated[
        str | None,
        Setting(
            "Where the teacher's server will be, as students reach it; default port 50551 of this machine's address in "
            "the local network.",
            "HOST:PORT",
        ),
    ] = None
    registration: Annotated[
        str | None, Setting("Where the registrar's service will be; default port 50552 of the same host.", "HOST:PORT")
    ] = None
    rounds: Annotated[int, Setting("How many rounds.", "rounds", Bounds(at_least=1, at_most=1000))] = 10
    page: Annotated[str, Setting("Where the dashboard's page will be, on the teacher's machine.", "HOST:PORT")] = (
        DEFAULT_LISTEN
    )
    days: Days = DAYS


@dataclass(frozen=True, kw_only=True)
class ServeSettings(Settings):
    """The registrar's service."""

    federation: FederationFolder = DEFAULT_FOLDER
    listen: Annotated[str, Setting("Where to listen; port 0 lets the system choose.", "HOST:PORT")] = "127.0.0.1:50552"
    until_complete: Annotated[bool, Setting("End when all who were invited have come.")] = False
    until_quiet: Annotated[
        float | None, Setting("End when no one has come for this long.", "seconds", Bounds(at_least=1))
    ] = None
    at_least: Annotated[
        int,
        Setting(
            "With --until-quiet: do not end before this many clients are enrolled, or no one came for ten minutes.",
            "clients",
            Bounds(at_least=0),
        ),
    ] = 0
    years: Years = certificates.YEARS
    passphrase_file: PassphraseFile = None


@dataclass(frozen=True, kw_only=True)
class DealSettings(Settings):
    """Round keys to deal."""

    keys: Annotated[
        int, Setting("How many round keys; each attempt takes one.", "keys", Bounds(at_least=1, at_most=100_000))
    ] = 20
    scheme: SchemeName = PAILLIER
    key_bits: KeyBits = DEFAULT_KEY_BITS
    top_up: Annotated[bool, Setting("Deal only as many as are missing until --keys of them are unused.")] = False
    insecure_demo_keys: InsecureDemoKeys = False
    passphrase_file: PassphraseFile = None
