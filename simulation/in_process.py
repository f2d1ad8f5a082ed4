"""A whole federation in this process: real checks, real cryptography and a real store, one message at a time.

    federation = play(get_task("spam"), clients=3, key_bits=512)
    for message in federation.messages:
        print(message)
    print(federation.results[-1].accuracy)

Clients and key holders are the product's own sessions, the aggregator is its own run and services. Only the network and
the clock are replaced, and belong to the caller. Who moves next is drawn from a seed, so a run can be repeated (but for
keys and noise, which are always fresh).
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from client.memory import Memory
from client.participant import Load, Participant
from client.session import ClientSession
from core.clock import Clock, today
from core.console import quiet_log
from core.errors import Refused
from core.identity.members import Role
from core.identity.party import PartyIdentity
from core.local_settings import LocalSettings
from core.policy import Policy
from core.privacy.mechanism import Privacy
from core.protocol import RoundResult
from core.robust import Robust
from core.secagg.scheme import SAFE_KEY_BITS
from core.server_rules import FEDAVG, ServerRule
from core.tasks.held_out import HeldOut
from core.tasks.task import GENERATED, Task
from core.who_reads import DEFAULT_MIN_COHORT
from core.wire.calls import Ask, Call, Conversation
from core.wire.streams import model_from_bytes
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.session import HolderSession
from server import rounds, states
from server.rules import RoundRules
from server.run import ActiveRun
from server.settings import RunSettings, Start
from simulation.anywhere import run_anywhere
from simulation.direct import DirectAggregator, DirectStream, UnavailableError
from simulation.network import Network, between
from simulation.party import Party
from simulation.registered import registered
from simulation.settings import policy_for
from simulation.traffic import Traffic

T = TypeVar("T")
FloatArray = npt.NDArray[np.float64]
MOST_STEPS = 1_000_000


class InProcessFederation:
    """All parties of one run, moved on by `step`, `play` and `pass_time`.

    Args:
        folder: where the aggregator's store and the holders' ledgers lie.
        identities: of every party, by name; a holder's folder holds its shares of the round keys.
        rule: what holders do with sums that are too similar to earlier ones.
        start: which model a new run starts from.
        memories: what clients remember of earlier runs, by name.
        policy: of clients and holders; by default what the settings need.
        load: loads a client's data, given the run's seed and the client's number; by default what the task makes up.
        seed: of who moves next.

    Attributes:
        now: the clock, in seconds from 0; it moves on only in pass_time().
        days: by how many days the calendar of a party is wrong, by its name.
        memories: what clients remember when they are started again, by name; there are no files of it.
        messages: all that was sent, if `record` is set.
    """

    def __init__(
        self,
        folder: Path,
        identities: Mapping[str, PartyIdentity],
        settings: RunSettings,
        task: Task,
        options: Options | None = None,
        network: Network | None = None,
    ) -> None:
        self.folder, self.identities, self.settings, self.task = folder, identities, settings, task
        self.options = options or Options()
        self.network = network or Network()
        self.rng = random.Random(self.options.seed)  # noqa: S311  it decides who moves next, and nothing secret
        self.now = 0.0
        self.days: dict[str, int] = {}
        self.messages: list[Traffic] = []
        self.results: list[RoundResult] = []
        self.model: FloatArray | None = None
        self.record: list[str] = []
        """The lines of the run's public record, once it is over."""
        self._ticked_at = 0.0
        self.memories = {} if self.options.memories is None else self.options.memories
        self._late: list[tuple[float, Party[Any], Call]] = []
        self.aggregator = self.new_aggregator(folder / "server")
        self.clients = {
            name: Party[ClientSession](self, identity, partial(self.new_client, identity))
            for name, identity in self._of(Role.CLIENT)
            if self.options.clients is None or name in self.options.clients
        }
        self.holders = {
            name: Party[HolderSession](self, identity, partial(self.new_holder, identity))
            for name, identity in self._of(Role.KEYHOLDER)
        }

    def _of(self, role: Role) -> list[tuple[str, PartyIdentity]]:
        return [(name, identity) for name, identity in self.identities.items() if identity.role is role]

    # -------------------------------------------------------------------------------- parties

    def new_aggregator(self, folder: Path, resume: str | None = None) -> DirectAggregator:
        """Start the aggregator from what lies in `folder`."""
        (server,) = (identity for _, identity in self._of(Role.SERVER))
        test_data, run = self.options.test_data, resume or self.options.start
        return DirectAggregator(
            folder, server, self.settings, self.task, lambda: self.now, test_data=test_data, run=run
        )

    def new_client(self, identity: PartyIdentity, made: Callable[..., Participant] = Participant) -> ClientSession:
        """Start a client's program."""
        load = self.options.load or self.task.made_up
        memory = self.memories.setdefault(identity.name, Memory())
        clock = self.clock_of(identity.name)
        return ClientSession(made(identity, self.task, self.policy, load, clock, memory=memory))

    def new_holder(self, identity: PartyIdentity) -> HolderSession:
        """Start a key holder's program."""
        ledger = Ledger(self.folder / identity.name)
        clock = self.clock_of(identity.name)
        holder = KeyHolder(identity, self.policy, ledger, self.options.rule, clock, task=self.task)
        return HolderSession(holder, self.options.dishonest_holders)

    @property
    def policy(self) -> Policy:
        return self.options.policy or policy_for(self.settings)

    def clock_of(self, name: str) -> Clock:
        """Return the clock of one party: everyone's seconds, and its own calendar."""
        return Clock(lambda: today() + self.days.get(name, 0), lambda: self.now)

    @property
    def parties(self) -> list[Party[Any]]:
        return [*self.clients.values(), *self.holders.values()]

    def party(self, name: str) -> Party[Any]:
        """Return the client or key holder of this name."""
        return self.clients[name] if name in self.clients else self.holders[name]

    @property
    def run(self) -> ActiveRun:
        """The aggregator's run."""
        return self.aggregator.run

    @property
    def phase(self) -> states.Phase:
        return self.run.phase

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return isinstance(self.phase, states.Finished | states.Failed)

    # -------------------------------------------------------------------------------- moving

    async def start(self) -> None:
        """Take up the run, whatever the store says of it."""
        await self.run.start()

    async def play(self, until: Callable[[], bool] | None = None, *, most: int = MOST_STEPS) -> None:
        """Let everyone move until the run is over and all who can be reached know it, or until `until` holds."""
        for _ in range(most):
            if until is not None and until():
                return
            if await self.step():
                continue
            if self.over and not self._waiting():
                return
            await self.pass_time()
        raise RuntimeError(f"the run is not over after {most} steps; it is in {type(self.phase).__name__}")

    async def play_until(self, phase: type[states.Phase]) -> None:
        """Let everyone move until the run is in this phase. Raises RuntimeError if it ends before."""
        await self.play(lambda: isinstance(self.phase, phase))
        if not isinstance(self.phase, phase):
            raise RuntimeError(f"the run ended as {self.phase} and was never in {phase.__name__}")  # noqa: TRY004

    async def settle(self, *names: str, until: Callable[[], bool] | None = None) -> None:
        """Let these parties (all, if none is named) move until none of them can at this moment, or `until` holds."""
        among = [self.party(name) for name in names] or self.parties
        while not (until is not None and until()) and await self.step(among):
            pass

    async def step(self, parties: Collection[Party[Any]] | None = None) -> bool:
        """Let one of the parties (of all, if not given) do one thing; False if none can at this moment."""
        among = self.parties if parties is None else parties
        ready = [party for party in among if not party.idle and party.ready_at <= self.now]
        if ready:
            await self.move(self.rng.choice(ready))
        return bool(ready)

    async def move(self, party: Party[Any]) -> None:
        """Let one party do one thing."""
        await party.step()

    async def pass_time(self, seconds: float | None = None) -> None:
        """Move the clock on, by default to the next moment at which something is due."""
        self.now += self._pause() if seconds is None else seconds
        late = [each for each in self._late if each[0] <= self.now]
        self._late = [each for each in self._late if each[0] > self.now]
        for _, party, call in late:
            with suppress(Refused, UnavailableError):
                await self.deliver(party, call)
        if self.now >= self._tick_due():
            self._ticked_at = self.now
            await self.tick()

    async def tick(self) -> None:
        """Tell the aggregator that time has passed."""
        await self.run.tick()

    def _tick_due(self) -> float:
        """When the aggregator's own timer goes off: not each time that a message takes a moment."""
        state = self.aggregator.run.state
        regular = self._ticked_at + rounds.longest_pause(state)
        wakeup = rounds.next_wakeup(state, self.settings.rules)
        return regular if wakeup is None else min(wakeup, regular)

    def _pause(self) -> float:
        state, rules = self.run.state, self.settings.rules
        due = [self.now + rounds.longest_pause(state)]
        if (wakeup := rounds.next_wakeup(state, rules)) is not None:
            due = [wakeup, due[0]] if isinstance(self.phase, states.Waiting) else [wakeup]
        due += [party.ready_at for party in self._waiting() if party.ready_at > self.now]
        due += [at for at, _, _ in self._late]
        return max(0.0, min(due) - self.now)

    def _waiting(self) -> list[Party[Any]]:
        """Return the parties that have something to do and can reach the aggregator."""
        return [party for party in self.parties if not party.idle and party.name not in self.network.cut_off]

    # -------------------------------------------------------------------------------- the network

    async def subscribe(self, party: Party[Any]) -> DirectStream:
        """Open a party's stream."""
        call: Ask = party.session.subscription()
        self.sent(party.name, "aggregator", call)
        return await self.aggregator.subscribe(party.identity, call)

    async def answered(self, party: Party[Any], conversation: Conversation[None]) -> Callable[[], None]:
        """Carry the call that a conversation waits for; the result hands in its reply or refusal."""
        call = conversation.asking
        assert call is not None
        self.sent(party.name, "aggregator", call)
        if self.network.repeats():
            self._late.append((self.now + self.network.seconds(), party, call))
        try:
            reply = await self.deliver(party, call)
        except Refused as refusal:
            self.sent("aggregator", party.name, refusal)
            return partial(conversation.refuse, refusal)
        self.sent("aggregator", party.name, reply)
        return partial(conversation.reply, reply)

    async def deliver(self, party: Party[Any], call: Call) -> Any:
        """Make one call at the aggregator, and return its reply. Raises Refused or UnavailableError."""
        return await self.aggregator.carry(party.identity, call)

    def pushed(self, party: Party[Any], message: Any) -> Any:
        """Hand over a message that the aggregator pushed to a party, and return it."""
        self.sent("aggregator", party.name, message)
        return message

    def sent(self, sender: str, receiver: str, content: Any) -> None:
        """Note a message, if they are recorded."""
        if self.options.record:
            self.messages.append(Traffic(self.now, sender, receiver, content))

    # -------------------------------------------------------------------------------- the aggregator's lives

    async def restart_aggregator(self, *, away: float = 0.0) -> None:
        """Stop the aggregator and start it again from its files, `away` seconds later. Everyone's stream breaks."""
        run, folder = self.run.context.id, self.aggregator.folder
        await self.lose_streams()
        await self.run.close()
        self.now += away
        self.aggregator = self.new_aggregator(folder, run)
        await self.start()

    async def lose_streams(self) -> None:
        """Break everyone's stream; some have read what was pushed before."""
        for party in self.parties:
            stream = await party.lose_aggregator(read_all=self.rng.random() < 0.5)
            if stream is not None:
                await self.drop(stream)

    async def drop(self, stream: DirectStream) -> None:
        """Let a stream end that its party has lost."""
        await stream.close()

    # -------------------------------------------------------------------------------- the end

    async def conclude(self) -> None:
        """Note that the run is over, and keep its results and its last model."""
        await self.run.conclude()
        self.results = list(self.run.results)
        _, raw, _ = await self.run.model(None)
        self.model = model_from_bytes(raw, len(raw) // 8)
        self.record = await self.run.with_store(lambda store: list(store.record(self.run.context.id)))

    async def close(self) -> None:
        """End all streams, and close the store and the ledgers."""
        await self.lose_streams()
        await self.run.close()
        for party in self.parties:
            party.close()


@dataclass(frozen=True)
class Options:
    """How the parties of an in-process federation are set; see InProcessFederation. The last five are for `play`."""

    clients: Collection[str] | None = None
    rule: DifferenceRule = DifferenceRule.REPORT
    dishonest_holders: int | None = None
    policy: Policy | None = None
    load: Load | None = None
    test_data: HeldOut | None = None
    seed: int = 0
    record: bool = False
    start: Start | str = Start.CONTINUE
    memories: dict[str, Memory] | None = None
    server_rule: ServerRule = FEDAVG
    local: LocalSettings | None = None
    privacy: Privacy | None = None
    robust: Robust | None = None
    groups: int = 1


def play(
    task: Task,
    *,
    clients: int = 3,
    rounds: int = 1,
    scheme: str = "paillier",
    key_bits: int = 2048,
    seed: int = 0,
    options: Options | None = None,
    network: Network | None = None,
) -> InProcessFederation:
    """Play a whole run in a folder that is removed afterwards, and return it with its messages, results and model.

    Four key holders, of whom three open a sum. Keys below 2048 bits protect nothing, and are for looking on. Only
    warnings are logged. Works in a notebook too, where an event loop is running.

    Args:
        seed: of the first model, the shuffling, and what the task makes up: the clients' data and the test data.
        options: further settings; messages are recorded in any case.
        network: by default each message takes 10 to 50 ms of the federation's clock, and none is lost.

    Raises RunFailedError if the run fails.
    """
    least = min(clients // (options or Options()).groups, DEFAULT_MIN_COHORT)
    options, demo = replace(options or Options(), record=True), key_bits < SAFE_KEY_BITS
    rules = RoundRules(rounds=rounds, min_cohort=least, max_cohort=clients, target=clients, groups=options.groups)
    asked: dict[str, Any] = {name: getattr(options, name) for name in ("local", "server_rule", "privacy", "robust")}
    run = RunSettings(task.name, scheme, key_bits, seed, rules, demo, **asked)
    if options.test_data is None:
        options = replace(options, test_data=task.load_test(GENERATED, seed, clients))
    return run_anywhere(_played(run, task, clients, options, network or Network(delay=between(0.01, 0.05))))


async def _played(
    settings: RunSettings, task: Task, clients: int, options: Options, network: Network
) -> InProcessFederation:
    with tempfile.TemporaryDirectory() as folder, quiet_log():
        identities = registered(Path(folder, "federation"), settings, clients)
        federation = InProcessFederation(Path(folder), identities, settings, task, options, network)
        await federation.start()
        try:
            await federation.play()
            await federation.conclude()
        finally:
            await federation.close()
        return federation
