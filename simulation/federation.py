"""One whole federation on this machine: aggregator, key holder and clients as processes that talk over loopback."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc

from core.errors import RunFailedError
from core.wire import federation_pb2 as pb
from core.wire import federation_pb2_grpc as rpc
from core.wire.dialing import STREAM_SECONDS
from server.settings import RunSettings
from simulation import processes
from simulation.display import Display
from simulation.plan import Plan
from simulation.processes import Party

ANSWER_SECONDS = 10.0


@dataclass(frozen=True)
class Federation:
    """What to simulate. `out` receives results, logs and each party's state."""

    settings: RunSettings
    plan: Plan
    out: Path
    port: int = 0

    async def run(self, display: Display) -> None:
        """Run it to its end. Raises RunFailedError, with one sentence, if it does not end well.

        Whatever happens, no process is left behind.
        """
        parties: list[Party] = []
        try:
            server = await self._start_server(parties)
            address = await processes.listening_address(server)
            display.say(f"the aggregator listens on {address}; logs are in {self._logs}")
            holder = await self._start(parties, "keyholder", "keyholder", self._holder_arguments(address))
            clients = [
                await self._start(parties, f"client-{number}", "client", self._client_arguments(address, number))
                for number in range(1, self.plan.clients + 1)
            ]
            await self._until_ended(server, holder, clients, address, display)
        finally:
            await processes.stop(parties)

    @property
    def _logs(self) -> Path:
        return self.out / "logs"

    async def _start(self, parties: list[Party], name: str, module: str, arguments: Sequence[str]) -> Party:
        party = await processes.start(name, module, arguments, self._logs)
        parties.append(party)
        return party

    async def _start_server(self, parties: list[Party]) -> Party:
        settings, rules = self.settings, self.settings.rules
        arguments = [
            *("--listen", f"127.0.0.1:{self.port}", "--state", str(self.out / "server"), "--out", str(self.out)),
            *("--task", settings.task, "--scheme", settings.scheme, "--key-bits", str(settings.key_bits)),
            *("--count-cap", str(settings.count_cap)),
            *("--seed", str(settings.seed), "--rounds", str(rules.rounds), "--clients", str(rules.target)),
            *("--min-cohort", str(rules.min_cohort), "--max-cohort", str(rules.max_cohort)),
            *("--round-seconds", str(rules.round_seconds), "--patience", str(rules.patience_seconds)),
            *("--gather-seconds", str(rules.gather_seconds), "--test", self.plan.test),
            *self._insecure,
        ]
        return await self._start(parties, "server", "server", arguments)

    def _holder_arguments(self, address: str) -> list[str]:
        return ["--server", address, "--state", str(self.out / "keyholder"), *self._own_policy]

    def _client_arguments(self, address: str, number: int) -> list[str]:
        mail = self.plan.sources[number - 1]
        identity = ["--name", f"client-{number}", "--number", str(number), "--task", self.settings.task]
        # Dealt out unevenly, a small mailbox may well hold one class only; that is what one wants to see then.
        return ["--server", address, "--mail", mail, "--allow-one-class", *identity, *self._own_policy]

    @property
    def _insecure(self) -> list[str]:
        return ["--insecure-demo-keys"] if self.settings.insecure_demo_keys else []

    @property
    def _own_policy(self) -> list[str]:
        plain = ["--allow-plain"] if self.settings.scheme == "plain" else []
        return ["--min-cohort", str(self.settings.rules.min_cohort), *plain, *self._insecure]

    async def _until_ended(
        self, server: Party, holder: Party, clients: list[Party], address: str, display: Display
    ) -> None:
        watching = asyncio.create_task(_watch(address, display))
        losses = [asyncio.create_task(self._report_loss(client, display)) for client in clients]
        server_ended = asyncio.create_task(server.process.wait())
        holder_failed = asyncio.create_task(processes.died(holder))
        clients_gone = asyncio.create_task(self._too_few(clients))
        tasks = [watching, *losses, server_ended, holder_failed, clients_gone]
        try:
            await asyncio.wait({server_ended, holder_failed, clients_gone}, return_when=asyncio.FIRST_COMPLETED)
            if not server_ended.done():
                # Whoever learned from the aggregator that the run is over leaves before it does.
                await asyncio.wait({server_ended}, timeout=ANSWER_SECONDS if display.complete else 0.5)
            if server_ended.done():
                await asyncio.wait({watching}, timeout=1.0)
                self._judge_server(server)
            elif holder_failed.done():
                raise RunFailedError(f"the key holder died, so no sum can be opened any more: {holder.last_words()}")
            else:
                left = sum(client.process.returncode is None for client in clients)
                raise RunFailedError(
                    f"{left} of {len(clients)} clients are left; a round needs {self.settings.rules.min_cohort}"
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

    async def _report_loss(self, client: Party, display: Display) -> None:
        await processes.died(client)
        display.say(f"{client.name} is gone: {client.last_words()}")

    async def _too_few(self, clients: list[Party]) -> None:
        """Return when fewer clients are left than a round needs, and not because the run is over."""
        deaths = asyncio.as_completed([processes.died(client) for client in clients])
        for left, death in zip(range(len(clients) - 1, -1, -1), deaths, strict=True):
            await death
            if left < self.settings.rules.min_cohort:
                return


async def _watch(address: str, display: Display) -> None:
    """Show what the aggregator tells those who look on; if the connection breaks, the processes say more."""
    with contextlib.suppress(grpc.aio.AioRpcError):
        async with grpc.aio.insecure_channel(address) as channel:
            while True:  # a stream that has reached its deadline is opened anew
                try:
                    async for progress in rpc.ObservationStub(channel).Watch(pb.WatchRequest(), timeout=STREAM_SECONDS):
                        display.show(progress)
                except grpc.aio.AioRpcError as error:
                    if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                        raise
                else:
                    return
