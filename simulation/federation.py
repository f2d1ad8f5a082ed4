"""One whole federation on this machine: aggregator, key holders and clients as processes that talk over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from client.settings import ClientSettings
from core.errors import RunFailedError
from core.identity.members import Role
from core.identity.party import SHARES, load_identity
from core.settings.setting import arguments_of
from core.share_files import share_paths
from core.wire import federation_pb2 as pb
from core.wire.watching import watch
from core.wording import counted
from keyholder.difference import DifferenceRule
from keyholder.settings import HolderSettings
from registrar.federation import Federation as Registered
from registrar.federation import Names, make_federation
from registrar.folder import read_own_roster
from registrar.settings import DealSettings
from results.observed import EventLog
from results.page import page_of
from server.settings import Places, RunSettings
from simulation import processes
from simulation.display import Display
from simulation.plan import Plan
from simulation.processes import Party, Starter
from simulation.settings import policy_for

OBSERVER = "observer"
ANSWER_SECONDS = 10.0
SPARE_KEYS = 2
"""Keys dealt beyond one a round, for rounds that are repeated."""


class Parties:
    """All processes of one federation."""

    def __init__(self, starter: Starter, logs: Path) -> None:
        self.all: list[Party] = []
        self._starter, self._logs = starter, logs

    async def start(self, name: str, module: str, arguments: Sequence[str]) -> Party:
        """Start one party's program."""
        party = await processes.start(self._starter, name, [module, *arguments], self._logs)
        self.all.append(party)
        return party


