"""Make docs/dashboard.png: a real run with a client that is killed, as the dashboard shows it in a real Chromium.

    python -m docs.dashboard_picture

Needs chromium (Debian: apt install chromium).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PICTURE = Path(__file__).parent / "dashboard.png"
RUN = ("--clients", "7", "--rounds", "6", "--min-cohort", "5")
KILLED, AFTER_EVENTS = "client-3", 130
SIZE, MILLISECONDS = "1200,860", "4000"


def main() -> None:
    """Run, kill, show, and save what is shown."""
    chromium = shutil.which("chromium") or sys.exit("chromium is not installed")
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch)
        _run(runs / "spam-1")
        dashboard = _start("dashboard", "--runs", scratch, "--listen", "127.0.0.1:0")
        try:
            assert dashboard.stdout is not None
            address = dashboard.stdout.readline().split()[-1]
            options = ("--headless=new", "--no-sandbox", "--hide-scrollbars", f"--window-size={SIZE}")
            wait = f"--virtual-time-budget={MILLISECONDS}"
            command = [chromium, *options, wait, f"--screenshot={PICTURE}", f"{address}/#/live/spam-1"]
            subprocess.run(command, check=True, capture_output=True)
        finally:
            dashboard.terminate()
            dashboard.communicate()
    print(f"{PICTURE} is made")


def _run(folder: Path) -> None:
    simulation = _start("simulation", *RUN, "--out", str(folder))
    events = folder / "events.jsonl"
    while simulation.poll() is None and (not events.exists() or len(events.read_text().splitlines()) < AFTER_EVENTS):
        time.sleep(0.1)
    for process in Path("/proc").glob("[0-9]*"):
        if _is(process, folder / "federation" / KILLED):
            os.kill(int(process.name), signal.SIGKILL)
    simulation.communicate()


def _is(process: Path, identity: Path) -> bool:
    try:
        arguments = (process / "cmdline").read_text().split("\0")
    except OSError:
        return False
    return "client" in arguments and str(identity) in arguments


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True)


if __name__ == "__main__":
    main()
