"""What the checks of a round cost each party, timed inside the parties of a real run: `python -m benchmarks.checks`."""

from __future__ import annotations

import argparse
import atexit
import functools
import json
import os
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

from rich.console import Console
from rich.table import Table

from benchmarks import rounds, ten_thousand

FOLDER = "GROKFED_BENCHMARK_CHECKS"
"""Environment variable: where each party's process leaves its times."""

PARTIES = {"client": "client", "server": "aggregator", "keyholder": "key holder"}
CHECKS = {
    "signatures, keys, policies": [
        f"core.checks:Verifier.{name}"
        for name in ("verify_round", "verify_key", "verify_encoding", "verify_privacy", "verify_lineage",
                     "verify_endorsements", "verify_commitment", "verify_commitments", "verify_list")
    ],
    "signing": ["core.identity.signing:SigningKey.sign"],
    "every ciphertext is one": ["core.secagg.paillier:PaillierAdder.check"],
    "the opening is right": ["core.secagg.opening:verify_opened", "core.secagg.opening:wrong_holders"],
    "on disk first": [
        *(f"server.store:Store.{name}" for name in ("open_attempt", "add_commitment", "announce_list", "add_payload",
                                                    "set_state", "keep_opened", "complete_attempt")),
        *(f"keyholder.ledger:Ledger.{name}" for name in ("record_list", "record_release", "record_model")),
        "keyholder.shares:Shares.destroy",
    ],
}  # fmt: skip
WORK = {
    "encrypting": ["core.secagg.paillier:PaillierEncryptor.encrypt"],
    "adding up": ["core.secagg.paillier:PaillierAdder.add"],
    "a share of the opening": ["core.secagg.key_share:KeyShare.partial"],
    "combining shares": ["core.secagg.opening:combine"],
}
"""What would be done without any check too; but that key holders add up is one."""

Times = dict[str, float]
"""Wall seconds by label."""


# ------------------------------------------------------------------------------------------------ in a party's process


class Stopwatch:
    """Adds up the time spent in functions under a label; what they call under the same label counts once."""

    def __init__(self) -> None:
        self.times: Times = defaultdict(float)
        self._lock = threading.Lock()
        self._inside = threading.local()

    def timed(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed."""

        @functools.wraps(function)
        def call(*arguments: Any, **named: Any) -> Any:
            if getattr(self._inside, label, False):
                return function(*arguments, **named)
            setattr(self._inside, label, True)
            started = time.perf_counter()
            try:
                return function(*arguments, **named)
            finally:
                setattr(self._inside, label, False)
                with self._lock:
                    self.times[label] += time.perf_counter() - started

        return call


def begin(folder: Path, party: str) -> None:
    """Time what this process will do, before it has imported it, and leave the times in the folder at its end."""
    watch = Stopwatch()
    for label, places in (CHECKS | WORK).items():
        for place in places:
            module, _, path = place.partition(":")
            if module.startswith(tuple(PARTIES)) and not module.startswith(party):
                continue
            *owner, name = path.split(".")
            holder = functools.reduce(getattr, owner, import_module(module))
            setattr(holder, name, watch.timed(label, getattr(holder, name)))
    atexit.register(lambda: (folder / f"{party}-{os.getpid()}.json").write_text(json.dumps(watch.times)))


# ------------------------------------------------------------------------------------------------ around all of them


def measure(setting: rounds.Setting, count: int) -> tuple[float, Mapping[str, Times]]:
    """The median seconds of a round, and by party the mean seconds a round and process under each label."""
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {FOLDER: folder}):
        whole = rounds.run(setting, count)
        found: dict[str, list[Times]] = defaultdict(list)
        for path in Path(folder).iterdir():
            found[path.name.partition("-")[0]].append(json.loads(path.read_text()))
    means = {
        party: {
            label: sum(times.get(label, 0.0) for times in all_times) / len(all_times) / count for label in CHECKS | WORK
        }
        for party, all_times in found.items()
    }
    return median(whole.rounds), means


def table(bits: int, a_round: float, means: Mapping[str, Times]) -> Table:
    """Milliseconds a round, a row for each label and a column for each party."""
    made = Table("", box=None, title=f"{bits} bits: a round takes {a_round * 1000:.0f} ms", title_justify="left")
    for name in PARTIES.values():
        made.add_column(f"{name}, ms", justify="right")
    for labels, sums in ((CHECKS, "all checks"), (WORK, "all of that")):
        for label in labels:
            made.add_row(label, *(_shown(means[party][label]) for party in PARTIES))
        made.add_row(
            sums, *(_shown(sum(means[party][label] for label in labels)) for party in PARTIES), end_section=True
        )
    return made


def _shown(seconds: float) -> str:
    return f"{seconds * 1000:.1f}" if seconds else ""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--clients", type=int, default=3)
    options = parser.parse_args(arguments)
    for bits in rounds.BARS:
        setting = rounds.Setting("paillier", options.clients, bits, weights=ten_thousand.WEIGHTS)
        Console(width=100, highlight=False).print(table(bits, *measure(setting, options.rounds)))


if __name__ == "__main__":
    main()
