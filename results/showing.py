"""Runs as text for people: a list, a page about one, and what differs between two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from core.errors import DataError
from results.columns import aligned, said
from results.runs import Run

if TYPE_CHECKING:
    from results.comparing import Comparison, Pair

MOST_ROUNDS = 20
"""Rounds of a page that are all shown."""


def list_of(runs: Sequence[Run]) -> str:
    """Return one line a run."""
    headings = ("run", "state", "way", "task", "clients", "rounds", "accuracy", "seconds")
    return aligned(headings, [_line(run) for run in runs])


def _line(run: Run) -> list[str]:
    summary = run.summary()
    accuracy, seconds = summary["accuracy"], summary["wall_seconds"]
    rounds = str(run.rounds_done) if run.rounds in (None, run.rounds_done) else f"{run.rounds_done} of {run.rounds}"
    return [
        run.name,
        run.state,
        run.way or "-",
        run.task or "-",
        said(summary["clients"]),
        rounds,
        f"{accuracy:.2%}" if isinstance(accuracy, float | int) else "-",
        f"{seconds:.1f}" if isinstance(seconds, float | int) else "-",
    ]


def page_of(run: Run) -> str:
    """Return what is known of a run. Its rounds are cut short where there are many."""
    record = run.record
    ended = f": {record['message']}" if record.get("message") else ""
    lines = [f"{run.folder}: {run.state}{ended}"]
    if run.task:
        lines.append(f"{run.task}, {run.rounds_done} of {run.rounds} rounds{', ' + run.way if run.way else ''}")
    lines += _times(record)
    lines += _settings(run.settings)
    lines += _made(record)
    lines += _rounds(run)
    return "\n".join(lines)


def _times(record: Mapping[str, Any]) -> list[str]:
    if not record.get("started"):
        return []
    parts = [f"started {record['started']}"]
    parts += [f"ended {record['ended']}"] if record.get("ended") else []
    parts += [f"{record['wall_seconds']:.1f} s"] if record.get("wall_seconds") else []
    parts += [f"{record['cpu_seconds']:.1f} s of processors"] if record.get("cpu_seconds") else []
    resumed = len(record.get("sessions") or ())
    return [", ".join([*parts, *([f"went on {resumed} times"] if resumed else [])])]


def _settings(settings: Mapping[str, Any]) -> list[str]:
    set_ = {name: value for name, value in settings.items() if value is not None and value is not False}
    return ["settings:", *(f"  --{name} {said(value)}" for name, value in set_.items())] if set_ else []


def _made(record: Mapping[str, Any]) -> list[str]:
    if not record:
        return []
    processor, versions = record.get("processor") or {}, record.get("versions") or {}
    lines = [f"computed on {processor.get('count')} x {processor.get('name')}"]
    lines.append("with " + ", ".join(f"{name} {version}" for name, version in versions.items() if version))
    lines += [f"commit {record['git_commit']}"] if record.get("git_commit") else []
    data = record.get("data") or {}
    lines += [f"data of --{option}: {each['path']}, SHA-256 {each['sha256']}" for option, each in data.items()]
    lines += [f"model: SHA-256 {record['model_sha256']}"] if record.get("model_sha256") else []
    return lines


def _rounds(run: Run) -> list[str]:
    try:
        rows = run.rows()
    except DataError as error:
        return [str(error)]
    if not rows:
        return ["no round is completed"]
    shown = rows if len(rows) <= MOST_ROUNDS else [*rows[: MOST_ROUNDS // 2], *rows[-MOST_ROUNDS // 2 :]]
    names = [name for name in ("round", "contributors", "accuracy", "loss", "bytes_up_per_client", "round_s", "epsilon")
             if name in rows[0]]  # fmt: skip
    cut = f"{len(rows) - len(shown)} rounds between these are left out; --json has them"
    table = aligned(names, [[said(row.get(name)) for name in names] for row in shown])
    return [table, *([cut] if len(shown) < len(rows) else [])]


def comparison_of(one: Run, other: Run, found: Comparison) -> str:
    """Return in what two runs differ, a line each."""
    parts = [_differing("settings", found.settings), _differing("computed with", found.made)]
    parts.append(_differing("outcomes", {name: pair for name, pair in found.outcomes.items() if pair[0] != pair[1]}))
    lines = [f"{one.name} and {other.name}", *(line for part in parts for line in part)]
    if found.same_model is None:
        lines.append("one of them has no model to compare")
    else:
        lines.append(f"their models have {'the same' if found.same_model else 'other'} bytes")
    return "\n".join(lines)


def _differing(title: str, pairs: Mapping[str, Pair]) -> list[str]:
    if not pairs:
        return [f"{title}: no difference"]
    cells = [[f"  {name}", said(old), said(new)] for name, (old, new) in pairs.items()]
    return [f"{title}:", aligned(("", "", ""), cells).lstrip("\n")]
