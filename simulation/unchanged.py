"""Whether the data and the task of a run are still those that it was started with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.tasks.own import package_digest
from results.machine import digest_of

Digest = Callable[[Path], str | None]


def sha256_of(path: Path) -> str | None:
    """Return SHA-256 of a file, or of all files of a folder; None if it cannot be read."""
    try:
        return str(digest_of(path)["sha256"])
    except DataError:
        return None


def changed_since(record: Mapping[str, Any], digest: Digest = sha256_of) -> str:
    """Return in a few words what a run was started with and is gone or has changed; empty if nothing is.

    Args:
        record: the run.json of the run.
        digest: of a file or folder; where many runs are looked at, one that remembers.

    Raises SettingsError or TaskError if its task is in a package that is not there, or cannot be run.
    """
    for option, before in record.get("data", {}).items():
        path = Path(before["path"])
        if not path.exists():
            return f"{path}, given as --{option}, is not there any more"
        if digest(path) != before.get("sha256"):
            return f"{path}, given as --{option}, has changed since"
    task, package = record.get("settings", {}).get("task"), record.get("task_package_sha256")
    return (
        "" if package is None or package_digest(task) == package else f"the package of --task {task} has changed since"
    )


def unlike(records: Iterable[Mapping[str, Any]]) -> str:
    """Return in a few words what changed from one to another of runs of one sweep; empty if nothing did."""
    seen: dict[str, Any] = {}
    for record in records:
        task = f"the package of --task {record.get('settings', {}).get('task')}"
        found = {each["path"]: each.get("sha256") for each in record.get("data", {}).values()}
        for what, sha256 in {task: record.get("task_package_sha256"), **found}.items():
            if seen.setdefault(what, sha256) != sha256:
                return f"{what} was changed between them"
    return ""
