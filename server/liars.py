"""Who has signed false updates in a run, in sentences for the aggregator's owner."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from core.commands import command_of
from core.wire import federation_pb2 as pb
from core.wire.messages import description_from_bytes, round_from_wire


def false_updates(evidence: Mapping[str, tuple[str, bytes]], state: Path) -> Iterator[str]:
    """Give a sentence for each client with a false update: who, in which round, and what writes the evidence to files.

    Args:
        evidence: the store's, of one run (server/store.py).
        state: the folder of the aggregator's database.
    """
    write = f"{command_of('server')} evidence --state {shlex.quote(str(state))}"
    for client, (_, message) in evidence.items():
        signed = round_from_wire(pb.Evidence.FromString(message).round)
        number = description_from_bytes(signed.body).id.round
        yield f"{client} signed a false update in round {number}; `{write}` writes it down"
