"""Show a run in progress: a live line on a terminal, plain lines anywhere else."""

from __future__ import annotations

from contextlib import suppress

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from core.errors import RunFailedError
from core.protocol import RoundResult
from core.wire import federation_pb2 as pb
from core.wire.messages import result_from_wire
from core.wording import counted
from server.results import row
from server.settings import RunSettings
from simulation.keeper import Heard, ignored


class Output(Console):
    """What people see. If its reader goes away (`... | head`), the run ends as by any error, and keeps what it has.

    Rich would leave the process at once, from whatever task prints, and the parties' ends would never be waited for.
    """

    def on_broken_pipe(self) -> None:
        """Print nothing more. Raises RunFailedError."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise RunFailedError("no one reads the output any more, so the run was ended; --resume FOLDER goes on with it")


class Display:
    """Takes progress messages, shows them, and keeps the history for the table at the end.

    Args:
        before: rounds that were completed, and shown, before this process.
        heard: is told of each further round.
    """

    def __init__(self, console: Console, settings: RunSettings, before: int = 0, heard: Heard = ignored) -> None:
        rounds = settings.rules.rounds
        self.results: list[RoundResult] = []
        self._settings, self._before, self._heard = settings, before, heard
        self._lost: set[str] = set()
        self._said = ""
        self._console = console
        self._rounds = rounds
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total} rounds"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._row = self._bar.add_task("starting", total=rounds)

    def __enter__(self) -> Display:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    @property
    def complete(self) -> bool:
        """Whether every round has been shown."""
        return len(self.results) == self._rounds

    def say(self, sentence: str) -> None:
        """Print one line above the live one."""
        self._console.print(sentence, highlight=False, soft_wrap=True)

    def say_lost(self, name: str, why: str) -> None:
        """Print that a party is gone; what the run then waits for is printed when that is its name."""
        self._lost.add(name)
        self.say(f"{name} is gone: {why}")

    def show(self, progress: pb.Progress) -> None:
        """Take one message of Observation.Watch."""
        for message in progress.results:
            result = result_from_wire(message)
            if result.round <= len(self.results):
                continue  # sent again after a reconnection
            self.results.append(result)
            if result.round <= self._before:
                continue
            answers = result.answers
            precision = f", precision {answers.precision:.2%}, false alarms {answers.false_alarm_rate:.2%}"
            epsilon = f", epsilon {result.epsilon:.2f}" * (result.epsilon > 0)
            self.say(
                f"round {result.round} of {progress.rounds}: {counted(result.contributors, 'client')}, "
                f"accuracy {result.accuracy:.2%}{precision * result.asks_yes_or_no}, loss {result.loss:.4f}{epsilon}"
            )
            self._heard(row(result, self._settings))
        if progress.sentence != self._said and self._lost & set(progress.sentence.replace(",", "").split()):
            self._said = progress.sentence
            self.say(f"round {progress.round}: {progress.sentence}")
        attempt = f" (attempt {progress.attempt})" if progress.attempt > 1 else ""
        description = f"round {progress.round}{attempt}: {progress.sentence}"
        self._bar.update(self._row, completed=len(self.results), description=description)