@dataclass(frozen=True)
class Federation:
    """What to simulate. `out` receives results, logs, each party's folder and state.

    Attributes:
        task: how every party is told what to learn: the name of a task, or where an own one is (core.tasks.own).
        goes_on: whether `out` has an interrupted run, to go on with.
        rounds_before: the rounds that it had completed.
    """

    settings: RunSettings
    plan: Plan
    out: Path
    task: str
    port: int = 0
    difference_rule: DifferenceRule = DifferenceRule.REPORT
    goes_on: bool = False
    rounds_before: int = 0

    async def run(self, display: Display) -> None:
        """Run it to its end. Raises RunFailedError, with one sentence, if it does not end well.

        Whatever happens, no process is left behind.
        """
        async with processes.starter() as starter:
            await self._run(Parties(starter, self._logs), display)

    async def _run(self, parties: Parties, display: Display) -> None:
        registered = await asyncio.to_thread(self._registered)  # meanwhile the starter gets ready
        try:
            dealing = await self._start_dealing(parties)
            server = await self._start_server(parties)
            address = await processes.said(server, "listening on ")
            display.say(f"the aggregator listens on {address}; logs are in {self._logs}")
            if page := await asyncio.to_thread(page_of, self.out):
                display.say(f"watch it at {page}")
            if not self._has_keys(registered):
                await processes.said(dealing, "dealt key ")
            holders = [
                await parties.start(member.name, "keyholder", self._holder_arguments(address, member.name))
                for member in registered.roster.holders
            ]
            clients = [
                await parties.start(f"client-{number}", "client", self._client_arguments(address, number))
                for number in range(1, self.plan.clients + 1)
            ]
            await self._until_ended(server, holders, clients, address, display)
        finally:
            await processes.stop(parties.all)

    @property
    def _folder(self) -> Path:
        return self.out / "federation"

    def _registered(self) -> Registered:
        """Make the federation's folder, or read the one that is there."""
        rules = self.settings.rules
        if self.goes_on:
            return Registered(self._folder.absolute(), read_own_roster(self._folder / "registrar"))
        return make_federation(
            self._folder,
            clients=self.plan.clients,
            holders=rules.holders,
            threshold=rules.threshold,
            names=Names(observer=OBSERVER),
            now=datetime.now(UTC),
        )

    @property
    def _logs(self) -> Path:
        return self.out / "logs"

    async def _start_dealing(self, parties: Parties) -> Party:
        settings = self.settings
        deal = DealSettings(
            keys=settings.rules.rounds - self.rounds_before + SPARE_KEYS,
            top_up=self.goes_on,
            scheme=settings.scheme,
            key_bits=settings.key_bits,
            insecure_demo_keys=settings.insecure_demo_keys,
        )
        arguments = ["deal", str(self._folder), *arguments_of(deal)]
        return await parties.start("dealer", "registrar", arguments)

    def _has_keys(self, registered: Registered) -> bool:
        """Return whether every key holder has a key already, so that nothing has to be waited for."""
        shares = [self._folder / member.name / SHARES for member in registered.roster.holders]
        return self.goes_on and all(share_paths(folder) for folder in shares)

    async def _start_server(self, parties: Parties) -> Party:
        places = Places(
            identity=self._folder / "server",
            listen=f"127.0.0.1:{self.port}",
            state=self.out / "server",
            out=self.out,
            test=self.plan.test,
        )
        settings = replace(self.settings, rules=self.settings.rules.before_budget, task=self.task)
        return await parties.start("server", "server", arguments_of(places, settings))

    def _holder_arguments(self, address: str, name: str) -> list[str]:
        settings = HolderSettings(
            identity=self._folder / name,
            server=address,
            state=self.out / name,
            task=self.task if ":" in self.task else None,
            difference_rule=self.difference_rule,
            insecure_plaintext=self.settings.insecure_plaintext,
        )
        return arguments_of(settings, policy_for(self.settings))

    def _client_arguments(self, address: str, number: int) -> list[str]:
        settings = ClientSettings(
            identity=self._folder / f"client-{number}",
            server=address,
            mail=self.plan.sources[number - 1],
            task=self.task,
            allow_one_class=True,  # dealt out unevenly, a small mailbox may well hold one class only
            insecure_plaintext=self.settings.insecure_plaintext,
        )
        return arguments_of(settings, policy_for(self.settings))

    async def _until_ended(
        self, server: Party, holders: list[Party], clients: list[Party], address: str, display: Display
    ) -> None:
        rules = self.settings.rules
        watching = asyncio.create_task(self._watch(address, display))
        losses = [asyncio.create_task(self._report_loss(party, display)) for party in (*clients, *holders)]
        server_ended = asyncio.create_task(server.process.wait())
        holders_gone = asyncio.create_task(_too_few(holders, rules.threshold))
        clients_gone = asyncio.create_task(_too_few(clients, rules.least))
        unheard = asyncio.create_task(_error_of(watching))
        tasks = [watching, *losses, server_ended, holders_gone, clients_gone, unheard]
        try:
            await asyncio.wait({server_ended, holders_gone, clients_gone, unheard}, return_when=asyncio.FIRST_COMPLETED)
            if unheard.done():
                raise unheard.result()
            if not server_ended.done():
                # Parties that learned from the aggregator that the run is over leave before it does.
                await asyncio.wait({server_ended}, timeout=ANSWER_SECONDS if display.complete else 0.5)
            if server_ended.done():
                await asyncio.wait({watching}, timeout=1.0)
                self._judge_server(server)
            elif holders_gone.done():
                raise RunFailedError(
                    f"{_left(holders)} of {counted(len(holders), 'key holder')} are left, and "
                    f"{rules.threshold} are needed: {holders_gone.result()}"
                )
            else:
                raise RunFailedError(
                    f"{_left(clients)} of {counted(len(clients), 'client')} are left; a round needs {rules.least}"
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _watch(self, address: str, display: Display) -> None:
        """Show what the observer is told, and keep it for whoever looks at the run, now or later."""
        with EventLog(self.out) as events:

            def take(progress: pb.Progress) -> None:
                display.show(progress)
                events.add(progress)

            identity = await asyncio.to_thread(load_identity, self._folder / OBSERVER, None, Role.OBSERVER)
            await watch(address, identity, take, plaintext=self.settings.insecure_plaintext)

    @staticmethod
    def _judge_server(server: Party) -> None:
        code = server.process.returncode
        if code == 0:
            return
        words = server.last_words()
        raise RunFailedError(words if code == 1 else f"the aggregator died: {words}")

    async def _report_loss(self, party: Party, display: Display) -> None:
        await processes.died(party)
        display.say_lost(party.name, party.last_words())


def _left(parties: list[Party]) -> int:
    return sum(party.process.returncode is None for party in parties)


async def _too_few(parties: list[Party], needed: int) -> str:
    """Return, with the last words, when fewer are left than a round needs, and not because the run is over."""
    deaths = [asyncio.ensure_future(_last_words(party)) for party in parties]
    left = len(parties)
    try:
        for death in asyncio.as_completed(deaths):
            words = await death
            left -= 1
            if left < needed:
                return words
    finally:
        for task in deaths:
            task.cancel()
    raise AssertionError("a round needs at least one party")


async def _last_words(party: Party) -> str:
    await processes.died(party)
    return party.last_words()


async def _error_of(watching: asyncio.Task[None]) -> BaseException:
    """Return what whoever is told of the rounds has raised; never if nothing is raised."""
    await asyncio.wait({watching})
    error = None if watching.cancelled() else watching.exception()
    if error is None:
        await asyncio.Event().wait()
    assert error is not None
    return error
