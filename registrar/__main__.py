"""Make a federation, change who belongs to it, and deal its round keys. Only `serve` needs a network.

python -m registrar init FOLDER --clients 5
python -m registrar invite NAME --federation FOLDER
python -m registrar admit REQUEST --federation FOLDER
python -m registrar deal FOLDER --keys 20
python -m registrar revoke FOLDER client-3
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import asyncio
import sys
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from core.clock import today
from core.commands import command_of
from core.console import configure_log, reporting_errors
from core.errors import SettingsError
from core.identity import certificates
from core.identity.files import PUBLIC, read_file, write_file
from core.identity.invitation import ENDING, write_invitation
from core.identity.members import Role, Roster
from core.identity.party import CARD, SHARES
from core.identity.request import LARGEST_REQUEST, read_request
from core.program import Program
from core.secagg.scheme import check_key_bits
from core.settings.command_line import Given, options_of
from core.settings.setting import Setting
from core.who_reads import WhoReads
from registrar import enrolment, replacing, service
from registrar import federation as registry
from registrar.class_room import SHEET, ClassRoom, make_class
from registrar.dealer import Dealer, dealt_to_all
from registrar.enrolment import Guest
from registrar.federation import DEFAULT_ADDRESS, THIS_MACHINE, WHO_GETS_WHAT, Federation, Names, Terms
from registrar.folder import (
    Founding,
    Registrar,
    load_registrar,
    read_own_roster,
    registrar_folder,
    reserve_serials,
)
from registrar.handing_over import make_if_missing
from registrar.invitations import expiry
from registrar.own_address import own_host
from registrar.publishing import ANSWERS, INVITED, folder_for_shares, make_place
from registrar.settings import (
    DEFAULT_FOLDER,
    ClassSettings,
    DealSettings,
    FederationFolder,
    InitSettings,
    InviteSettings,
    PassphraseFile,
    ServeSettings,
    Years,
)
from registrar.words import runs

app = Program(__doc__)

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The federation's folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The party's name.")]


@app.command()
@options_of(InitSettings)
def init(folder: Folder, given: Given) -> None:
    """Make a new federation: keys, certificates, roster, and a folder for each party; or an invitation for each."""
    with reporting_errors():
        settings = given.make(InitSettings)
        if settings.invite:
            _say_invited(folder, _make_invitations(settings, folder))
            return
        make = partial(_make, settings)
        if settings.if_missing:
            names = (settings.client_prefix, settings.holder_prefix)
            made, new = make_if_missing(
                folder, settings.clients, settings.holders, settings.threshold, make, address=settings.address,
                prefixes=names, observer=settings.observer,
            )  # fmt: skip
        else:
            made, new = make(folder), True
        if new:
            roster = made.roster
            print(WhoReads(roster.threshold, len(roster.holders), settings.min_cohort).sentence)
            print(
                f"federation {made.roster.federation} is in {folder}; {folder / WHO_GETS_WHAT} says what to do with it"
            )
        else:
            print(
                f"federation {made.roster.federation} is in {folder} already, with roster version {made.roster.version}"
            )


def _make(settings: InitSettings, folder: Path) -> Federation:
    made = registry.make_federation(
        folder,
        clients=settings.clients,
        holders=settings.holders,
        threshold=settings.threshold,
        address=settings.address,
        names=_names(settings),
        now=datetime.now(UTC),
        years=settings.years,
    )
    registry.set_min_cohort(made, settings.min_cohort)
    return made


def _make_invitations(settings: InitSettings, folder: Path) -> Registrar:
    if settings.if_missing:
        raise SettingsError("--if-missing is for a federation whose keys are made here; leave it out with --invite")
    return registry.make_invitations(
        folder,
        clients=settings.clients,
        founding=Founding(settings.threshold, settings.holders),
        address=settings.address,
        terms=Terms(settings.registration or "", expiry(settings.days, datetime.now(UTC))),
        names=_names(settings),
        now=datetime.now(UTC),
        years=settings.years,
    )


def _names(settings: InitSettings) -> Names:
    operators = _operators(settings.operator or [])
    return Names(settings.client_prefix, settings.holder_prefix, operators, settings.observer or "")


def _say_invited(folder: Path, registrar: Registrar) -> None:
    print(
        f"federation {registrar.federation} is in {folder}, without parties; its invitations are in {folder / INVITED}"
    )
    print(f"its registrar has the key {registrar.signing.public.hex()}")
    print(f"{folder / WHO_GETS_WHAT} says what to do with them")


@app.command()
@options_of(InviteSettings)
def invite(
    given: Given,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The party's name.")] = "client",
) -> None:
    """Invite a party, which makes its own keys, by a file that is good once."""
    with reporting_errors():
        settings = given.make(InviteSettings)
        folder, several = settings.federation, settings.clients is not None
        guest = Guest(
            name, settings.role, expiry(settings.days, datetime.now(UTC)), settings.operator, settings.clients or 1,
            several=several, address=settings.registration or "",
        )  # fmt: skip
        invitation = enrolment.invite(load_registrar(folder, settings.passphrase_file), guest)
        path = settings.out or make_place(folder, INVITED) / f"{name}{ENDING}"
        write_invitation(path, invitation)
        print(f"give {path} to its party, in private: anyone with it can enrol in that party's place")
        print(f"the registrar's key is {invitation.registrar.hex()}")


@app.command()
@options_of()
def admit(
    request: Annotated[Path, typer.Argument(metavar="FILE", help="The request of a party that was invited.")],
    federation: FederationFolder = DEFAULT_FOLDER,
    years: Years = certificates.YEARS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Admit a party by its request, and write the answer that it is to install."""
    with reporting_errors():
        registrar = load_registrar(federation, passphrase_file)
        checked = read_request(read_file(request, LARGEST_REQUEST), registrar.proof_key)
        outcome = enrolment.admit(registrar, checked, datetime.now(UTC), years)
        if outcome.answer is None:
            print(f"{outcome.name} is admitted; the answers are written when {', '.join(outcome.missing)} came too")
            return
        answers = {outcome.name: outcome.answer}
        if outcome.first_roster:
            answers = enrolment.answers(registrar.now())
        place = make_place(federation, ANSWERS)
        for name, answer in answers.items():
            write_file(place / f"{name}.answer", answer, PUBLIC)
            print(f"{name} is enrolled; send it {place / name}.answer, which is no secret")


