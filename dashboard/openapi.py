"""The JSON of the page, described by OpenAPI 3.1."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

from core.settings.setting import setting_of
from dashboard.guard import ACCESS_TOKEN, FORM_TOKEN
from dashboard.starting import Wanted

_NUMBER = {"type": ["number", "null"]}
_TEXT = {"type": "string"}
_SUMMARY: dict[str, Any] = {
    "id": _TEXT, "began": _NUMBER, "state": _TEXT, "message": _TEXT, "task": _TEXT, "way": _TEXT, "clients": _NUMBER,
    "scheme": _TEXT, "privacy": _TEXT, "rounds": _NUMBER, "rounds_done": _NUMBER, "accuracy": _NUMBER, "loss": _NUMBER,
    "epsilon": _NUMBER, "seconds": _NUMBER, "kib": _NUMBER, "has_events": {"type": "boolean"},
}  # fmt: skip
_EVENT: dict[str, Any] = {
    "seconds": _NUMBER, "run": _TEXT, "phase": _TEXT, "round": _NUMBER, "rounds": _NUMBER, "attempt": _NUMBER,
    "present": _NUMBER, "holders": _NUMBER, "received": _NUMBER, "expected": _NUMBER, "message": _TEXT,
    "seconds_left": _NUMBER, "epsilon_budget": _NUMBER, "lost": _TEXT,
    "parties": {"type": "array", "items": {"type": "object"}}, "calls": {"type": "object"},
    "results": {"type": "array", "items": {"type": "object"}},
}  # fmt: skip
_ID = {"name": "id", "in": "path", "required": True, "schema": _TEXT}
_ROUND = {"name": "round", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
_AFTER = {"name": "after", "in": "query", "schema": {"type": "integer", "minimum": 0}}


def document() -> dict[str, Any]:
    """Return the description of every call."""
    detail = {**_SUMMARY, "settings": {"type": "object"}, "history": {"type": "array", "items": {"type": "object"}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": "grokfed dashboard", "version": "1"},
        "paths": {
            "/api/about": {"get": _call("What is shown, and whether runs may be started.", {})},
            "/api/openapi.json": {"get": _call("This description.", {})},
            "/api/runs": {
                "get": _call("A row for each run.", {"runs": {"type": "array", "items": _object(_SUMMARY)}}),
                "post": _post("Start a simulation.", _form(), "201"),
            },
            "/api/dry-run": {"post": _post("What such a run would cost.", _form())},
            "/api/started": {"get": _call("The simulations that were started here.", {})},
            "/api/runs/{id}": {"get": _call("Everything about a run that has a number.", detail, _ID)},
            "/api/runs/{id}/events": {"get": _events()},
            "/api/runs/{id}/saw/{round}": {"get": _call("What the aggregator saw of a round.", {}, _ID, _ROUND)},
            "/api/runs/{id}/stop": {"post": _post("Stop a simulation that was started here.", None, "200", _ID)},
        },
    }


def _events() -> dict[str, Any]:
    found = {"events": {"type": "array", "items": _object(_EVENT)}, "next": _NUMBER}
    call = _call(
        "What an observer was told; as server-sent events to who accepts text/event-stream.", found, _ID, _AFTER
    )
    call["responses"]["200"]["content"]["text/event-stream"] = {"schema": _TEXT}
    return call


def _form() -> dict[str, Any]:
    hints, properties = get_type_hints(Wanted, include_extras=True), {}
    kinds = {int: "integer", float: "number", str: "string"}
    for each in fields(Wanted):
        setting = setting_of(hints[each.name])
        assert setting is not None
        bounds = {"minimum": setting.bounds.at_least, "maximum": setting.bounds.at_most}
        properties[each.name] = {
            "type": kinds[get_args(hints[each.name])[0]], "description": setting.meaning, "default": each.default,
            **{name: bound for name, bound in bounds.items() if bound is not None},
        }  # fmt: skip
    return {**_object(properties), "additionalProperties": False}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


def _call(summary: str, properties: dict[str, Any], *parameters: dict[str, Any], status: str = "200") -> dict[str, Any]:
    answer = {"description": "As asked.", "content": {"application/json": {"schema": _object(properties)}}}
    error = {"description": "Why not.", "content": {"application/json": {"schema": _object({"error": _TEXT})}}}
    return {"summary": summary, "parameters": list(parameters), "responses": {status: answer, "default": error}}


def _post(
    summary: str, form: dict[str, Any] | None, status: str = "200", *parameters: dict[str, Any]
) -> dict[str, Any]:
    tokens = [
        {"name": name, "in": "header", "required": name == FORM_TOKEN, "schema": _TEXT}
        for name in (FORM_TOKEN, ACCESS_TOKEN)
    ]
    call = _call(summary, {}, *parameters, *tokens, status=status)
    if form is not None:
        call["requestBody"] = {"required": True, "content": {"application/json": {"schema": form}}}
    return call
