"""What parties make on first use is there before they are forked, and the process can be forked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from parties import Parties

from simulation.processes import ROOT

CLIENT = """
import json, os, sys
from simulation.rehearsal import rehearse

program = rehearse()["client"]
threads, before = len(os.listdir("/proc/self/task")), set(sys.modules)
ended = None
try:
    program(prog_name="client")
except SystemExit as end:
    ended = end.code
print(json.dumps([threads, ended, sorted(set(sys.modules) - before)]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="parties are forked on Linux only")
def test_a_client_imports_nothing_after_the_rehearsal_which_leaves_no_thread(parties: Parties) -> None:
    away = ("--server", "127.0.0.1:9", "--mail", "generated", "--patience", "1")
    command = [sys.executable, "-c", CLIENT, "--identity", parties.federation / "client-1", *away]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [1, 1, []], "threads, exit code, modules"
    assert "no answer from 127.0.0.1:9" in done.stderr