@app.command()
@options_of(ServeSettings)
def serve(given: Given) -> None:
    """Admit parties over the network, as long as parties join; Ctrl-C ends it."""
    configure_log()
    with reporting_errors():
        settings = given.make(ServeSettings)
        registrar = load_registrar(settings.federation, settings.passphrase_file)
        registration = service.Registration(registrar, settings.years)
        ending = service.Ending(settings.until_complete, settings.until_quiet, settings.at_least)
        print(asyncio.run(service.serve(registration, settings.listen, ending)))


@app.command(name="class")
@options_of(ClassSettings)
def class_room(
    students: Annotated[int, typer.Argument(metavar="STUDENTS", help="How many students.")],
    given: Given,
) -> None:
    """Make a federation for a class: one zip for each student, and a sheet with what to type."""
    with reporting_errors():
        settings, now = given.make(ClassSettings), datetime.now(UTC)
        address = settings.address or f"{own_host()}:{DEFAULT_ADDRESS.rpartition(':')[2]}"
        registration = settings.registration or f"{address.rpartition(':')[0]}:50552"
        room = ClassRoom(students, address, registration, settings.rounds, settings.page)
        zips = make_class(settings.folder.absolute(), room, expiry(settings.days, now), now)
        if settings.address is None:
            print(
                f"students will reach this machine at {address}, its address in the local network; if that is not the "
                f"one they can reach, remove {settings.folder} and make the class again with --address HOST:PORT"
            )
        print(f"{len(zips)} zips are in {zips[0].parent}; {settings.folder / SHEET} says what to do with them")


