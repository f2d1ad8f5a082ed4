"""policy.toml in a party's folder, which says once and for all what the party agrees to.

min-cohort = 10        # no sum of fewer
min-key-bits = 3072

An option on the command line goes before it. Nothing insecure can be written there: that is asked for each time.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import typer

from core.errors import SettingsError
from core.settings.plain_errors import said_plainly
from core.settings.setting import Entry

FILE = "policy.toml"


def read_policy(folder: Path, known: Collection[str]) -> dict[str, object]:
    """Return what policy.toml in a party's folder says, by option; nothing if there is no such file.

    `known` are the options that it may say. Raises SettingsError for a file that cannot be read, or that says something
    else: what it was meant to forbid would otherwise be allowed.
    """
    path = folder / FILE
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise SettingsError(f"the policy {path} cannot be read: {error}") from error
    for name in said:
        if name not in known:
            raise SettingsError(f"the policy {path} has a setting {name!r}; known are {', '.join(known)}")
    return said


def reads_policy(entries: Collection[Entry]) -> Callable[[typer.Context, Path], Path]:
    """Return a callback for the option of a party's folder: the policy in it becomes the default of these entries."""
    known = {entry.option: entry for entry in entries}

    def read(context: typer.Context, folder: Path) -> Path:
        try:
            said = read_policy(folder, known)
            for name, value in said.items():
                _check(folder / FILE, known[name], value, context)
        except SettingsError as error:
            raise typer.BadParameter(str(error)) from error
        context.default_map = {known[name].key: value for name, value in said.items()}
        return folder

    return read


def _check(path: Path, entry: Entry, value: object, context: typer.Context) -> None:
    """Refuse a value that the option would not take, and say where it stands: it was typed long ago."""
    (option,) = (each for each in context.command.params if each.name == entry.key)
    said = f"the policy {path} says {entry.option} = {value!r}"
    try:
        with said_plainly():
            taken: Any = option.process_value(context, value)
        entry.setting.check(entry.option, taken)
    except typer.BadParameter as error:
        raise SettingsError(f"{said}: {error.message}") from error
    except SettingsError as error:
        raise SettingsError(f"{said}; expected {entry.setting.allowed}") from error
