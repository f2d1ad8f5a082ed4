"""Functions, their lists of parameters, and modules stay small enough to be read at once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FOLDERS = (
    "core", "results", "dashboard", "client", "server", "keyholder", "registrar", "simulation", "book", "experiments", "faults", "benchmarks",
)  # fmt: skip
LONGEST_FUNCTION, MOST_PARAMETERS, LONGEST_MODULE = 40, 8, 400

Function = ast.FunctionDef | ast.AsyncFunctionDef


def too_large(module: ast.Module, name: str, lines: int) -> Iterator[str]:
    """Everything in a module that is above the limits."""
    if lines > LONGEST_MODULE:
        yield f"{name}: {lines} lines"
    for node in ast.walk(module):
        if isinstance(node, Function):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > LONGEST_FUNCTION:
                yield f"{name} {node.name}: {length} lines"
            if parameters(node) > MOST_PARAMETERS and not is_command(node):
                yield f"{name} {node.name}: {parameters(node)} parameters"


def parameters(function: Function) -> int:
    arguments = function.args
    names = [each.arg for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")]) + bool(arguments.vararg) + bool(arguments.kwarg)


def is_command(function: Function) -> bool:
    """Whether it is a command line's, whose parameters are options."""
    return any(ast.unparse(each).startswith(("app.command", "app.callback")) for each in function.decorator_list)


def star_tuples(module: ast.Module) -> Iterator[int]:
    """Lines where a literal tuple or list is unpacked into a call or another literal."""
    for node in ast.walk(module):
        if isinstance(node, ast.Starred) and isinstance(node.value, ast.Tuple | ast.List):
            yield node.lineno


def modules() -> Iterator[tuple[str, str]]:
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if "_pb2" not in path.name:
                yield str(path.relative_to(ROOT)), path.read_text()


def test_no_function_has_too_many_lines_or_parameters_and_no_module_too_many_lines() -> None:
    found = {
        problem
        for name, text in modules()
        for problem in too_large(ast.parse(text), name, len(text.splitlines()))
    }  # fmt: skip
    assert found == set()


def test_no_file_of_tests_is_longer_than_a_module_may_be() -> None:
    lengths = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "tests").glob("*.py")}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_MODULE} == {}


def test_no_literal_tuple_is_unpacked_where_its_elements_could_stand() -> None:
    found = [f"{name}:{line}" for name, text in modules() for line in star_tuples(ast.parse(text))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "problems"),
    [
        ("def f(a, b, c, d, *, e, f, g, h): pass", []),
        ("def f(a, b, c, d, *, e, f, g, h, i): pass", ["x.py f: 9 parameters"]),
        ("class C:\n  def f(self, a, b, c, d, e, f, g, h): pass", []),
        ("async def f(a, b, c, d, e, f, g, *h, **i): pass", ["x.py f: 9 parameters"]),
        ("@app.command()\ndef f(a, b, c, d, e, f, g, h, i): pass", []),
        ("def f():\n" + 39 * "  pass\n", []),
        ("def f():\n" + 40 * "  pass\n", ["x.py f: 41 lines"]),
    ],
)
def test_what_is_too_large_is_found(source: str, problems: list[str]) -> None:
    assert list(too_large(ast.parse(source), "x.py", 1)) == problems


def test_a_module_of_401_lines_is_found() -> None:
    assert list(too_large(ast.parse(""), "x.py", 400)) == []
    assert list(too_large(ast.parse(""), "x.py", 401)) == ["x.py: 401 lines"]


def test_unpacked_literals_are_found() -> None:
    assert list(star_tuples(ast.parse("f(*(1, 2))\ng(*x)\n[*['a'], 'b']\n[*(i for i in x)]"))) == [1, 3]
