"""What parties make on first use is there before they are forked, and the process can be forked."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from parties import Parties

from simulation.processes import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="parties are forked on Linux only")

CLIENT = """
import json, os, sys
from simulation.rehearsal import rehearse

def open_now():
    return len(os.listdir("/proc/self/task")), len(os.listdir("/proc/self/fd"))

before = open_now()
program = rehearse()["client"]
after, modules, ended = open_now(), set(sys.modules), None
try:
    program(prog_name="client")
except SystemExit as end:
    ended = end.code
print(json.dumps({"left": [before, after], "ended": ended, "imported": sorted(set(sys.modules) - modules)}))
"""

SECRETS = """
import json, os, random, secrets, sys
import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from simulation.rehearsal import rehearse

def draw():
    key = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    return [key, secrets.token_hex(), random.random(), np.random.default_rng().random()]

rehearse()
for _ in range(2):
    if os.fork() == 0:
        print(json.dumps(draw()), flush=True)
        os._exit(0)
    os.wait()
print(json.dumps(draw()))
"""


def said(program: str, *arguments: str | Path, environment: Mapping[str, str] = os.environ) -> tuple[list[Any], str]:
    """Run a program with Python; return the lines of JSON that it prints, and its errors."""
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_a_client_imports_nothing_after_the_rehearsal_which_leaves_nothing_open(parties: Parties) -> None:
    away = ("--server", "127.0.0.1:9", "--mail", "generated", "--patience", "1")
    (found,), errors = said(CLIENT, "--identity", parties.federation / "client-1", *away)
    before, after = found["left"]
    assert before == after, "threads and files"
    assert after[0] == 1, "threads"
    assert found["imported"] == []
    assert found["ended"] == 1
    assert "no answer from 127.0.0.1:9" in errors


def test_forks_of_a_rehearsed_process_draw_unlike_secrets() -> None:
    drawn, _ = said(SECRETS)
    assert len(drawn) == 3
    for kind in zip(*drawn, strict=True):
        assert len(set(kind)) == 3


@pytest.mark.parametrize(
    ("before", "environment"),
    [("import tempfile; tempfile.tempdir = '/dev/null'", {}), ("", {"GROKFED_ALLOW_PLAIN": "nonsense"})],
    ids=["no room for its files", "settings that parties refuse"],
)
def test_parties_can_be_forked_whatever_becomes_of_the_rehearsal(before: str, environment: dict[str, str]) -> None:
    program = f"import json\n{before}\nfrom simulation.rehearsal import rehearse\nprint(json.dumps(sorted(rehearse())))"
    found, errors = said(program, environment={**os.environ, **environment})
    assert found == [["client", "keyholder", "registrar", "server"]]
    assert errors == ""
