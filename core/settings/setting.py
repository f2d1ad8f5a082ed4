"""What is known of one setting, and what follows from it for a group of them: bounds, values, arguments."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from core.errors import SettingsError

Number = int | float


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """The numbers that a setting may have; None for no bound."""

    at_least: Number | None = None
    above: Number | None = None
    at_most: Number | None = None
    below: Number | None = None

    def allow(self, value: Number) -> bool:
        """Return whether the value lies within; NaN never does if there is any bound."""
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.at_least is not None and self.at_most is not None:
            return f"{_shown(self.at_least)} to {_shown(self.at_most)}"
        said = {"at least": self.at_least, "more than": self.above, "at most": self.at_most, "less than": self.below}
        return ", ".join(f"{words} {_shown(bound)}" for words, bound in said.items() if bound is not None)


@dataclass(frozen=True)
class Setting:
    """What a reader must know of a setting besides its name, its type and its default, which its field has.

    Attributes:
        meaning: one sentence or two, for `--help` and for the documentation.
        unit: of a number, or what kind of thing it is: "seconds", "folder", "HOST:PORT".
        bounds: refused outside of them, with the option's name in the sentence.
        option: the name on the command line, if it is not the field's.
        variable: a variable of the environment that sets it too.
        in_policy: whether policy.toml in a party's folder may say it.
        insecure: whether it switches protection off. That is asked for each time, and never in policy.toml.
    """

    meaning: str
    unit: str = ""
    bounds: Bounds = Bounds()
    option: str = ""
    variable: str = ""
    in_policy: bool = False
    insecure: bool = False

    def __post_init__(self) -> None:
        if self.insecure and self.in_policy:
            raise ValueError(f"{self.meaning!r} is insecure; it cannot be written down once and for all")

    @property
    def explained(self) -> str:
        """What it means, with a warning if it is insecure."""
        return f"INSECURE: {self.meaning}" if self.insecure else self.meaning

    def saying(self, meaning: str) -> Setting:
        """Return the same setting, explained for another party."""
        return replace(self, meaning=meaning)

    @property
    def allowed(self) -> str:
        """The bounds with the unit, for people; empty if there are none."""
        bounds = str(self.bounds)
        unit = self.unit.removesuffix("s") if bounds.endswith(" 1") else self.unit
        return f"{bounds} {unit}".rstrip() if bounds else ""

    def check(self, name: str, value: Any) -> None:
        """Raise SettingsError, naming the setting, the value and what is allowed, if it is out of bounds."""
        if isinstance(value, int | float) and not self.bounds.allow(value):
            raise SettingsError(f"{name} is {value}; expected {self.allowed}")


class Settings:
    """A group of settings, to be a frozen dataclass. Raises SettingsError when made with a value out of bounds."""

    def __post_init__(self) -> None:
        for entry in entries_of(type(self), nested=False):
            entry.setting.check(f"--{entry.option}", getattr(self, entry.field))


@dataclass(frozen=True)
class Entry:
    """One setting of a group: a row of the table.

    Attributes:
        field: the attribute of the group.
        option: the name on the command line, without the dashes in front.
        default: MISSING if a value has to be given.
    """

    field: str
    option: str
    type: Any
    default: Any
    setting: Setting

    @property
    def key(self) -> str:
        """The option's name as a command's function has it."""
        return self.option.replace("-", "_")

    @property
    def if_asked(self) -> Entry:
        """The same setting in a group that is there only if asked for: None by default, if it has no default."""
        return replace(self, type=self.type | None, default=None) if self.default is MISSING else self


G = TypeVar("G")


def entries_of(group: type, *, nested: bool = True) -> tuple[Entry, ...]:
    """Return the settings of a group in order, with those of the groups in it.

    A group that may be None is left out unless it is asked for: what it cannot do without is None by default.
    """
    entries: list[Entry] = []
    for field, declared in _declared(group):
        setting = setting_of(declared)
        inner, optional = _group_in(declared)
        if setting is not None:
            option = setting.option or field.name.replace("_", "-")
            entries.append(Entry(field.name, option, get_args(declared)[0], _default(field), setting))
        elif inner is not None and nested:
            entries += [each.if_asked if optional else each for each in entries_of(inner)]
    return tuple(entries)


def make(group: type[G], given: Mapping[str, Any], **decided: Any) -> G:
    """Make a group from given values and, which go before them, from those `decided` by name of field.

    Args:
        given: values by the option's name, with underscores; the rest has its default.
        decided: values of fields of this group or of groups in it, settings or not.

    Raises SettingsError for a value out of bounds.
    """
    keys = {entry.field: entry.key for entry in entries_of(group, nested=False)}
    values: dict[str, Any] = {}
    for field, declared in _declared(group):
        inner, optional = _group_in(declared)
        if field.name in decided:
            values[field.name] = decided[field.name]
        elif keys.get(field.name) in given:
            values[field.name] = given[keys[field.name]]
        elif inner is not None:
            values[field.name] = _if_asked(inner, given) if optional else make(inner, given, **decided)
    return group(**values)


def options_in(group: type, values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield each option with its value in a group that became JSON, or its default where nothing is said of it.

    A field that is no option goes by its own name.
    """
    entries = {entry.field: entry.if_asked for entry in entries_of(group, nested=False)}
    for field, declared in _declared(group):
        inner, value = _group_in(declared)[0], values.get(field.name)
        if (entry := entries.get(field.name)) is not None:
            yield entry.option, entry.default if value is None else value
        elif inner is not None:
            yield from options_in(inner, value or {})
        else:
            yield field.name.replace("_", "-"), value


