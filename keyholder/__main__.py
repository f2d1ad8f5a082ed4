"""Run a key holder, or look at what one has signed and opened.

python -m keyholder --identity runs/federation/keyholder-1
python -m keyholder ledger --state runs/keyholder-1
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

from pathlib import Path
from typing import Annotated

import typer

from core.clock import SYSTEM_CLOCK
from core.console import (
    AllowPlain,
    Identity,
    InsecureDemoKeys,
    InsecurePlaintext,
    PassphraseFile,
    configure_log,
    help_of,
    sentences,
    stamp,
)
from core.errors import SettingsError
from core.identity.members import Role
from core.identity.party import load_identity
from core.policy import Policy
from core.policy_options import IdentityWithPolicy, MinKeyBits
from core.privacy.options import MaxDelta, MinNoise
from core.secagg.scheme import SAFE_KEY_BITS
from core.wire.dialing import AggregatorConnection
from core.wire.health import check_health
from keyholder.connection import run_session
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.session import HolderSession

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=help_of(__doc__))


@app.callback(invoke_without_command=True)
def hold(
    context: typer.Context,
    identity: IdentityWithPolicy = Path("runs/federation/keyholder-1"),
    passphrase_file: PassphraseFile = None,
    server: Annotated[str | None, typer.Option(help="HOST:PORT; if none is given, as in the party's folder.")] = None,
    state: Annotated[
        Path | None, typer.Option(help="Folder of the ledger; default runs/NAME, by this key holder's name.")
    ] = None,
    min_cohort: Annotated[int, typer.Option(min=1, help="Never open a sum of fewer contributors than this.")] = 2,
    difference_rule: Annotated[
        DifferenceRule,
        typer.Option(
            help="Sums whose contributors differ by fewer than the minimum cohort from an earlier one: refuse, report, "
            "or allow silently (where noise protects instead)."
        ),
    ] = DifferenceRule.ENFORCE,
    min_key_bits: MinKeyBits = SAFE_KEY_BITS,
    min_noise: MinNoise = 0.0,
    max_delta: MaxDelta = None,
    insecure_demo_keys: InsecureDemoKeys = False,
    allow_plain: AllowPlain = False,
    insecure_plaintext: InsecurePlaintext = False,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for an aggregator that is away.")] = 60.0,
) -> None:
    """Hold a share of each round's key: check everything, help to open only sums of whole cohorts, once."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with sentences():
        policy = Policy(min_cohort, insecure_demo_keys, allow_plain, min_noise, max_delta, min_key_bits)
        party = load_identity(identity, passphrase_file, Role.KEYHOLDER)
        stamp(insecure_demo_keys=insecure_demo_keys, allow_plain=allow_plain, insecure_plaintext=insecure_plaintext)
        ledger = Ledger(state or Path("runs", party.name))
        holder = KeyHolder(party, policy, ledger, difference_rule, SYSTEM_CLOCK)
        with AggregatorConnection(server or party.address, patience, party, plaintext=insecure_plaintext) as connection:
            print(run_session(connection, HolderSession(holder)))
        ledger.close()


@app.command()
def ledger(
    state: Annotated[Path, typer.Option(help="Folder of the ledger.")],
) -> None:
    """Check the chain of a ledger and print its entries: lists signed, sums opened, models endorsed."""
    with sentences():
        if not (state / "keyholder.sqlite").exists():
            raise SettingsError(f"{state} has no ledger of a key holder")
        opened = Ledger(state)
        for number, kind, content in opened.entries():
            print(f"{number:6} {kind:8} {content}")
        print("the chain is whole")
        opened.close()


@app.command()
def healthy(
    identity: Identity = Path("runs/federation/keyholder-1"),
    passphrase_file: PassphraseFile = None,
    server: Annotated[str | None, typer.Option(help="HOST:PORT; if none is given, as in the party's folder.")] = None,
    insecure_plaintext: InsecurePlaintext = False,
) -> None:
    """Exit 0 if the aggregator says that this key holder attends, else 1."""
    with sentences():
        party = load_identity(identity, passphrase_file, Role.KEYHOLDER)
        check_health(server or party.address, party, party.name, plaintext=insecure_plaintext)
        print("healthy")


if __name__ == "__main__":
    app()
