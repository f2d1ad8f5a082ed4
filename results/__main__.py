"""Look at what runs left behind: list, compare, draw, repeat, export and verify them.

python -m results list
python -m results show spam-20261130-101500
python -m results plot RUN RUN --x bytes
python -m results repeat RUN
python -m results verify runs/spam-20261130-101500
python -m results evidence runs/evidence/RUN-client-2.evidence --registrar runs/federation/server
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from core.console import reporting_errors
from core.errors import GrokfedError, SettingsError
from core.finite_json import dumps
from core.new_paths import free_file
from core.program import Program
from core.settings.command_line import options_of
from core.settings.setting import Setting
from results import showing
from results.runs import COMPLETED, Run, find_run, list_runs

# What takes long to import (NumPy, pictures, the checks of a record) is imported by the command that needs it.
app = Program(__doc__)

Runs = Annotated[Path, typer.Option("--runs", help="The folder that holds the runs' folders.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OneObject = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Name = Annotated[
    str,
    typer.Argument(metavar="RUN", help="A run's folder, or its name in --runs or the beginning of it."),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(metavar="RUN...", help="Folders or names of runs; default all in --runs.", show_default=False),
]
DEFAULT = Path("runs")


@app.callback()
def results() -> None:
    """Look at what runs left behind."""


@app.command("list")
def list_command(runs: Runs = DEFAULT, as_json: AsJson = False) -> None:
    """List all runs of a folder, the oldest first."""
    with reporting_errors():
        found = list_runs(runs)
        if as_json:
            _print_json([run.summary() for run in found])
            return
        print(showing.list_of(found) if found else f"there is no run in {runs}")
        _say_problems(found)


@app.command()
def show(run: Name, runs: Runs = DEFAULT, as_json: AsJson = False) -> None:
    """Show one run: what it was started with, where it was computed, how it ended, and its rounds."""
    with reporting_errors():
        found = find_run(run, runs)
        if as_json:
            _print_json({**found.summary(), "record": found.record, "rows": found.rows()})
            return
        print(showing.page_of(found))
        _say_problems([found])


@app.command()
def diff(
    a: Annotated[str, typer.Argument(metavar="A", help="A run, as for show.")],
    b: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    runs: Runs = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Say in what two runs differ: settings, versions, processor, data, outcomes, and the bytes of their models."""
    with reporting_errors():
        from results.comparing import compare

        one, other = find_run(a, runs), find_run(b, runs)
        comparison = compare(one, other)
        if as_json:
            _print_json({"a": one.name, "b": other.name, **comparison.as_json()})
            return
        print(showing.comparison_of(one, other, comparison))
        _say_problems([one, other])