def arguments_of(*groups: Settings) -> list[str]:
    """Return the command line that gives another process these very settings; what is None is left out."""
    arguments: list[str] = []
    for group in groups:
        entries = {entry.field: entry for entry in entries_of(type(group), nested=False)}
        for field, _ in _declared(type(group)):
            value = getattr(group, field.name)
            if isinstance(value, Settings):
                arguments += arguments_of(value)
            elif field.name in entries:
                arguments += _arguments(entries[field.name], value)
    return arguments


def _arguments(entry: Entry, value: Any) -> list[str]:
    if value is None:
        return []
    if value is False:  # said aloud only where a variable of the environment could say otherwise
        return [f"--no-{entry.option}"] if entry.setting.variable else []
    if value is True:
        return [f"--{entry.option}"]
    each = value if isinstance(value, list) else [value]
    return [part for one in each for part in (f"--{entry.option}", str(one))]


def setting_of(annotation: Any) -> Setting | None:
    """Return the setting that an annotation carries, if it does."""
    if get_origin(annotation) is not Annotated:
        return None
    return next((each for each in get_args(annotation)[1:] if isinstance(each, Setting)), None)


def _declared(group: type) -> tuple[tuple[Field[Any], Any], ...]:
    return _declared_once(cast(Hashable, group))


@cache
def _declared_once(group: Any) -> tuple[tuple[Field[Any], Any], ...]:
    hints = get_type_hints(group, include_extras=True)
    return tuple((field, hints[field.name]) for field in fields(group))


def _group_in(annotation: Any) -> tuple[type | None, bool]:
    """Return the group of settings that a field holds, if it does, and whether the field may be None instead."""
    choices = get_args(annotation) or (annotation,)
    inner = next((each for each in choices if isinstance(each, type) and issubclass(each, Settings)), None)
    return inner, type(None) in choices


def _if_asked(group: Any, given: Mapping[str, Any]) -> Any:
    """Make a group that may be None: its classmethod `if_asked` decides, given all of its settings."""
    defaults = {each.key: None if each.default is MISSING else each.default for each in entries_of(group)}
    return group.if_asked(**{each.field: given.get(each.key, defaults[each.key]) for each in entries_of(group)})


def _default(field: Field[Any]) -> Any:
    return field.default if field.default_factory is MISSING else field.default_factory()


def _shown(number: Number) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)
