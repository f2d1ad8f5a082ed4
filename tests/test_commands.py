"""Messages and help name what the user can type: installed commands where there are some, else Python and a module."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from book.run import Run
from core import commands
from core.commands import SCRIPTS, VARIABLE, as_typed, command_of
from core.program import Program
from experiments.studies import get_study
from experiments.study import page
from server.rules import RoundRules

ROOT = Path(__file__).parent.parent
FOLDERS = (
    "client",
    "server",
    "keyholder",
    "registrar",
    "simulation",
    "results",
    "dashboard",
    "core",
    "book",
    "experiments",
)
TRANSLATED = {"Setting", "Argument", "Option"}
"""What describes an option: `--help` shows it, and names installed commands in it (core/program.py)."""
NOT_SAID = {
    "core/commands.py": "what is replaced in help",
    "registrar/class_room.py": "a script that takes the installed command where there is one",
    "simulation/settings_tables.py": "a mark in a page of the docs",
    "book/__main__.py": "what is replaced in the list of chapters",
    "experiments/__main__.py": "what is replaced in the list of studies",
    "experiments/study.py": "what is replaced in a page",
    "experiments/web_page.py": "what is replaced in a page",
    "experiments/cheating_server/page.py": "what is replaced in a page",
    "experiments/studies/backdoor.py": "what is replaced in a page",
}
MODULE = re.compile(r"python3? -m")


def said(tree: ast.AST) -> Iterator[ast.Constant]:
    """Give the strings of a module that are neither documentation nor the description of an option."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in TRANSLATED:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node
        yield from said(node)


def named(source: str) -> list[str]:
    """Return the modules that strings of this source name as `python -m`."""
    return [found for each in said(ast.parse(source)) for found in MODULE.findall(str(each.value))]


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ('"""See python -m server."""', 0),
        ("# python -m server", 0),
        ('X: int = 1\n"""What python -m server counts."""', 0),
        ('y = Setting("Made by python -m registrar init.", "folder")', 0),
        ('y = typer.Argument(help="What python -m server wrote.")', 0),
        ('raise ValueError("run python -m registrar init")', 1),
        ('raise ValueError(f"run python -m registrar init {folder}")', 1),
        ('def f():\n    """Run python -m server."""\n    return "python3 -m client"', 1),
    ],
)
def test_messages_are_told_from_documentation(source: str, count: int) -> None:
    assert len(named(source)) == count


def test_no_message_names_a_module_that_an_installed_user_would_not_type() -> None:
    modules = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    modules = [path for path in modules if "notebooks" not in path.parts]
    found = {str(path.relative_to(ROOT)) for path in modules if named(path.read_text("utf-8"))}
    assert found == NOT_SAID.keys(), "put command_of(...) of core/commands.py into the message"


def test_the_page_names_no_command() -> None:
    for path in (ROOT / "dashboard" / "page").iterdir():
        assert not re.search(r"python3? -m|\bmake [a-z]+ (makes|on)\b", path.read_text("utf-8")), path.name


# ------------------------------------------------------------------------------------------ what is named


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process be an installed command."""
    monkeypatch.setattr(sys, "argv", ["/opt/grokfed/bin/grokfed-server"])


def helps(name: str) -> Iterator[str]:
    """Give the help of a program and of each of its commands."""
    app: Program = importlib.import_module(f"{name}.__main__").app
    own = getattr(typer.main.get_command(app), "commands", {})
    for words in ([], *([each] for each in own)):
        answer = CliRunner().invoke(app, [*words, "--help"])
        assert answer.exit_code == 0
        yield answer.output


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_help_of_installed_commands_names_installed_commands(name: str) -> None:
    for text in helps(name):
        assert "python -m" not in text
    assert f"{SCRIPTS[name]} " in next(helps(name))


def test_the_help_of_modules_names_modules() -> None:
    text = next(helps("client"))
    assert "python -m client look" in text
    assert "grokfed-client" not in text


@pytest.mark.usefixtures("installed")
def test_what_has_no_installed_command_imports_nothing_of_the_users_folder() -> None:
    assert command_of("book.data.fetch").endswith(" -P -m book.data.fetch")
    assert (
        as_typed("`python -m book.data.fetch` or python -m book 6.") == "`python -m book.data.fetch` or grokfed-book 6."
    )
    assert command_of("experiments") == "grokfed-experiments"
    assert command_of("registrar") == "grokfed-registrar"
    assert RoundRules().deal == "grokfed-registrar deal"


@pytest.mark.parametrize(
    ("project_file", "command", "named"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_code_of_a_wheel_names_its_commands_however_it_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project_file: bool, command: bool, named: bool
) -> None:
    """As in a notebook, or by `python -P -m`; a copy of the folders without the wheel's commands names modules."""
    for file, there in (("pyproject.toml", project_file), ("grokfed-server", command)):
        if there:
            (tmp_path / file).touch()
    monkeypatch.setattr(commands, "_SOURCE", tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert (command_of("client") == "grokfed-client") == named
    assert (as_typed("python -m client look") == "grokfed-client look") == named


@pytest.mark.usefixtures("installed")
def test_pages_and_lists_of_an_installed_program_name_it() -> None:
    chosen = get_study("weak-key")
    run = Run(Path("out"), None, True, 1)
    assert "    grokfed-experiments weak-key --quick --seed 1\n" in page(
        replace(chosen, conclude=lambda _: ""), [], run
    )
    for name in ("book", "experiments"):
        listed = CliRunner().invoke(importlib.import_module(f"{name}.__main__").app, [])
        assert f"grokfed-{name} " in listed.output
        assert "python -m" not in listed.output


@pytest.mark.parametrize(("script", "named"), [("grokfed-results", "grokfed-client"), ("something", "-m client")])
def test_what_a_command_starts_names_commands_as_it_does(tmp_path: Path, script: str, named: str) -> None:
    command = tmp_path / script
    child = "from core.commands import command_of; print(command_of('client'))"
    lines = (
        f"#!{sys.executable}",
        "import subprocess, sys",
        "from core.program import Program",
        "app = Program('Starts another process.')",
        "@app.command()",
        "def go() -> None:",
        f'    subprocess.run([sys.executable, "-c", "{child}"], check=True)',
        "app()",
    )
    command.write_text("\n".join(lines))
    command.chmod(0o700)
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run([command], env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout.endswith(f"{named}\n")