@app.command()
def plot(
    run: Names = None,
    x: Annotated[str, typer.Option(help="round, seconds, bytes (of all clients) or epsilon.")] = "round",
    y: Annotated[str, typer.Option(help="A column of the history.")] = "accuracy",
    group_by: Annotated[
        str | None, typer.Option(metavar="OPTION,...", help="One curve for all runs with the same values of these.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Where the picture goes: .png, .svg or .pdf; a new number if that is taken.")
    ] = Path("runs/plot.png"),
    runs: Runs = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Draw curves of runs, with 95 % intervals where several runs are one curve."""
    with reporting_errors():
        from results.comparing import Group, group_by_options
        from results.pictures import AXES, check_format, draw_curves, points_of

        if x not in AXES:
            raise SettingsError(f"--x is {x!r}; expected {', '.join(AXES)}")
        check_format("--out", out)
        found = [each for each in _chosen(run, runs) if each.rounds_done]
        if not found:
            raise SettingsError(f"there is no run with a completed round to draw; --runs is {runs}")
        one_each = [Group({"run": each.name}, [each]) for each in found]
        groups = one_each if group_by is None else group_by_options(found, group_by)
        picture = free_file(out)
        draw_curves(picture, groups, x, y)
        if as_json:
            _print_json({"picture": str(picture), "x": x, "y": y, "curves": [points_of(each, x, y) for each in groups]})
            return
        print(f"{len(groups)} curve{'s' * (len(groups) > 1)} in {picture}")


@app.command()
def table(
    run: Names = None,
    group_by: Annotated[
        str, typer.Option(metavar="OPTION,...", help="One line for all runs with the same values of these settings.")
    ] = "task",
    columns: Annotated[
        str, typer.Option(help="Outcomes: columns of the history, megabytes, wall_seconds, cpu_seconds.")
    ] = "accuracy,loss,megabytes,wall_seconds",
    runs: Runs = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Compare completed runs in groups: means of their last rounds, with 95 % intervals over the runs of a group."""
    with reporting_errors():
        from results.comparing import group_by_options
        from results.tables import as_text, columns_of, table_of

        chosen = _chosen(run, runs)
        found = [each for each in chosen if each.state == COMPLETED]
        if not found:
            raise SettingsError(f"there is no completed run to compare; --runs is {runs}")
        rows = table_of(group_by_options(found, group_by), columns_of(found, columns))
        if as_json:
            _print_json(rows)
            return
        print(as_text(rows))
        if left := len(chosen) - len(found):
            print(f"{left} more that {'is' if left == 1 else 'are'} not completed")


@app.command()
def repeat(
    run: Name,
    out: Annotated[Path | None, typer.Option(help="Where its results go; default runs/TASK-TIME.")] = None,
    runs: Runs = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Run a run again with the same settings; exit 1 if its model has other bytes, and say what differs here."""
    with reporting_errors():
        from results.repeating import repeat as run_again

        repetition = run_again(find_run(run, runs), out)
        if as_json:
            _print_json(repetition.as_json())
        else:
            print(repetition.sentence)
        if not repetition.same:
            sys.exit(1)


@app.command()
def export(
    run: Names = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="One CSV file, a line a round.")] = None,
    sqlite: Annotated[Path | None, typer.Option("--sqlite", metavar="FILE", help="An SQLite database.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option("--tensorboard", metavar="FOLDER", help="Event files, a folder a run.")
    ] = None,
    runs: Runs = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Write runs for other programs: CSV, SQLite, TensorBoard. Where a file is there already, the new one is NAME-2."""
    with reporting_errors():
        from results.exporting import export_csv, export_sqlite, export_tensorboard

        chosen = _chosen(run, runs)
        wanted = ((csv, export_csv), (sqlite, export_sqlite), (tensorboard, export_tensorboard))
        places = [(free_file(path), write) for path, write in wanted if path is not None]
        written = [{"path": str(path), "rounds": write(path, chosen)} for path, write in places]
        if not written:
            raise SettingsError("nothing says where to write to; pass --csv, --sqlite or --tensorboard")
        if as_json:
            _print_json({"runs": len(chosen), "written": written})
            return
        for each in written:
            print(f"{each['rounds']} rounds of {len(chosen)} runs are in {each['path']}")


@app.command("verify")
@options_of()
def verify_command(
    folder: Annotated[Path, typer.Argument(help="A folder of results, with record.jsonl.", show_default=False)],
    registrar: Annotated[
        str | None,
        Setting("The registrar's public key: 64 hexadecimal digits, or a party's folder that has it.", "key or folder"),
    ] = None,
    task: Annotated[
        str | None, Setting("The own task that the run trained: FILE:NAME or package.module:NAME.", "name")
    ] = None,
    as_json: OneObject = False,
) -> None:
    """Recompute every signature, sum and model of a run from its public record; exit 1 at what does not hold."""
    with reporting_errors():
        from results.checking import check

        with _failing_in_json(as_json):
            holds = check(folder, registrar, task)
        _say_what_holds(holds.as_json(), holds.sentences, as_json)


@app.command("evidence")
@options_of()
def evidence_command(
    file: Annotated[Path, typer.Argument(help="What `python -m server evidence` wrote.", show_default=False)],
    registrar: Annotated[
        str,
        Setting("The registrar's public key: 64 hexadecimal digits, or a party's folder that has it.", "key or folder"),
    ],
    as_json: OneObject = False,
) -> None:
    """Judge again whether a client has signed a false update; exit 1 if the evidence does not show it."""
    with reporting_errors():
        from results.evidence import judge_file

        with _failing_in_json(as_json):
            judged = judge_file(file, registrar)
        _say_what_holds(judged.as_json(), judged.sentences, as_json)


def _chosen(names: list[str] | None, runs: Path) -> list[Run]:
    return [find_run(name, runs) for name in names] if names else list_runs(runs)


def _print_json(value: Any) -> None:
    print(dumps(value, indent=1, ensure_ascii=False))


@contextmanager
def _failing_in_json(as_json: bool) -> Iterator[None]:
    """With --json, say on the output too what does not hold, or (holds: null) why that could not be checked."""
    try:
        yield
    except GrokfedError as error:
        if as_json:
            checked = not isinstance(error, SettingsError) and not isinstance(error.__cause__, OSError)
            print(dumps({"holds": False if checked else None, "message": str(error)}))
        raise


def _say_what_holds(found: Mapping[str, Any], sentences: Sequence[str], as_json: bool) -> None:
    print(dumps(found) if as_json else "\n".join(sentences))


def _say_problems(runs: list[Run]) -> None:
    for problem in (problem for run in runs for problem in run.all_problems):
        print(problem, file=sys.stderr)


if __name__ == "__main__":
    app()
