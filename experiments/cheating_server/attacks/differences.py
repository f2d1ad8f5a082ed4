"""Two sums that differ by one client, subtracted."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from core.wire import federation_pb2 as pb
from experiments.cheating_server.ciphertexts import deltas
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, OTHERS, VICTIM

WITH, WITHOUT = (*HONEST, CONSPIRATORS[0]), (*OTHERS, CONSPIRATORS[0])
"""A conspirator makes the smaller cohort large enough."""
Opened = tuple[Round, Sequence[int]]
"""A round and the plaintexts of its sum."""


def difference(attacker: Attacker, whole: Opened, less: Opened) -> Loot:
    """Subtract the sum without the victim from the sum with it."""
    first, second = (
        deltas(crafted.encoding, plaintexts, count)
        for (crafted, plaintexts), count in ((whole, len(WITH)), (less, len(WITHOUT)))
    )
    return Loot.of(first - second, attacker.stage.truth(VICTIM))


def second_run(attacker: Attacker) -> None:
    """Begin another training with the same seed, in which every client trains the same."""
    attacker.rogue.run = secrets.token_hex(8)
    for client in HONEST:
        attacker.rogue.push(client, pb.Notice(welcome=pb.Welcome(run=attacker.rogue.run, rounds=1)))


def second_run_after_restart(attacker: Attacker, *, forget: bool) -> None:
    """End the run, and begin another one with the same seed when the clients have been started again.

    `forget`: without what they remember of the first.
    """
    attacker.rogue.end_for(HONEST)
    attacker.rogue.run = secrets.token_hex(8)
    attacker.restart_clients(HONEST, forget=forget)
    attacker.rogue.hear("here", HONEST)
