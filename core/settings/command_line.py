"""A program's options, made from groups of settings."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import MISSING, dataclass
from typing import Annotated, Any, TypeVar, get_args

import typer

from core.settings.policy_file import reads_policy
from core.settings.setting import Entry, Setting, Settings, entries_of, make, setting_of

G = TypeVar("G", bound=Settings)
Command = Callable[..., None]
GIVEN = "given"


@dataclass(frozen=True)
class Given:
    """The values of a program's options: those typed, and the defaults of the rest.

    Attributes:
        typed: names of the options that were typed, with underscores, as far as the program asked for that.
    """

    values: Mapping[str, Any]
    typed: frozenset[str] = frozenset()

    def __getitem__(self, option: str) -> Any:
        return self.values[option.replace("-", "_")]

    def typed_in(self, context: typer.Context) -> Given:
        """Return the same values with the names of those that were typed on this command line, or set around it."""
        sources = {name: context.get_parameter_source(name) for name in self.values}
        said = (
            name for name, source in sources.items() if source is not None and not source.name.startswith("DEFAULT")
        )
        return Given(self.values, frozenset(said))

    def make(self, group: type[G], **decided: Any) -> G:
        """Make a group of settings; `decided` are fields that the program sets itself. Raises SettingsError."""
        return make(group, self.values, **decided)


def options_of(*groups: type[Settings], without: Collection[str] = ()) -> Callable[[Command], Command]:
    """Give a command the settings of these groups as options; it gets their values as its argument `given`.

    Parameters of the command itself that are annotated with a Setting become options as well. Called as a function,
    as in a notebook, it takes the same names as keywords, and what is left out has its default.

    Args:
        groups: of two that have an option in common, the first says what it is.
        without: options that are not offered.
    """
    offered = offered_by(*groups, without=without)

    def decorate(command: Command) -> Command:
        own = list(inspect.signature(command, eval_str=True).parameters.values())
        parameters = [_as_option(each) for each in own if each.name != GIVEN]
        parameters += [_parameter(entry, entries=offered) for entry in offered]

        @functools.wraps(command)
        def run(**values: Any) -> None:
            given = Given({entry.key: values.pop(entry.key, entry.default) for entry in offered})
            command(**values, **({GIVEN: given} if groups else {}))

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    return decorate


def offered_by(*groups: type[Settings], without: Collection[str] = ()) -> list[Entry]:
    """Return the options of a program with these groups, in order."""
    offered: dict[str, Entry] = {}
    for group in groups:
        for entry in entries_of(group):
            if entry.option not in without:
                offered.setdefault(entry.option, entry)
    return list(offered.values())


def _parameter(entry: Entry, entries: Collection[Entry]) -> inspect.Parameter:
    says = [each for each in entries if each.setting.in_policy]
    policy = reads_policy(says) if entry.option == "identity" and says else None
    default = inspect.Parameter.empty if entry.default is MISSING else entry.default
    return _keyword(entry.key, entry.type, _option(entry.setting, policy), default)


def _as_option(parameter: inspect.Parameter) -> inspect.Parameter:
    setting = setting_of(parameter.annotation)
    if setting is None:
        return parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
    return _keyword(parameter.name, get_args(parameter.annotation)[0], _option(setting), parameter.default)


def _keyword(name: str, kind: Any, option: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option])


def _option(setting: Setting, policy: Callable[..., Any] | None = None) -> Any:
    allowed = f" ({setting.allowed})" if setting.allowed else ""
    return typer.Option(
        help=setting.explained + allowed,
        envvar=setting.variable or None,
        is_eager=policy is not None,
        callback=policy,
    )
