"""Run a key holder, or look at what one has signed and opened.

python -m keyholder --identity runs/federation/keyholder-1
python -m keyholder ledger --state runs/keyholder-1
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

from pathlib import Path
from typing import Annotated

import structlog
import typer

from core.clock import SYSTEM_CLOCK
from core.console import configure_log, reporting_errors, stamp
from core.enrolling import EnrolSettings, enroll
from core.errors import SettingsError
from core.identity.members import Role
from core.identity.party import load_identity
from core.policy import Policy
from core.program import Program
from core.settings.command_line import Given, options_of
from core.settings.common import Identity, InsecurePlaintext, PassphraseFile, Server
from core.settings.setting import Setting
from core.tasks.own import load_task
from core.wire.dialing import AggregatorConnection
from core.wire.health import check_health
from keyholder.connection import run_session
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.own_ledger import OwnLedger
from keyholder.session import HolderSession
from keyholder.settings import HolderSettings

log = structlog.get_logger()
app = Program(__doc__)


@app.callback(invoke_without_command=True)
@options_of(HolderSettings, Policy)
def hold(context: typer.Context, given: Given) -> None:
    """Hold a share of each round's key: check everything, help to open only sums of whole cohorts, once."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with reporting_errors():
        settings, policy = given.make(HolderSettings), given.make(Policy)
        party = load_identity(settings.identity, settings.passphrase_file, Role.KEYHOLDER)
        plaintext, patience = settings.insecure_plaintext, settings.patience
        stamp(
            insecure_demo_keys=policy.insecure_demo_keys,
            allow_plain=policy.allow_plain,
            insecure_plaintext=plaintext,
            insecure_unbounded=policy.insecure_unbounded,
        )
        address = settings.server or party.address
        task = None if settings.task is None else load_task(settings.task)
        with OwnLedger(party, settings.state or Path("runs", party.name), new=settings.new_ledger) as own:
            if own.begun:
                log.warning("a new ledger is begun: what was signed before is known to the other key holders only")
            holder = KeyHolder(party, policy, own.ledger, settings.difference_rule, SYSTEM_CLOCK, task=task)
            with AggregatorConnection(address, patience, party, plaintext=plaintext) as connection:
                print(run_session(connection, HolderSession(holder, settings.dishonest_holders)))


@app.command(name="enroll")
@options_of(EnrolSettings)
def enroll_party(given: Given) -> None:
    """Make this party's keys, and have the registrar that invited it certify them."""
    configure_log()
    with reporting_errors():
        enroll(Role.KEYHOLDER, given.make(EnrolSettings))


@app.command()
@options_of()
def ledger(
    state: Annotated[Path, Setting("The ledger.", "folder")],
) -> None:
    """Check the chain of a ledger and print its entries: lists signed, sums opened, models endorsed."""
    with reporting_errors():
        if not (state / "keyholder.sqlite").exists():
            raise SettingsError(f"{state} has no ledger of a key holder")
        opened = Ledger(state)
        for number, kind, content in opened.entries():
            print(f"{number:6} {kind:8} {content}")
        print("the chain is whole")
        opened.close()


@app.command()
@options_of()
def healthy(
    identity: Identity = Path("runs/federation/keyholder-1"),
    passphrase_file: PassphraseFile = None,
    server: Server = None,
    insecure_plaintext: InsecurePlaintext = False,
) -> None:
    """Exit 0 if the aggregator says that this key holder attends, else 1."""
    with reporting_errors():
        party = load_identity(identity, passphrase_file, Role.KEYHOLDER)
        check_health(server or party.address, party, party.name, plaintext=insecure_plaintext)
        print("healthy")


if __name__ == "__main__":
    app()
