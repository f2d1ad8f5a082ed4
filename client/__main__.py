"""Take part in a federation with one's own data, or score a message with its model.

python -m client --identity runs/federation/client-1 --mail ~/Mail/archive.mbox
python -m client classify --identity runs/federation/client-1 message.eml
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from client.connection import run_session
from client.participant import Load, Participant
from client.scoring import FILTERS, score_message
from client.session import ClientSession, fetch_endorsed_model
from core.checks import Verifier
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
from core.federated import initial_model, load_model, save_model
from core.identity.members import Role
from core.identity.party import load_identity
from core.policy import Policy
from core.policy_options import IdentityWithPolicy, MinKeyBits
from core.privacy.options import MaxDelta, MinNoise
from core.secagg.noise import NoiseKind
from core.secagg.scheme import SAFE_KEY_BITS
from core.tasks import get_task
from core.tasks.spam import SPAM
from core.tasks.task import GENERATED, Task
from core.wire.calls import converse
from core.wire.dialing import AggregatorConnection

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=help_of(__doc__))
DEFAULT_IDENTITY = Path("runs/federation/client-1")
Server = Annotated[str | None, typer.Option(help="HOST:PORT; if none is given, as in the party's folder.")]
Patience = Annotated[float, typer.Option(min=1, help="Seconds to wait for an aggregator that is away.")]


@app.callback(invoke_without_command=True)
def take_part(
    context: typer.Context,
    identity: IdentityWithPolicy = DEFAULT_IDENTITY,
    passphrase_file: PassphraseFile = None,
    server: Server = None,
    mail: Annotated[
        str | None,
        typer.Option(help="An mbox file, a Maildir, a folder with ham/ and spam/, a TSV file, or `generated`."),
    ] = None,
    task: Annotated[str, typer.Option(help="What to learn; must be the federation's.")] = "spam",
    allow_one_class: Annotated[bool, typer.Option(help="Train even if all mail is spam, or none is.")] = False,
    keep_model: Annotated[Path | None, typer.Option(help="Write the last global model to this file (.npz).")] = None,
    min_cohort: Annotated[int, typer.Option(min=1, help="Take part in no sum of fewer clients than this.")] = 2,
    min_key_bits: MinKeyBits = SAFE_KEY_BITS,
    min_noise: MinNoise = 0.0,
    max_delta: MaxDelta = None,
    insecure_demo_keys: InsecureDemoKeys = False,
    allow_plain: AllowPlain = False,
    insecure_plaintext: InsecurePlaintext = False,
    noise: Annotated[
        NoiseKind,
        typer.Option(
            help="How ciphertexts are made: by short or 512-bit exponents, or as in the textbooks; docs/performance.md."
        ),
    ] = NoiseKind.SHORT,
    patience: Patience = 60.0,
) -> None:
    """Train on one's own data, send only encrypted updates."""
    if context.invoked_subcommand is not None:
        return
    configure_log()
    with sentences():
        if mail is None:
            raise SettingsError("--mail PATH is needed: what to train on; see python -m client --help")
        policy = Policy(min_cohort, insecure_demo_keys, allow_plain, min_noise, max_delta, min_key_bits)
        the_task = get_task(task)
        load = _loader(the_task, mail, one_class=allow_one_class)
        party = load_identity(identity, passphrase_file, Role.CLIENT)
        stamp(
            insecure_demo_keys=insecure_demo_keys,
            allow_plain=allow_plain,
            insecure_plaintext=insecure_plaintext,
        )
        participant = Participant(party, the_task, policy, load, SYSTEM_CLOCK, noise)
        with AggregatorConnection(server or party.address, patience, party, plaintext=insecure_plaintext) as connection:
            session = ClientSession(participant, keep_model=keep_model is not None)
            ending = run_session(connection, session)
        if keep_model is not None and session.model is not None:
            save_model(keep_model, the_task, session.model)
            print(f"the global model is in {keep_model}")
        print(ending)


@app.command()
def classify(
    message: Annotated[str, typer.Argument(help="A file with one message, or - for standard input.")] = "-",
    identity: Identity = DEFAULT_IDENTITY,
    passphrase_file: PassphraseFile = None,
    server: Server = None,
    model: Annotated[Path | None, typer.Option(help="A model file (.npz) instead of a server.")] = None,
    task: Annotated[str, typer.Option(help="What the model was trained for: spam or spam-pairs.")] = SPAM.name,
    insecure_plaintext: InsecurePlaintext = False,
    patience: Patience = 10.0,
) -> None:
    """Score one message with the global model. The message stays on this machine."""
    configure_log(quiet=True)
    with sentences():
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


def _loader(task: Task, source: str, *, one_class: bool) -> Load:
    if source == GENERATED:
        return lambda seed, number: task.prepare(task.generate(seed, number))
    reading = task.read(Path(source))  # before connecting: what is wrong with it shows at once
    if reading.skipped:
        print(f"{reading.skipped} of {source} could not be read and are left out; the first: {reading.first_skipped}")
    if not one_class:
        task.require(reading.examples, source)
    data = task.prepare(reading.examples)
    return lambda _seed, _number: data


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
