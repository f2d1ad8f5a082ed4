"""Look at your own mail, train with it in a federation, see what that cost, or score a message with the model.

python -m client look ~/Mail/archive.mbox
python -m client --identity runs/federation/client-1 --mail ~/Mail/archive.mbox
python -m client budget --identity runs/federation/client-1
python -m client classify --identity runs/federation/client-1 message.eml
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import io
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from client.connection import run_session
from client.look import look_at
from client.memory import FOLDER, Memory
from client.participant import Participant
from client.reading import loader
from client.scoring import FILTERS, score_message
from client.session import ClientSession, fetch_endorsed_model
from client.settings import DEFAULT_IDENTITY, BudgetSettings, ClientSettings, budget_folder
from client.spending import as_json, as_text, spending
from core.checks import Verifier
from core.clock import SYSTEM_CLOCK
from core.commands import command_of
from core.console import configure_log, reporting_errors, stamp
from core.enrolling import EnrolSettings, enroll
from core.errors import SettingsError
from core.federated import initial_model, load_model, save_model
from core.identity.members import Role
from core.identity.party import load_identity
from core.new_paths import new_file
from core.policy import Policy
from core.program import Program
from core.settings.command_line import Given, options_of
from core.settings.common import Identity, InsecurePlaintext, PassphraseFile, Patience, Server
from core.settings.setting import Setting
from core.tasks.own import load_task
from core.tasks.spam import SPAM
from core.tasks.task import Task
from core.wire.calls import converse
from core.wire.dialing import AggregatorConnection

app = Program(__doc__)


@app.callback(invoke_without_command=True)
@options_of(ClientSettings, Policy)
def train(context: typer.Context, given: Given) -> None:
    """Train on your own data and send only encrypted updates."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with reporting_errors():
        settings, policy = given.make(ClientSettings), given.make(Policy)
        if settings.mail is None:
            raise SettingsError(f"--mail PATH is needed: what to train on; see {command_of('client')} --help")
        task = load_task(settings.task)
        load = loader(task, settings.mail, one_class=settings.allow_one_class, spam_label=settings.spam_label)
        party = load_identity(settings.identity, settings.passphrase_file, Role.CLIENT)
        plaintext, patience = settings.insecure_plaintext, settings.patience
        stamp(
            insecure_demo_keys=policy.insecure_demo_keys,
            allow_plain=policy.allow_plain,
            insecure_plaintext=plaintext,
            insecure_unbounded=policy.insecure_unbounded,
        )
        address = settings.server or party.address
        with (
            closing(Memory(settings.identity / FOLDER, settings.open_budget(party.federation))) as memory,
            AggregatorConnection(address, patience, party, plaintext=plaintext) as connection,
        ):
            participant = Participant(party, task, policy, load, SYSTEM_CLOCK, settings.noise, memory=memory)
            session = ClientSession(participant, keep_model=settings.keep_model is not None)
            ending = run_session(connection, session)
            spent = participant.spent
        if settings.keep_model is not None and session.model is not None:
            kept = new_file(settings.keep_model)
            save_model(kept, task, session.model)
            print(f"the global model is in {kept}")
        print(f"{ending}; {spent}" if spent else ending)


@app.command(name="enroll")
@options_of(EnrolSettings)
def enroll_party(given: Given) -> None:
    """Make this party's keys, and have the registrar that invited it certify them."""
    configure_log()
    with reporting_errors():
        enroll(Role.CLIENT, given.make(EnrolSettings))


@app.command()
@options_of(BudgetSettings, Policy)
def budget(given: Given) -> None:
    """Say what one's data has cost in privacy, in all runs, and what is left of max-epsilon."""
    with reporting_errors():
        settings, policy = given.make(BudgetSettings), given.make(Policy)
        lines = spending(budget_folder(settings.identity, settings.budget), policy, settings.dataset)
        print(as_json(lines) if settings.json else as_text(lines))


@app.command()
@options_of()
def classify(
    message: Annotated[str, typer.Argument(help="A file with one message, or - for standard input.")] = "-",
    identity: Identity = DEFAULT_IDENTITY,
    passphrase_file: PassphraseFile = None,
    server: Server = None,
    model: Annotated[Path | None, Setting("A model (.npz) instead of a server.", "file")] = None,
    task: Annotated[str, Setting("What the model was trained for: spam or spam-pairs.", "name")] = SPAM.name,
    insecure_plaintext: InsecurePlaintext = False,
    patience: Patience = 10.0,
) -> None:
    """Score one message with the global model. The message stays on this machine."""
    configure_log(quiet=True)
    with reporting_errors():
        if task not in FILTERS:
            raise SettingsError(f"the task is {task!r}; {' and '.join(FILTERS)} can score a message")
        if model is not None:
            vector = load_model(model, FILTERS[task].task)
        else:
            vector = _fetched(
                FILTERS[task].task, identity, passphrase_file, server, patience, plaintext=insecure_plaintext
            )
        score = score_message(vector, _read(message), FILTERS[task])
        print(f"{'spam' if score.spam else 'ham'}  (probability of spam {score.probability:.1%})")
        for word, weight in score.strongest:
            print(f"  {weight:+.2f}  {word}")


@app.command()
def look(
    path: Annotated[str, typer.Argument(help="A mailbox: a file or a folder.")],
    spam_label: Annotated[str | None, typer.Option(help="Your own name for spam.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    texts: Annotated[int, typer.Option(min=0, help="Show this many mails as the model sees them.")] = 0,
) -> None:
    """Say what is in a mailbox and how it would be read. Nothing is sent."""
    with reporting_errors():
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # a mail has characters that a console has not
        found = look_at(path, spam_label, texts)
        print(found.as_json() if as_json else found.as_text())


def _fetched(
    task: Task, identity: Path, passphrase_file: Path | None, server: str | None, patience: float, *, plaintext: bool
) -> npt.NDArray[np.float64]:
    party = load_identity(identity, passphrase_file, Role.CLIENT)
    address = server or party.address
    verifier = Verifier(party.roster.current(), party.registrar)
    with AggregatorConnection(address, patience, party, plaintext=plaintext) as connection:
        return converse(fetch_endorsed_model(len(initial_model(task, 0)), verifier), connection.carry).vector


def _read(message: str) -> bytes:
    if message == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(message).read_bytes()
    except OSError as error:
        raise SettingsError(f"the message {message} cannot be read: {error.strerror}") from error


if __name__ == "__main__":
    app()
