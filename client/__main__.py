"""Take part in a federation with one's own data, or score a message with its model.

python -m client --server 127.0.0.1:50551 --mail ~/Mail/archive.mbox
python -m client classify --server 127.0.0.1:50551 message.eml
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer

from client.connection import ClientConnection, fetch_model
from client.participant import Enrolment, Participant
from client.scoring import score_message
from core.console import ALLOW_PLAIN, INSECURE_DEMO_KEYS, configure_log, sentences, stamp
from core.errors import DataError, SettingsError
from core.federated import initial_model, load_model, save_model
from core.secagg.noise import NoiseKind
from core.secagg.scheme import Policy
from core.tasks import get_task
from core.tasks.task import GENERATED, Task
from core.training import Dataset
from core.wire.dialing import Line

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, help=__doc__)
Server = Annotated[str | None, typer.Option(help="The aggregator's address, HOST:PORT.")]
Patience = Annotated[float, typer.Option(min=1, help="Seconds to wait for an aggregator that is away.")]


@app.callback(invoke_without_command=True)
def take_part(
    context: typer.Context,
    server: Server = None,
    mail: Annotated[
        str | None,
        typer.Option(help="An mbox file, a Maildir, a folder with ham/ and spam/, a TSV file, or `generated`."),
    ] = None,
    name: Annotated[str, typer.Option(help="This client's name; the machine's, if none is given.")] = "",
    number: Annotated[int, typer.Option(min=0, help="Enrolment number to ask for; 0: the next free one.")] = 0,
    task: Annotated[str, typer.Option(help="What to learn; must be the federation's.")] = "spam",
    allow_one_class: Annotated[bool, typer.Option(help="Train even if all mail is spam, or none is.")] = False,
    keep_model: Annotated[Path | None, typer.Option(help="Write the last global model to this file (.npz).")] = None,
    min_cohort: Annotated[int, typer.Option(min=1, help="Take part in no sum of fewer clients than this.")] = 2,
    insecure_demo_keys: Annotated[
        bool, typer.Option(envvar=INSECURE_DEMO_KEYS, help="Encrypt with keys below 2048 bits when asked.")
    ] = False,
    allow_plain: Annotated[
        bool, typer.Option(envvar=ALLOW_PLAIN, help="Take part even if nothing is encrypted.")
    ] = False,
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
        if server is None or mail is None:
            raise SettingsError("--server HOST:PORT and --mail PATH are needed; see python -m client --help")
        policy = Policy(min_cohort, insecure_demo_keys, allow_plain)
        stamp(insecure_demo_keys=insecure_demo_keys, allow_plain=allow_plain)
        the_task = get_task(task)
        participant = Participant(
            name or default_name(),
            the_task,
            policy,
            _loader(the_task, mail, one_class=allow_one_class),
            noise,
        )
        values = len(initial_model(the_task, 0))
        with Line(server, patience) as line:
            keep = None if keep_model is None else _keeper(keep_model, the_task)
            print(ClientConnection(line, participant, values, number).take_part(keep))


@app.command()
def classify(
    message: Annotated[str, typer.Argument(help="A file with one message, or - for standard input.")] = "-",
    server: Server = None,
    model: Annotated[Path | None, typer.Option(help="A model file (.npz) instead of a server.")] = None,
    patience: Patience = 10.0,
) -> None:
    """Score one message with the global model. The message stays on this machine."""
    with sentences():
        task = get_task("spam")
        vector = _model(task, server, model, patience)
        score = score_message(vector, _read(message))
        print(f"{'spam' if score.spam else 'ham'}  (probability of spam {score.probability:.1%})")
        for word, weight in score.strongest:
            print(f"  {weight:+.2f}  {word}")


def default_name() -> str:
    """The machine's name, with what no name may have replaced."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in platform.node())[:64] or "client"


def _loader(task: Task, source: str, *, one_class: bool) -> Callable[[Enrolment], Dataset]:
    if source == GENERATED:
        return lambda enrolment: task.prepare(task.generate(enrolment.seed, enrolment.number))
    reading = task.read(Path(source))  # before connecting: what is wrong with it shows at once
    if reading.skipped:
        print(f"{reading.skipped} of {source} could not be read and are left out; the first: {reading.first_skipped}")
    if not one_class:
        task.require(reading.examples, source)
    data = task.prepare(reading.examples)
    return lambda _: data


def _keeper(path: Path, task: Task) -> Callable[[npt.NDArray[np.float64]], None]:
    def keep(model: npt.NDArray[np.float64]) -> None:
        save_model(path, task, model)
        print(f"the global model is in {path}")

    return keep


def _model(task: Task, server: str | None, file: Path | None, patience: float) -> npt.NDArray[np.float64]:
    if (server is None) == (file is None):
        raise SettingsError("give either --server HOST:PORT or --model FILE, after the word classify")
    if file is not None:
        return load_model(file, task)
    assert server is not None
    with Line(server, patience) as line:
        round_number, model = fetch_model(line, len(initial_model(task, 0)))
    if round_number == 0:
        raise DataError(f"the federation at {server} has not completed a round yet; its model knows nothing")
    return model


def _read(message: str) -> bytes:
    if message == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(message).read_bytes()
    except OSError as error:
        raise SettingsError(f"the message {message} cannot be read: {error.strerror}") from error


if __name__ == "__main__":
    app()
