"""What the pages point to is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
import typer

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
    prose = {"a", "another", "it", "itself", "the", "that", "every", "them", "sure", "up"}
    assert named - prose <= known
    assert {"simulate", "test", "bench"} <= named


@pytest.mark.parametrize("party", ["server", "keyholder", "client"])
def test_every_setting_of_a_party_is_explained(party):
    documented = (ROOT / "docs" / "operation.md").read_text()
    command = typer.main.get_command(importlib.import_module(f"{party}.__main__").app)
    options = {name for parameter in command.params for name in parameter.opts if name.startswith("--")}
    assert {option for option in options if f"`{option}" not in documented} == set()
    assert {"--identity", "--patience"} <= options
