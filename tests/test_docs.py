"""What the pages point to is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import typer

from simulation.settings_tables import PAGE, PROGRAMS, fill

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_of_a_page_leads_somewhere(page):
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


def test_every_target_of_make_that_a_page_names_exists():
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"(?<![\w-])make ([a-z-]+)(?=[\s`])", page.read_text())}
    prose = {"a", "another", "it", "itself", "the", "that", "their", "every", "them", "sure", "up"}
    assert named - prose <= known
    assert {"simulate", "test", "bench"} <= named


def test_the_tables_of_settings_are_those_of_the_code():
    """`make docs` writes them anew."""
    page = PAGE.read_text()
    assert fill(page) == page
    assert re.findall("<!-- settings: python -m ([a-z ]+) -->", page) == list(PROGRAMS)


@pytest.mark.parametrize(
    ("program", "module", "function"),
    [
        ("server", "server", "serve"),
        ("keyholder", "keyholder", "hold"),
        ("client", "client", "train"),
        ("registrar init", "registrar", "init"),
        ("registrar deal", "registrar", "deal"),
        ("registrar invite", "registrar", "invite"),
        ("registrar serve", "registrar", "serve"),
        ("client enroll", "client", "enroll_party"),
        ("simulation", "simulation", "main"),
    ],
)
def test_every_option_of_a_program_is_in_its_table(program, module, function):
    app = typer.Typer(add_completion=False)
    app.command()(getattr(importlib.import_module(f"{module}.__main__"), function))
    command = typer.main.get_command(app)
    options = [parameter.opts[0] for parameter in command.params if parameter.opts[0].startswith("--")]
    assert options == [f"--{entry.option}" for entry in PROGRAMS[program]]
