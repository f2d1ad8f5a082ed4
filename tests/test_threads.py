"""Parties started by hand keep to one thread of linear algebra each, unless the environment says otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SAY = "import {module}, os; print(os.environ['OPENBLAS_NUM_THREADS'])"


@pytest.mark.parametrize("module", ["server.__main__", "keyholder.__main__", "client.__main__", "experiments.__main__"])
@pytest.mark.parametrize(("given", "threads"), [(None, "1"), ("4", "4")])
def test_one_thread_by_default(module, given, threads):
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    if given:
        environment["OPENBLAS_NUM_THREADS"] = given
    done = subprocess.run(
        [sys.executable, "-c", SAY.format(module=module)],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == threads


def test_importing_core_sets_nothing() -> None:
    say = "import os; before = dict(os.environ); import core, core.federated; print(dict(os.environ) == before)"
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", say], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True"
