"""The tables of settings in docs/operation.md, from the settings themselves.

python -m simulation.settings_tables            write them into the page
python -m simulation.settings_tables --print    print the page as it should be
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import MISSING
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin

from client.settings import ClientSettings
from core.enrolling import EnrolSettings
from core.policy import Policy
from core.settings.command_line import offered_by
from core.settings.setting import Entry
from keyholder.settings import HolderSettings
from registrar.settings import DealSettings, InitSettings, InviteSettings, ServeSettings
from server.settings import Places, RunSettings
from simulation.settings import NOT_ASKED, SimulationSettings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operation.md"
PROGRAMS: dict[str, list[Entry]] = {
    "server": offered_by(Places, RunSettings),
    "keyholder": offered_by(HolderSettings, Policy),
    "client": offered_by(ClientSettings, Policy),
    "registrar init": offered_by(InitSettings),
    "registrar deal": offered_by(DealSettings),
    "registrar invite": offered_by(InviteSettings),
    "registrar serve": offered_by(ServeSettings),
    "client enroll": offered_by(EnrolSettings),
    "simulation": offered_by(SimulationSettings, RunSettings, without=NOT_ASKED),
}
"""The options of each program, `python -m NAME`."""
_PLACE = re.compile(r"(<!-- settings: python -m ([a-z ]+) -->\n).*?(<!-- end of settings -->)", re.DOTALL)


def table_of(entries: Iterable[Entry]) -> str:
    """Return the settings as a table in Markdown, one row each."""
    rows = ["| option | value | default | allowed | meaning |", "|---|---|---|---|---|", *map(_row, entries)]
    return "\n".join(rows) + "\n"


def fill(page: str) -> str:
    """Return the page with every table in it written anew: between the comments that name a program, and their end."""
    return _PLACE.sub(lambda found: found[1] + table_of(PROGRAMS[found[2]]) + found[3], page)


def _row(entry: Entry) -> str:
    setting = entry.setting
    also = f" Also by `{setting.variable}=true`." if setting.variable else ""
    also += " May be in policy.toml." if setting.in_policy else ""
    cells = (
        f"`--{entry.option}`",
        _value(entry),
        _default(entry.default),
        str(setting.bounds),
        setting.explained + also,
    )
    return f"| {' | '.join(cells)} |"


def _value(entry: Entry) -> str:
    kind, unit = _without_none(entry.type), entry.setting.unit
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(f"`{each.value}`" for each in kind)
    words = {bool: "on or off", int: "whole number", float: "number"}.get(kind, "")
    return ", ".join(filter(None, (words, unit))) or "text"


def _without_none(kind: Any) -> Any:
    if get_origin(kind) is UnionType:
        return next(each for each in get_args(kind) if each is not type(None))
    return kind


def _default(value: Any) -> str:
    if value is MISSING:
        return "must be given"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, Enum):
        value = value.value
    return "" if value is None else f"`{value}`"


if __name__ == "__main__":
    page = fill(PAGE.read_text(encoding="utf-8"))
    if "--print" in sys.argv:
        print(page)
    else:
        PAGE.write_text(page, encoding="utf-8")
