"""What is written as JSON is JSON: no infinity, no NaN."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from core.finite_json import dumps

ROOT = Path(__file__).parent.parent
FOLDERS = ("benchmarks", "book", "client", "core", "dashboard", "experiments", "faults", "keyholder", "registrar", "results",
           "server", "simulation")  # fmt: skip


def test_numbers_that_are_not_finite_become_null_wherever_they_are() -> None:
    value = {"a": float("inf"), "b": [1, float("nan"), {"c": -float("inf")}], "d": (1.5, None, True, "Infinity")}
    assert json.loads(dumps(value)) == {"a": None, "b": [1, None, {"c": None}], "d": [1.5, None, True, "Infinity"]}


def calls_that_write_infinity(text: str) -> list[int]:
    """The lines of calls of json.dump and json.dumps that would write what is no JSON."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    writing = [call for call in calls if ast.unparse(call.func) in {"json.dump", "json.dumps"}]
    return [
        call.lineno
        for call in writing
        if not any(each.arg == "allow_nan" and ast.unparse(each.value) == "False" for each in call.keywords)
    ]


@pytest.mark.parametrize(("call", "lines"), [("json.dumps(a)", [1]), ("json.dumps(a, allow_nan=False)", [])])
def test_the_search_finds_a_call_that_writes_infinity(call: str, lines: list[int]) -> None:
    assert calls_that_write_infinity(call) == lines


def test_no_program_writes_infinity_as_json() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    found = {str(path.relative_to(ROOT)): calls_that_write_infinity(path.read_text()) for path in paths}
    assert {path: lines for path, lines in found.items() if lines} == {}
