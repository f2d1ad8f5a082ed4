"""Real processes of clients are killed (SIGKILL) at random moments of a run; the others complete it, exactly.

Like `client-crashes`, with real processes and few of them. What receipts the dead were given is not known, so that the
judge has none: it compares contributors, sums and models.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from client.settings import ClientSettings
from core.policy import Policy
from core.settings.setting import arguments_of
from core.wire.dialing import AggregatorConnection
from faults.live import LiveHolder, Worker, errors_of, homes_of, judge
from faults.outcome import Options, Outcome, timed
from faults.parties import Parties, scratch
from faults.process import serving
from faults.watching import Watcher
from server.rules import RoundRules
from simulation.program import Program
from simulation.slot_task import known, slot_task

CLIENTS, ROUNDS, FEW = 20, 6, 6
SHARES = (0.1, 0.3, 0.5)
DEADLINE = 3.0
PATIENCE = 120.0


def run(options: Options) -> Iterator[Outcome]:
    """Three runs for each share that is killed; quick: one run of six clients, half of whom are killed."""
    clients = options.count(long=CLIENTS, quick=FEW)
    for share in SHARES[-1:] if options.quick else SHARES:
        what = f"{share:.0%} of {clients} client processes killed (SIGKILL) at random moments of {ROUNDS} rounds"
        with timed("client-kills", what) as outcome, known(slot_task(clients)):
            for seed in range(options.seed, options.seed + options.count(long=3, quick=1)):
                with scratch() as folder:
                    outcome.add(one_run(folder, clients, share, seed), f"{share:.0%}, seed {seed}")
        yield outcome


def one_run(folder: Path, clients: int, share: float, seed: int) -> list[str]:
    """Return what went wrong in one run."""
    rng = random.Random(seed)  # noqa: S311
    parties = Parties(folder, clients=clients)
    rules = RoundRules(holders=3, threshold=2,
        rounds=ROUNDS, min_cohort=2, max_cohort=clients, target=clients, patience_seconds=PATIENCE,
        round_seconds=DEADLINE, upload_seconds=DEADLINE,
    )  # fmt: skip
    homes = homes_of(parties, folder, ROUNDS + 5)
    with serving(parties, folder / "server", clients, rules) as server:
        address = f"127.0.0.1:{server.port}"
        holders: list[Worker] = [
            LiveHolder(parties, name, home, lambda name: AggregatorConnection(address, PATIENCE, parties[name]))
            for name, home in homes.items()
        ]
        for holder in holders:
            holder.start()
        watcher = Watcher(parties, address)
        processes = {name: _client(parties, name, clients, address) for name in parties.clients}
        try:
            watcher.wait_for(lambda seen: seen.round >= 1 and seen.phase == "committing", PATIENCE)
            doomed = rng.sample(sorted(processes), round(share * clients))
            for name in doomed:
                server.ends_within(rng.uniform(0.0, 0.1))
                processes[name].kill()
            found = [
                f"{name} ended with {processes[name].process.wait(PATIENCE)}"
                for name in processes
                if name not in doomed and processes[name].process.wait(PATIENCE) != 0
            ]
        finally:
            for process in processes.values():
                process.close()
        found += errors_of(holders, PATIENCE)
        found += [] if server.end() == 0 else [f"the server ended badly: {server.words()}"]
        watcher.close()
        return found + judge(parties, folder / "server", homes, rules, [])


def _client(parties: Parties, name: str, clients: int, address: str) -> Program:
    settings = ClientSettings(
        identity=parties[name].folder, server=address, task=f"slots-{clients}", mail="generated", patience=PATIENCE
    )
    arguments = arguments_of(
        settings, Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=True, insecure_unbounded=True)
    )
    return Program("faults.child", str(clients), "client", *arguments, log=Path(os.devnull))
