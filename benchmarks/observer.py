"""What watching costs the aggregator: rounds with and without a dashboard and its page, by turns, in one run.

python -m benchmarks.observer
python -m benchmarks.observer --clients 30 --windows 8 --no-browser
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

from benchmarks.rounds import seconds_of
from simulation.program import Program

HOLDERS, OBSERVER = 4, "observer"
BAR = 2.0
"""Percent of a core that watching may cost the aggregator."""
COMPLETED = r"completed .*round=\d+"


@dataclass(frozen=True)
class Cost:
    """Of one round: how long it took, and processor seconds of the aggregator."""

    wall: float
    cpu: float


class Federation:
    """Real parties on this machine."""

    def __init__(self, folder: Path, clients: int, rounds: int, bits: int, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        made, keys = folder / "federation", ("--key-bits", str(bits), "--insecure-demo-keys")
        for words in (
            ("init", str(made), "--clients", str(clients), "--observer", OBSERVER),
            ("deal", str(made), "--keys", str(rounds + 2), *keys),
        ):
            subprocess.run([sys.executable, "-m", "registrar", *words], check=True, capture_output=True)
        self.server = self._start(
            "server", "--identity", made / "server", "--listen", "127.0.0.1:0", "--state", folder / "state",
            "--clients", str(clients), "--rounds", str(rounds), *keys,
        )  # fmt: skip
        self.address = self.server.hear(r"listening on (\S+)")[1]
        there = ("--server", self.address, "--insecure-demo-keys")
        for number in range(1, HOLDERS + 1):
            name = f"keyholder-{number}"
            self._start("keyholder", "--identity", made / name, "--state", folder / name, *there, log=name)
        for number in range(1, clients + 1):
            name = f"client-{number}"
            self._start("client", "--identity", made / name, "--mail", "generated", *there, log=name)

    def _start(self, *words: str | Path, log: str = "") -> Program:
        program = Program(*words, log=self._folder / f"{log}.log" if log else None)
        self._stack.callback(program.close)
        return program

    def round(self) -> Cost:
        """Wait for the end of the round that has begun, and return what it cost."""
        began, before = time.monotonic(), seconds_of(self.server.process.pid)
        self.server.hear(COMPLETED)
        return Cost(time.monotonic() - began, seconds_of(self.server.process.pid) - before)

    @contextmanager
    def watched(self, *, browser: bool) -> Iterator[str]:
        """Show the run on a page, in a real browser if there is to be one, and give its address."""
        identity = self._folder / "federation" / OBSERVER
        (self._folder / "runs").mkdir(exist_ok=True)
        dashboard = Program(
            "dashboard", "--runs", self._folder / "runs", "--server", self.address, "--identity", identity,
            "--listen", "127.0.0.1:0",
        )  # fmt: skip
        chromium = None
        try:
            page = dashboard.hear(r"the dashboard is at (\S+)")[1]
            if browser:
                profile = tempfile.mkdtemp(dir=self._folder)
                options = ("--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={profile}")
                command = [str(shutil.which("chromium")), *options, f"{page}/#/live/@server"]
                chromium = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            yield page
        finally:
            if chromium is not None:
                chromium.terminate()
                chromium.wait()
            dashboard.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program with command-line arguments (those of the process if None); 1 if the bar is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.observer", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--clients", type=int, default=30)
    parser.add_argument("--windows", type=int, default=8, help="with and without, by turns (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each window, after one that does not count")
    parser.add_argument("--key-bits", type=int, default=512, help="short keys make short rounds, with more to tell")
    parser.add_argument("--no-browser", action="store_true", help="a dashboard without an open page")
    options = parser.parse_args(arguments)
    browser = not options.no_browser and shutil.which("chromium") is not None
    rounds = 1 + options.windows * (options.rounds + 1)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        federation = Federation(Path(scratch), options.clients, rounds, options.key_bits, stack)
        federation.round()
        alone, watched, lanes = _series(federation, options.windows, options.rounds, browser=browser)
    return _report(alone, watched, lanes, browser=browser)


def _series(federation: Federation, windows: int, rounds: int, *, browser: bool) -> tuple[list[Cost], list[Cost], int]:
    """Return the costs of rounds without and with a watcher, and for how many parties the page has lanes."""
    alone: list[Cost] = []
    watched: list[Cost] = []
    lanes = 0
    for window in range(windows):
        if window % 2 == 0:
            federation.round()
            alone += [federation.round() for _ in range(rounds)]
        else:
            with federation.watched(browser=browser) as page:
                federation.round()
                watched += [federation.round() for _ in range(rounds)]
                lanes = _lanes(page)
    return alone, watched, lanes


def _lanes(page: str) -> int:
    with urlopen(f"{page}/api/runs/@server/events", timeout=10) as answer:  # noqa: S310  our own dashboard
        events = json.load(answer)["events"]
    return len({party["name"] for event in events for party in event.get("parties", ())})


def _report(alone: list[Cost], watched: list[Cost], lanes: int, *, browser: bool) -> int:
    def mean(costs: list[Cost], what: str) -> float:
        return statistics.fmean(getattr(each, what) for each in costs)

    extra = mean(watched, "cpu") - mean(alone, "cpu")
    spread = (statistics.stdev(each.cpu for each in alone) ** 2 / len(alone)
              + statistics.stdev(each.cpu for each in watched) ** 2 / len(watched)) ** 0.5  # fmt: skip
    share, error = (100 * each / mean(watched, "wall") for each in (extra, spread))
    for name, costs in (("alone", alone), ("watched", watched)):
        print(
            f"{name}: {len(costs)} rounds of {mean(costs, 'wall'):.2f} s, of which the aggregator computed "
            f"{mean(costs, 'cpu'):.3f} s ({100 * mean(costs, 'cpu') / mean(costs, 'wall'):.1f} % of a core)"
        )
    page = "a page open in Chromium" if browser else "no page open"
    print(f"the dashboard showed {lanes} parties, with {page}")
    print(
        f"watching cost the aggregator {1e3 * extra:.0f} ± {1e3 * spread:.0f} ms a round, {share:.2f} ± {error:.2f} % "
        f"of a core; the bar is {BAR:g} %"
    )
    return 0 if share <= BAR else 1


if __name__ == "__main__":
    sys.exit(main())
