"""Run a key holder: it makes the keys and opens only sums of whole cohorts.

python -m keyholder --server 127.0.0.1:50551
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.console import ALLOW_PLAIN, INSECURE_DEMO_KEYS, configure_log, sentences, stamp
from core.secagg.scheme import Policy
from core.wire.dialing import Line
from keyholder.connection import HolderConnection
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger


def main(
    server: Annotated[str, typer.Option(help="The aggregator's address, HOST:PORT.")],
    state: Annotated[Path, typer.Option(help="Folder of the ledger of opened sums.")] = Path("runs/keyholder"),
    min_cohort: Annotated[int, typer.Option(min=1, help="Never open a sum of fewer contributors than this.")] = 2,
    insecure_demo_keys: Annotated[
        bool, typer.Option(envvar=INSECURE_DEMO_KEYS, help="Make keys below 2048 bits when asked.")
    ] = False,
    allow_plain: Annotated[
        bool, typer.Option(envvar=ALLOW_PLAIN, help="Serve a run in which nothing is encrypted.")
    ] = False,
    patience: Annotated[float, typer.Option(min=1, help="Seconds to wait for an aggregator that is away.")] = 60.0,
) -> None:
    """Hold the keys: make one for every attempt, open only sums of a whole cohort, once."""
    configure_log()
    with sentences(), Line(server, patience) as line:
        policy = Policy(min_cohort, insecure_demo_keys, allow_plain)
        stamp(insecure_demo_keys=insecure_demo_keys, allow_plain=allow_plain)
        ledger = Ledger(state)
        holder = KeyHolder(policy, ledger)
        print(HolderConnection(line, holder).serve())
        ledger.close()


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(main)
    app()
