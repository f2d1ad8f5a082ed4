"""Make a federation, change who belongs to it, and deal its round keys. To be run on a machine without a network.

python -m registrar init FOLDER --clients 5
python -m registrar deal FOLDER --keys 20
python -m registrar revoke FOLDER client-3
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

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
from core.console import help_of, reporting_errors
from core.errors import SettingsError
from core.identity import certificates
from core.identity.members import Roster
from core.secagg.scheme import check_key_bits
from core.settings.command_line import Given, options_of
from core.settings.setting import Setting
from registrar import federation as registry
from registrar.dealer import Dealer, dealt_to_all
from registrar.federation import THIS_MACHINE, WHO_GETS_WHAT, Federation, Names
from registrar.folder import load_registrar, read_own_roster, registrar_folder, reserve_serials
from registrar.handing_over import make_if_missing
from registrar.settings import DealSettings, InitSettings, PassphraseFile, Years

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=help_of(__doc__))

Folder = Annotated[Path, typer.Argument(metavar="FOLDER", help="The federation's folder.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The party's name.")]


@app.command()
@options_of(InitSettings)
def init(folder: Folder, given: Given) -> None:
    """Make a new federation: keys, certificates, roster, and a folder for each party."""
    with reporting_errors():
        settings = given.make(InitSettings)
        make = partial(_make, settings)
        if settings.if_missing:
            names = (settings.client_prefix, settings.holder_prefix)
            made, new = make_if_missing(
                folder, settings.clients, settings.holders, settings.threshold, make, address=settings.address,
                prefixes=names,
            )  # fmt: skip
        else:
            made, new = make(folder), True
        if new:
            print(
                f"federation {made.roster.federation} is in {folder}; {folder / WHO_GETS_WHAT} says what to do with it"
            )
        else:
            print(
                f"federation {made.roster.federation} is in {folder} already, with roster version {made.roster.version}"
            )


def _make(settings: InitSettings, folder: Path) -> Federation:
    return registry.make_federation(
        folder,
        clients=settings.clients,
        holders=settings.holders,
        threshold=settings.threshold,
        address=settings.address,
        names=Names(settings.client_prefix, settings.holder_prefix, _operators(settings.operator or [])),
        now=datetime.now(UTC),
        years=settings.years,
    )


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
        changed = registry.add_client(
            folder, name, operator=operator, now=datetime.now(UTC), years=years, passphrase_file=passphrase_file
        )
        print(f"give {changed.party(name)} and {changed.passphrase_file(name)} to its operator, by two different ways")
        _say_hand_out(changed)
        print("during a run, give it to the key holders first: they decline a list with an unknown client")


@app.command()
@options_of()
def revoke(folder: Folder, name: Name, passphrase_file: PassphraseFile = None) -> None:
    """Revoke a party for good. A client that is to go on gets a new name with add-client."""
    with reporting_errors():
        _say_hand_out(registry.revoke(folder, name, passphrase_file=passphrase_file))


@app.command()
@options_of(DealSettings)
def deal(folder: Folder, given: Given) -> None:
    """Make round keys ahead, give each holder its share of each, sealed, and keep nothing."""
    with reporting_errors():
        settings = given.make(DealSettings)
        keys, scheme, key_bits = settings.keys, settings.scheme, settings.key_bits
        check_key_bits(scheme, key_bits, insecure_demo_keys=settings.insecure_demo_keys)
        registrar = load_registrar(folder, settings.passphrase_file)
        around = registrar.folder.parent
        dealer = Dealer(registrar.roster, registrar.signing, lambda name: around / name, today())
        if settings.top_up:
            folders = [around / member.name for member in registrar.roster.holders]
            unused = len(dealt_to_all(folders, scheme, key_bits, today()))
            print(f"{unused} keys are unused, {keys} are wanted", flush=True)
            keys = max(0, keys - unused)
        first = reserve_serials(registrar, keys)
        for done, serial in enumerate(dealer.deal(first, keys, scheme, key_bits), start=1):
            print(f"dealt key {serial}: {done} of {keys}", flush=True)


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
                print(f"{who or 'an unnamed operator'} runs {', '.join(names)}; nothing is guaranteed between them")


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
