"""`python -m simulation sweep`: read the file, run it, and show the table."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from core.finite_json import dumps
from core.wording import counted
from results.tables import as_text
from simulation.sweep import PICTURE, TABLE, Outcome, run_sweep
from simulation.sweep_file import read_sweep
from simulation.virtual.workers import default_workers


def sweep(file: Path, out: Path | None, workers: int | None, *, as_json: bool) -> None:
    """Run a sweep; exit 1 if a run failed. Raises SettingsError for a file that cannot work."""
    asked = read_sweep(file)
    if out is not None:
        asked = replace(asked, out=out)
    progress = sys.stderr if as_json else sys.stdout

    def say(sentence: str) -> None:
        print(sentence, file=progress, flush=True)

    say(f"{counted(len(asked.points), 'run')}, results go to {asked.out}")
    try:
        outcome = run_sweep(asked, workers or default_workers(), say)
    except (KeyboardInterrupt, SystemExit):
        say("stopped; the same command goes on with it")
        raise
    if as_json:
        print(dumps(_as_json(outcome), indent=1, ensure_ascii=False))
    else:
        print(as_text(outcome.rows))
        print(f"the table is {asked.out / TABLE}, the picture {asked.out / PICTURE}")
    for name, why in outcome.failed.items():
        print(f"error: {name} failed: {why}", file=sys.stderr)
    if outcome.failed:
        sys.exit(1)


def _as_json(outcome: Outcome) -> dict[str, object]:
    return {
        "folder": str(outcome.folder),
        "runs": [run.summary() for run in outcome.runs],
        "skipped": outcome.skipped,
        "failed": outcome.failed,
        "table": outcome.rows,
        "csv": str(outcome.folder / TABLE),
        "picture": str(outcome.folder / PICTURE),
    }
