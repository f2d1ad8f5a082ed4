"""A run in one row of the table, and in full, from its folder."""

from __future__ import annotations

import sys
from typing import Any

from core.wording import counted
from dashboard.records import Row, RunRecord, Stored

SETTINGS = ("task", "scheme", "key_bits", "seed", "count_cap", "insecure_demo_keys", "insecure_plaintext")
RULES = (
    "rounds", "target", "cohort", "min_cohort", "holders", "threshold", "round_seconds", "upload_seconds",
    "over_selection",
)  # fmt: skip
PRIVACY = ("noise_multiplier", "clip_norm", "delta", "epsilon_budget", "max_colluders")


def summary_of(record: RunRecord) -> dict[str, Any]:
    """Return one row of the table of runs."""
    stored, history, event = record.stored(), record.history(), record.last_event() or {}
    about = record.about()
    settings = settings_of(stored, about or {})
    last = history[-1] if history else {}
    state = _state(record, stored, about)
    rounds = settings.get("rounds") or event.get("rounds") or len(history)
    return {
        "id": record.name,
        "began": record.began,
        "state": state,
        "message": _message(state, stored, about or {}, event, f"{len(history)} of {counted(rounds, 'round')}"),
        "task": settings.get("task") or record.name.partition("-")[0],
        "way": str(settings.get("way") or ""),
        "clients": settings.get("clients") or last.get("contributors"),
        "scheme": settings.get("scheme") or "",
        "privacy": _privacy(settings),
        "rounds": rounds,
        "rounds_done": len(history),
        "accuracy": last.get("accuracy"),
        "loss": last.get("loss"),
        "epsilon": last.get("epsilon"),
        "seconds": round(sum(_number(row.get("round_s")) for row in history), 3),
        "kib": round(sum(bytes_of(row) for row in history) / 1024, 1),
        "has_events": record.file("events.jsonl") is not None,
    }


def detail_of(record: RunRecord) -> dict[str, Any]:
    """Return everything about a run that has a number: its row, settings and rounds."""
    settings = settings_of(record.stored(), record.about() or {})
    return {**summary_of(record), "settings": settings, "history": record.history()}


def settings_of(stored: Stored, about: Row) -> Row:
    """Return the settings that matter, flat, so that two runs can be compared."""
    said = _entries(about.get("run_settings")) or stored.settings or {}
    rules, privacy = _entries(said.get("rules")), _entries(said.get("privacy"))
    found = {name: said.get(name) for name in SETTINGS} | {name: rules.get(name) for name in RULES}
    found |= {name: privacy.get(name) for name in PRIVACY}
    found["clients"] = found.pop("target") or about.get("clients")
    found["way"] = about.get("way")
    return {name: value for name, value in found.items() if value is not None}


def bytes_of(row: Row) -> float:
    """Return how many bytes all clients of a round sent together."""
    return _number(row.get("bytes_up_per_client")) * _number(row.get("contributors"))


def _state(record: RunRecord, stored: Stored, about: Row | None) -> str:
    if record.going_on:
        return "running"
    if about is None:
        return "unreadable"
    states = {"completed": "finished", "failed": "failed", "running": "stopped", "interrupted": "stopped"}
    return states.get(str(about.get("state") or stored.status), "finished")


def _message(state: str, stored: Stored, about: Row, event: Row, done: str) -> str:
    """Say how the run ended, or what it waits for; what an observer was told last is no news of a stopped run."""
    if state == "unreadable":
        return "run.json is damaged: it is not the record of a run"
    told = f"stopped after {done}" if state == "stopped" else event.get("message", "")
    return str(about.get("message") or stored.message or told)


def _privacy(settings: Row) -> str:
    noise = settings.get("noise_multiplier")
    return f"noise {noise:g}" if isinstance(noise, int | float) else ""


def _number(value: Any) -> float:
    """Return a number that can be added up; 0 for what is none, or not finite."""
    return float(value) if isinstance(value, int | float) and abs(value) <= sys.float_info.max else 0.0


def _entries(value: Any) -> Row:
    return value if isinstance(value, dict) else {}