@app.command()
@options_of()
def add_client(
    folder: Folder,
    name: Name,
    operator: Annotated[str, Setting("Who runs it.")] = THIS_MACHINE,
    years: Years = certificates.YEARS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Enrol one more client."""
    with reporting_errors():
        _add(folder, name, Role.CLIENT, operator, years, passphrase_file)


@app.command()
@options_of()
def add_observer(
    folder: Folder,
    name: Name,
    operator: Annotated[str, Setting("Who runs it.")] = THIS_MACHINE,
    years: Years = certificates.YEARS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Enrol an observer, which may watch how runs go on, and do nothing else. `python -m dashboard` is one."""
    with reporting_errors():
        _add(folder, name, Role.OBSERVER, operator, years, passphrase_file)


def _add(folder: Path, name: str, role: Role, operator: str, years: int, passphrase_file: Path | None) -> None:
    changed = registry.add_member(
        folder, name, role=role, operator=operator, now=datetime.now(UTC), years=years, passphrase_file=passphrase_file
    )
    print(f"give {changed.party(name)} and {changed.passphrase_file(name)} to its operator, by two different ways")
    _say_hand_out(changed)


@app.command()
@options_of()
def revoke(folder: Folder, name: Name, passphrase_file: PassphraseFile = None) -> None:
    """Revoke a party for good. A client that is to go on gets a new name with add-client."""
    with reporting_errors():
        _say_hand_out(registry.revoke(folder, name, passphrase_file=passphrase_file))


@app.command()
@options_of()
def replace_holder(
    folder: Folder,
    name: Name,
    new: Annotated[str | None, typer.Argument(metavar="[NEW]", help="The new key holder's name.")] = None,
    operator: Annotated[str, Setting("Who runs it.")] = THIS_MACHINE,
    years: Years = certificates.YEARS,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Revoke a key holder and enrol another one in its place. Keys dealt before are retired: deal new ones then."""
    with reporting_errors():
        changed, new_name = replacing.replace_holder(
            folder, name, new, operator=operator, now=datetime.now(UTC), years=years, passphrase_file=passphrase_file
        )
        print(f"{new_name} takes the place of {name}, which is revoked")
        folders = f"{changed.party(new_name)} and {changed.passphrase_file(new_name)}"
        print(f"give {folders} to its operator, by two different ways")
        _say_hand_out(changed)
        deal = f"{command_of('registrar')} deal {folder}"
        print(f"round keys up to {changed.roster.retired_keys} are retired; deal new ones with {deal}")


@app.command()
@options_of(DealSettings)
def deal(folder: Folder, given: Given) -> None:
    """Make round keys ahead, give each holder its share of each, sealed, and keep nothing."""
    with reporting_errors():
        settings = given.make(DealSettings)
        keys, scheme, key_bits = settings.keys, settings.scheme, settings.key_bits
        check_key_bits(scheme, key_bits, insecure_demo_keys=settings.insecure_demo_keys)
        registrar = load_registrar(folder, settings.passphrase_file)
        folders = {
            each.name: folder_for_shares(registrar.folder.parent, each.name) for each in registrar.roster.holders
        }
        dealer = Dealer(registrar.roster, registrar.signing, folders.__getitem__, today())
        if settings.top_up:
            active = [folders[each.name] for each in registrar.roster.active_holders]
            unused = len(dealt_to_all(active, scheme, key_bits, today()))
            print(f"{unused} keys are unused, {keys} are wanted", flush=True)
            keys = max(0, keys - unused)
        first = reserve_serials(registrar, keys)
        for done, serial in enumerate(dealer.deal(first, keys, scheme, key_bits), start=1):
            print(f"dealt key {serial}: {done} of {keys}", flush=True)
        for name, place in folders.items():
            if not (place / CARD).is_file():
                print(f"send {name} the files in {place / SHARES}, for its own shares/, and then remove them here")


@app.command()
def show(folder: Folder) -> None:
    """Show who belongs to the federation. Needs no passphrase."""
    with reporting_errors():
        roster = read_own_roster(registrar_folder(folder))
        opening = f"{roster.threshold} of {len(roster.holders)} key holders open a sum"
        print(f"federation {roster.federation}, roster version {roster.version}; {opening}")
        Console(width=None if sys.stdout.isatty() else 100).print(_table(roster))
        for who, names in roster.operators().items():
            if len(names) > 1:
                print(f"{runs(who, names)}; nothing is guaranteed between them")


def _operators(given: list[str]) -> dict[str, str]:
    """NAME=WHO, several times, as a mapping. Raises SettingsError."""
    found: dict[str, str] = {}
    for pair in given:
        name, equals, who = pair.partition("=")
        if not (name and equals and who) or name in found:
            raise SettingsError(f"--operator is {pair[:80]!r}; expected NAME=WHO, once for each NAME")
        found[name] = who
    return found


def _say_hand_out(federation: Federation) -> None:
    here = ", ".join(federation.parties_here) or "none of the parties' folders"
    print(f"roster version {federation.roster.version} is signed; it is in {here}")
    print(f"send {federation.folder / 'registrar' / 'roster.json'} to every party, to replace the roster.json it has")


def _table(roster: Roster) -> Table:
    made = Table("name", "role", "number", "operator", "", box=box.SIMPLE_HEAD)
    for member in roster.members:
        state = "revoked" if member.revoked else ""
        made.add_row(member.name, member.role, str(member.number), member.operator, state)
    return made


if __name__ == "__main__":
    app()
