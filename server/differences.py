"""In what two runs were asked for differently, by the options and values that somebody typed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from core.server_rules import CLIP_RATE, PARAMETERS, RuleName
from core.settings.setting import options_in

DERIVED = ("deal", "selection-secret", "asked", "budget-costs")
"""What no one types: it follows from other settings, or is drawn."""


def differences(group: type, stored: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """Return what differs between two groups of settings as JSON has them: for each option, a few words.

    A value that is the default of another setting that differs, as a rule's own learning rate is, is not named.
    """
    before, after = (dict(options_in(group, _as_typed(said))) for said in (stored, now))
    return {
        option: _words(option, before.get(option), value)
        for option, value in after.items()
        if before.get(option) != value and option not in DERIVED
    }


def _as_typed(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings without what was filled in: a rule's defaults, and the rounds that a budget allows."""
    rules, rule = dict(said.get("rules") or {}), dict(said.get("server_rule") or {})
    rules["rounds"] = rules.get("asked") or rules.get("rounds")
    filled = dict(_filled_in(rule, rules.get("target")))
    return {**said, "rules": rules, "server_rule": {name: None if name in filled else rule[name] for name in rule}}


def _filled_in(rule: Mapping[str, Any], clients: int | None) -> Iterator[tuple[str, float]]:
    name = rule.get("name")
    defaults = PARAMETERS[RuleName(name)] if name in list(RuleName) else {}
    for parameter, default in (*defaults.items(), ("clip_rate", CLIP_RATE), ("population", clients)):
        if default is not None and rule.get(parameter) == default:
            yield parameter, default


def _words(option: str, old: Any, new: Any) -> str:
    if isinstance(old, bool) or isinstance(new, bool):
        return f"--{option}, not without it" if old else f"no --{option}, not with it"
    if old is None:
        return f"no --{option}, not {_written(new)}"
    return f"--{option} {_written(old)}, not {'without it' if new is None else _written(new)}"


def _written(value: Any) -> str:
    return f"{value:.10g}" if isinstance(value, float) else f"{value}"
