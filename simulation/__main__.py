"""Run a whole federation on this machine: aggregator, key holders and clients as real processes that talk real gRPC.

python -m simulation
python -m simulation --clients 10 --rounds 3 --scheme plain
python -m simulation --data FOLDER_WITH_MAILBOXES
python -m simulation --resume FOLDER_OF_AN_INTERRUPTED_RUN
python -m simulation sweep FILE.toml
python -m simulation --task my_task.py:NAME
python -m simulation check-task my_task.py:NAME
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401
import simulation.ahead  # isort: skip  # noqa: F401

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from core.console import reporting_errors
from core.program import Program
from core.settings.command_line import Given, options_of
from core.settings.setting import Setting
from server.settings import RunSettings
from simulation.parent import end_with_parent
from simulation.running import run
from simulation.settings import NOT_ASKED, SimulationSettings

app = Program(__doc__)


@options_of(SimulationSettings, RunSettings, without=NOT_ASKED)
def main(given: Given) -> None:
    """Run a whole federation on this machine and show what it learned, what it cost, and how long it took."""
    _run(given)


@app.callback(invoke_without_command=True)
@options_of(SimulationSettings, RunSettings, without=NOT_ASKED)
def simulate(context: typer.Context, given: Given) -> None:
    """Run a whole federation on this machine and show what it learned, what it cost, and how long it took."""
    if context.invoked_subcommand is None:
        _run(given.typed_in(context))


@app.command("sweep")
def sweep_command(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Settings, lists to combine, seeds.")],
    out: Annotated[
        Path | None, typer.Option(help="Where its runs go; default what the file says, or runs/FILE.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Runs at the same time; default one a processor.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Run every combination of a file's settings, several at a time; finished runs are not run again."""
    with reporting_errors():
        from simulation.sweep_command import sweep

        sweep(file, out, workers, as_json=as_json)


def _run(given: Given) -> None:
    from simulation.display import Output

    console = Output(width=None if sys.stdout.isatty() else 80)
    with reporting_errors():
        options = given.make(SimulationSettings)
        if options.dry_run:
            from simulation.dry_run import tell

            tell(console, given, options)
            return
        run(console, given)


@app.command("check-task")
@options_of()
def check_task_command(
    task: Annotated[str, typer.Argument(help="FILE:NAME or package.module:NAME.", show_default=False)],
    data: Annotated[Path | None, Setting("Real data to try it on; default what it makes up.", "path")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find the mistakes of a task of your own in seconds; exit 1 if there is one."""
    from simulation.check_task import check_task

    with reporting_errors():
        with redirect_stdout(sys.stderr):  # what the task itself prints
            checked = check_task(task, data)
        print(checked.as_json() if as_json else checked.as_text())
    sys.exit(0 if checked.holds else 1)


if __name__ == "__main__":
    end_with_parent()
    app()
