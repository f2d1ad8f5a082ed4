"""One whole federation on this machine: aggregator, key holders and clients as processes that talk over loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import grpc

from client.settings import ClientSettings
from core.errors import RunFailedError
from core.identity.members import Role
from core.identity.party import PartyIdentity, load_identity
from core.settings.setting import arguments_of
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire import proxies
from core.wire.dialing import STREAM_SECONDS, channel_credentials, channel_options, plaintext_metadata
from core.wording import counted
from keyholder.difference import DifferenceRule
from keyholder.settings import HolderSettings
from registrar.federation import Federation as Registered
from registrar.federation import make_federation
from registrar.settings import DealSettings
from server.settings import Places, RunSettings
from simulation import processes
from simulation.display import Display
from simulation.plan import Plan
from simulation.processes import Party
from simulation.settings import policy_for

AGAIN_SECONDS = 0.2
"""Pause before a broken stream is opened anew."""
ANSWER_SECONDS = 10.0
SPARE_KEYS = 2
"""Keys dealt beyond one a round, for rounds that are repeated."""


@dataclass(frozen=True)
class Federation:
    """What to simulate. `out` receives results, logs, each party's folder and state."""

    settings: RunSettings
    plan: Plan
    out: Path
    port: int = 0
    difference_rule: DifferenceRule = DifferenceRule.REPORT

    async def run(self, display: Display) -> None:
        """Run it to its end. Raises RunFailedError, with one sentence, if it does not end well.

        Whatever happens, no process is left behind.
        """
        parties: list[Party] = []
        registered = self._registered()
        try:
            dealing = await self._start_dealing(parties)
            server = await self._start_server(parties)
            address = await processes.said(server, "listening on ")
            display.say(f"the aggregator listens on {address}; logs are in {self._logs}")
            await processes.said(dealing, "dealt key ")
            holders = [
                await self._start(parties, member.name, "keyholder", self._holder_arguments(address, member.name))
                for member in registered.roster.holders
            ]
            clients = [
                await self._start(parties, f"client-{number}", "client", self._client_arguments(address, number))
                for number in range(1, self.plan.clients + 1)
            ]
            await self._until_ended(server, holders, clients, address, display)
        finally:
            await processes.stop(parties)

    @property
    def _folder(self) -> Path:
        return self.out / "federation"

    def _registered(self) -> Registered:
        """Make the federation's folder."""
        rules = self.settings.rules
        return make_federation(
            self._folder,
            clients=self.plan.clients,
            holders=rules.holders,
            threshold=rules.threshold,
            now=datetime.now(UTC),
        )

    @property
    def _logs(self) -> Path:
        return self.out / "logs"

    async def _start(self, parties: list[Party], name: str, module: str, arguments: Sequence[str]) -> Party:
        party = await processes.start(name, module, arguments, self._logs)
        parties.append(party)
        return party

    async def _start_dealing(self, parties: list[Party]) -> Party:
        settings = self.settings
        deal = DealSettings(
            keys=settings.rules.rounds + SPARE_KEYS,
            scheme=settings.scheme,
            key_bits=settings.key_bits,
            insecure_demo_keys=settings.insecure_demo_keys,
        )
        arguments = ["deal", str(self._folder), *arguments_of(deal)]
        return await self._start(parties, "dealer", "registrar", arguments)

    async def _start_server(self, parties: list[Party]) -> Party:
        places = Places(
            identity=self._folder / "server",
            listen=f"127.0.0.1:{self.port}",
            state=self.out / "server",
            out=self.out,
            test=self.plan.test,
        )
        settings = replace(self.settings, rules=self.settings.rules.before_budget)
        return await self._start(parties, "server", "server", arguments_of(places, settings))

    def _holder_arguments(self, address: str, name: str) -> list[str]:
        settings = HolderSettings(
            identity=self._folder / name,
            server=address,
            state=self.out / name,
            difference_rule=self.difference_rule,
            insecure_plaintext=self.settings.insecure_plaintext,
        )
        return arguments_of(settings, policy_for(self.settings))

    def _client_arguments(self, address: str, number: int) -> list[str]:
        settings = ClientSettings(
            identity=self._folder / f"client-{number}",
            server=address,
            mail=self.plan.sources[number - 1],
            task=self.settings.task,
            allow_one_class=True,  # dealt out unevenly, a small mailbox may well hold one class only
            insecure_plaintext=self.settings.insecure_plaintext,
        )
        return arguments_of(settings, policy_for(self.settings))

    async def _until_ended(
        self, server: Party, holders: list[Party], clients: list[Party], address: str, display: Display
    ) -> None:
        rules = self.settings.rules
        watching = asyncio.create_task(
            _watch(address, self._folder / "server", self.settings.insecure_plaintext, display)
        )
        losses = [asyncio.create_task(self._report_loss(party, display)) for party in (*clients, *holders)]
        server_ended = asyncio.create_task(server.process.wait())
        holders_gone = asyncio.create_task(_too_few(holders, rules.threshold))
        clients_gone = asyncio.create_task(_too_few(clients, rules.min_cohort))
        tasks = [watching, *losses, server_ended, holders_gone, clients_gone]
        try:
            await asyncio.wait({server_ended, holders_gone, clients_gone}, return_when=asyncio.FIRST_COMPLETED)
            if not server_ended.done():
                # Whoever learned from the aggregator that the run is over leaves before it does.
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
                    f"{_left(clients)} of {counted(len(clients), 'client')} are left; a round needs {rules.min_cohort}"
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

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


async def _watch(address: str, folder: Path, plaintext: bool, display: Display) -> None:
    """Show what the aggregator tells those who look on, until it has told everything.

    A stream that breaks is opened anew: it has reached its deadline, or a hundred clients are just being started. If
    the aggregator is gone, its process says more.
    """
    identity = await asyncio.to_thread(load_identity, folder, None, Role.SERVER)
    request, metadata = pb.WatchRequest(), plaintext_metadata(identity) if plaintext else ()
    async with _channel(address, identity, plaintext) as channel:
        while True:
            try:
                watch = rpc.ObservationStub(channel).Watch
                async for progress in watch(request, timeout=STREAM_SECONDS, metadata=metadata):
                    display.show(progress)
            except grpc.aio.AioRpcError:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


def _channel(address: str, identity: PartyIdentity, plaintext: bool) -> grpc.aio.Channel:
    if plaintext:
        return grpc.aio.insecure_channel(address, options=[proxies.channel_option(address)])
    options = channel_options(identity, address)
    return grpc.aio.secure_channel(address, channel_credentials(identity), options=options)
