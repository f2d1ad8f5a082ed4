"""Options of `python -m simulation` that come as plain values: from a script, from a file, or from a run's record.

The same names, types and bounds as on the command line; what does not fit is named with its key and its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from core.commands import command_of
from core.errors import SettingsError
from core.settings.command_line import Given, offered_by
from core.settings.setting import Entry
from results.columns import said
from results.runs import VIRTUAL
from server.settings import RunSettings
from simulation.settings import NOT_ASKED, SimulationSettings

PROCESSES, IN_PROCESS = "processes", "in-process"
WAYS = (PROCESSES, IN_PROCESS, VIRTUAL)
"""How a simulation can run: docs/design.md says what each protects."""
NEAR = 0.75
"""How much of two names must be the same for one to be a slip of the other; `bogus` and `bound` share 0.6."""


def known_options() -> dict[str, Entry]:
    """Return the options of `python -m simulation`, by their names with underscores."""
    return {entry.key: entry for entry in offered_by(SimulationSettings, RunSettings, without=NOT_ASKED)}


def given_from(values: Mapping[str, Any], where: str = "") -> Given:
    """Return the options with these values, and the defaults of the rest.

    Args:
        values: by option, with dashes or underscores.
        where: what the values are from, for sentences.

    Raises SettingsError, naming option and value, for one that is not known or not of its type, and for those of a dry
    run: whoever has plain values asks for a run.
    """
    known = known_options()
    typed: dict[str, Any] = {}
    for name, value in values.items():
        key = name.replace("-", "_")
        if key not in known:
            raise SettingsError(f"{where}there is no setting {name!r}{_meant(key, known)}")
        # The one option that may be a number or the path of a file.
        if key == "availability" and isinstance(value, int | float) and not isinstance(value, bool):
            value = str(value)
        typed[key] = typed_value(known[key], value, where)
    for key in ("dry_run", "json"):
        if typed.get(key):
            how = f"leave it out, or let {command_of('simulation')} --dry-run say what a run would cost"
            raise SettingsError(f"{where}--{known[key].option} is on, which only the command line can have; {how}")
    return Given({key: typed.get(key, entry.default) for key, entry in known.items()}, frozenset(typed))


def check_way(way: str, where: str = "") -> None:
    """Raise SettingsError unless a simulation can run in this way."""
    if way not in WAYS:
        raise SettingsError(f"{where}the way is {way!r}; expected {', '.join(WAYS)}")


def given_for(way: str, values: Mapping[str, Any], where: str = "") -> Given:
    """Return the options of a run in this way, as `given_from`. Raises SettingsError too if they contradict the way."""
    check_way(way, where)
    virtual = way == VIRTUAL
    if values.get("virtual", virtual) is not virtual:
        raise SettingsError(f"{where}--virtual is {said(values['virtual'])}, and the way is {way!r}; leave one out")
    return given_from({**values, "virtual": virtual}, where)


def typed_value(entry: Entry, value: Any, where: str = "") -> Any:
    """Return a plain value as the option's type has it. Raises SettingsError if it cannot be one."""
    kinds = _kinds(entry.type)
    if value is None and (NoneType in kinds or entry.default is None):
        return None
    for kind in kinds:
        try:
            found = _as_kind(kind, value)
        except (TypeError, ValueError):
            continue
        entry.setting.check(f"{where}--{entry.option}", found)
        return found
    raise SettingsError(f"{where}--{entry.option} is {value!r}; expected {_expected(kinds)}")


def _as_kind(kind: Any, value: Any) -> Any:
    """Return the value as this type. Raises TypeError or ValueError."""
    if kind is NoneType:
        raise TypeError
    if isinstance(kind, type) and isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool):
        return value
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind(value)
    if get_origin(kind) is list and isinstance(value, list | tuple):
        return [_as_kind(get_args(kind)[0], each) for each in value]
    raise TypeError


def _kinds(declared: Any) -> tuple[Any, ...]:
    return get_args(declared) if isinstance(declared, UnionType) else (declared,)


def _expected(kinds: tuple[Any, ...]) -> str:
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    found = []
    for kind in kinds:
        if isinstance(kind, type) and issubclass(kind, Enum):
            found += [repr(each.value) for each in kind]
        elif kind is not NoneType:
            found.append(words.get(kind, "a list"))
    return " or ".join(found)


def _meant(key: str, known: Mapping[str, Entry]) -> str:
    near = get_close_matches(key, known, n=1, cutoff=NEAR) or [name for name in known if name.endswith(f"_{key}")]
    return f"; did you mean {near[0]}?" if near else f"; {command_of('simulation')} --help lists them"
