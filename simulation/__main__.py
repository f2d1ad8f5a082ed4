"""Run a whole federation on this machine: aggregator, key holders and clients as real processes that talk real gRPC.

python -m simulation
python -m simulation --clients 10 --rounds 3 --scheme plain
python -m simulation --data FOLDER_WITH_MAILBOXES
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from core.console import INSECURE_STAMP, PLAINTEXT_STAMP, sentences
from core.errors import SettingsError
from core.federated import initial_model
from core.privacy.options import (
    DEFAULT_DELTA,
    ClipNorm,
    Delta,
    EpsilonBudget,
    MaxColluders,
    NoiseMultiplier,
    privacy_of,
)
from core.tasks import get_task
from keyholder.difference import DifferenceRule
from server.budget import within_budget
from server.results import judged_apart, table
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.central import train_in_one_place
from simulation.display import Display
from simulation.federation import Federation
from simulation.plan import make_plan


class Scheme(StrEnum):
    """How updates are protected."""

    paillier = "paillier"
    damgard_jurik = "damgard-jurik"
    plain = "plain"


def main(
    clients: Annotated[int | None, typer.Option(help="How many clients; default 5, or one a mailbox.")] = None,
    rounds: Annotated[int, typer.Option(help="How many rounds.")] = 5,
    key_bits: Annotated[
        int, typer.Option(help="Size of the Paillier key; below 2048 bits protect nothing, 3072 are stronger.")
    ] = 2048,
    data: Annotated[
        Path | None, typer.Option(help="A folder of mailboxes (one client each) or one file, dealt out.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option(help="How data is dealt out: iid, dirichlet:ALPHA, or grouped (by speaker).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed and data, same model.")] = 0,
    task: Annotated[str, typer.Option(help="What to learn.")] = "spam",
    scheme: Annotated[
        Scheme, typer.Option(help="damgard-jurik sends a quarter less; plain encrypts nothing.")
    ] = Scheme.paillier,
    count_cap: Annotated[
        int, typer.Option(min=0, help="Clients count by their examples, up to this many; 0: all alike.")
    ] = 0,
    clip_norm: ClipNorm = None,
    noise_multiplier: NoiseMultiplier = None,
    delta: Delta = DEFAULT_DELTA,
    max_colluders: MaxColluders = 0,
    epsilon_budget: EpsilonBudget = None,
    cohort: Annotated[
        int | None, typer.Option(help="Updates wanted a round, of clients chosen at random; without it, everyone's.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for results; default runs/TASK-TIME.")] = None,
    min_cohort: Annotated[int | None, typer.Option(help="Open no sum of fewer; default half the clients.")] = None,
    holders: Annotated[int, typer.Option(help="How many key holders; 1 is the book's single one.")] = 3,
    threshold: Annotated[
        int | None, typer.Option(help="How many of them open a sum together; default more than half.")
    ] = (None),
    difference_rule: Annotated[
        DifferenceRule, typer.Option(help="What key holders do with sums that are too similar to an earlier one.")
    ] = DifferenceRule.REPORT,
    round_seconds: Annotated[
        float | None, typer.Option(help="Deadline of a round's commitments, then of its updates; default by size.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the aggregator listens; 0: any free port.")] = 0,
    central: Annotated[bool, typer.Option(help="Afterwards, train on all mail in one place, to compare.")] = False,
    insecure_demo_keys: Annotated[bool, typer.Option(help="Allow keys below 2048 bits.")] = False,
    insecure_plaintext: Annotated[bool, typer.Option(help="No TLS between the parties.")] = False,
) -> None:
    """Run a whole federation on this machine and show what it learned, what it cost, and how long it took."""
    console = Console(width=None if sys.stdout.isatty() else 80)
    with sentences(), tempfile.TemporaryDirectory(prefix="grokfed-") as scratch:
        the_task = get_task(task)
        plan = make_plan(the_task, data, clients, partition, seed, Path(scratch))
        count = plan.clients
        if count < 2 and scheme is not Scheme.plain and not insecure_demo_keys:
            raise SettingsError(
                f"there is {count} client; the sum of one is its update in clear, so at least 2 are needed"
            )
        wanted = count if cohort is None else cohort
        needed = holders // 2 + 1 if threshold is None else threshold
        deadline = 60 + 4 * count * (key_bits / 2048) ** 3 if round_seconds is None else round_seconds
        rules = RoundRules(
            rounds=rounds,
            min_cohort=min(wanted, max(2, (wanted + 1) // 2)) if min_cohort is None else min_cohort,
            max_cohort=count,
            target=count,
            cohort=cohort,
            holders=holders,
            threshold=needed,
            round_seconds=deadline,
            upload_seconds=deadline,
            patience_seconds=120.0 * max(1.0, (key_bits / 2048) ** 4),
        )
        settings = RunSettings(
            *(task, scheme.value, key_bits, seed, rules, insecure_demo_keys, count_cap, insecure_plaintext),
            privacy=privacy_of(clip_norm, noise_multiplier, delta, max_colluders, epsilon_budget),
        )
        settings = within_budget(settings, len(initial_model(the_task, seed)))
        folder = out or Path("runs", time.strftime(f"{task}-%Y%m%d-%H%M%S"))
        _simulate(console, Federation(settings, plan, folder, port, difference_rule.value))
        if central:
            sums = train_in_one_place(the_task, plan, rounds, seed)
            console.print(f"all mail in one place: {sums.accuracy:.2%} after {rounds} passes", highlight=False)


def _simulate(console: Console, federation: Federation) -> None:
    settings, plan = federation.settings, federation.plan
    rounds = f"{settings.rules.rounds} round{'s' * (settings.rules.rounds != 1)}"
    counted = f", counted by their examples up to {settings.count_cap}" * (settings.count_cap > 0)
    console.print(f"{plan.clients} clients{counted}, {rounds}, {settings.protection}", highlight=False)
    console.print(plan.sentence, highlight=False, soft_wrap=True)
    if settings.privacy is not None:
        console.print(_promise(settings), highlight=False, soft_wrap=True)
    for switched_off, sentence in (
        (settings.insecure_demo_keys, INSECURE_STAMP),
        (settings.insecure_plaintext, PLAINTEXT_STAMP),
    ):
        if switched_off:
            console.print(sentence, style="bold", soft_wrap=True)
    started = time.monotonic()
    with Display(console, settings.rules.rounds) as display:
        asyncio.run(federation.run(display))
    if not display.results:
        console.print(f"the run is over; it could not be followed, and its results are in {federation.out}")
        return
    console.print(table(display.results, f"{settings.task}: {settings.protection}", settings.privacy))
    if settings.rules.asked is not None:
        console.print(settings.rules.ending, highlight=False, soft_wrap=True)
    console.print(
        f"test accuracy {display.results[-1].accuracy:.2%} after {len(display.results)} rounds, "
        f"{time.monotonic() - started:.0f} seconds; results are in {federation.out}",
        highlight=False,
        soft_wrap=True,
    )
    if apart := judged_apart(display.results[-1]):
        console.print(apart, highlight=False, soft_wrap=True)


def _promise(settings: RunSettings) -> str:
    privacy = settings.privacy
    assert privacy is not None
    return (
        f"with privacy: updates clipped to a norm of {privacy.clip_norm:g}, noise {privacy.noise_multiplier:g} times "
        f"as wide on the sum of {settings.rules.min_cohort} or more clients"
    )


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(main)
    app()
