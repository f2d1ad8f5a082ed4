"""The honest parties of an attack: the real clients and key holders, each in a thread, over mutual TLS."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from client.connection import run_session as take_part
from client.memory import Memory
from client.participant import Participant
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.errors import GrokfedError, Reason, Refused
from core.identity.party import SHARES
from core.policy import Policy
from core.who_reads import DEFAULT_COLLUDERS
from core.wire.dialing import AggregatorConnection
from experiments.cheating_server.lenient import ledger_without, verifier_without
from experiments.cheating_server.stage import MIN_COHORT, TASK, Stage
from keyholder.connection import run_session as hold
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.session import HolderSession

PATIENCE = 30.0


@dataclass(frozen=True)
class Setting:
    """How the honest parties are set.

    Attributes:
        passes: checks that are switched off, at all of them.
        min_cohort, max_colluders: what they want at least.
        insecure_demo_keys: whether they agree to the small keys of this experiment.
        holder: makes a key holder.
        max_epsilon, holders_max_epsilon: what clients, and key holders, allow to be spent.
    """

    passes: frozenset[Reason] = frozenset()
    min_cohort: int = MIN_COHORT
    max_colluders: int = DEFAULT_COLLUDERS
    insecure_demo_keys: bool = True
    holder: Callable[..., KeyHolder] = KeyHolder
    max_epsilon: float | None = None
    holders_max_epsilon: float | None = None

    @property
    def policy(self) -> Policy:
        """What clients agree to."""
        return Policy(
            self.min_cohort,
            self.max_colluders,
            insecure_demo_keys=self.insecure_demo_keys,
            insecure_unbounded=True,
            max_epsilon=self.max_epsilon,
        )

    @property
    def holders_policy(self) -> Policy:
        """What key holders agree to."""
        return replace(self.policy, max_epsilon=self.holders_max_epsilon)


@dataclass(frozen=True)
class Ended:
    """The end of a party's program, by itself or with an error."""

    party: str
    error: Exception | None = None

    @property
    def reason(self) -> str:
        """The name of the check, where there is one."""
        return self.error.reason.value if isinstance(self.error, Refused) else type(self.error).__name__


class HonestParties:
    """The honest parties in threads: started, reported when they end, and waited for."""

    def __init__(self, stage: Stage, state: Path, setting: Setting, on_end: Callable[[Ended], None]) -> None:
        self._stage, self._state, self._setting, self._on_end = stage, state, setting, on_end
        self._threads: list[threading.Thread] = []

    def start(self, address: str, holders: Iterable[str], clients: Iterable[str]) -> None:
        """Connect these parties to the aggregator at an address."""
        for name in holders:
            self._run(name, lambda name=name: self._hold(name, address))  # type: ignore[misc]
        for name in clients:
            self._run(name, lambda name=name: self._take_part(name, address))  # type: ignore[misc]

    def copy(self, holder: str) -> None:
        """Copy a key holder's disk, as it lies there now: its ledger, and its shares."""
        for folder, kept in self._places(holder):
            shutil.copytree(folder, kept)

    def restore(self, holder: str, address: str) -> None:
        """Start a key holder whose program has ended from the copy of its disk."""
        for folder, kept in self._places(holder):
            shutil.rmtree(folder)
            shutil.move(kept, folder)
        self.start(address, [holder], [])

    def _places(self, holder: str) -> list[tuple[Path, Path]]:
        own = self._stage.identities[holder].folder / SHARES
        folders = {"state": self._state / holder, "shares": own}
        return [(folder, self._state / f"copy of the {name} of {holder}") for name, folder in folders.items()]

    def restart_clients(
        self, address: str, clients: Sequence[str], *, forget: bool, lose_budgets: bool = False
    ) -> None:  # fmt: skip
        """Wait until these clients have ended, and start them again, with or without what they remember.

        Their budgets they keep, unless `lose_budgets`.
        """
        self.join(clients)
        for name in clients if forget else ():
            for path in (self._state / name).iterdir():
                if path.is_file():
                    path.unlink()
                elif lose_budgets:
                    shutil.rmtree(path)
        self.start(address, (), clients)

    def join(self, names: Sequence[str] | None = None) -> None:
        """Wait until all, or those named, have ended."""
        for thread in self._threads:
            if names is None or thread.name in names:
                thread.join(timeout=2 * PATIENCE)
                assert not thread.is_alive(), f"{thread.name} does not end"

    def _run(self, name: str, serve: Callable[[], object]) -> None:
        def until_end() -> None:
            try:
                serve()
            except GrokfedError as error:
                self._on_end(Ended(name, error))
            except Exception as error:
                self._on_end(Ended(name, error))
                raise
            else:
                self._on_end(Ended(name))

        self._threads.append(threading.Thread(target=until_end, name=name, daemon=True))
        self._threads[-1].start()

    def _hold(self, name: str, address: str) -> None:
        identity = self._stage.identities[name]
        ledger = ledger_without(self._setting.passes, self._state / name)
        try:
            verifier = verifier_without(self._setting.passes)
            holder = self._setting.holder(
                identity, self._setting.holders_policy, ledger, DifferenceRule.ENFORCE, SYSTEM_CLOCK, verifier
            )
            with AggregatorConnection(address, PATIENCE, identity) as connection:
                hold(connection, HolderSession(holder))
        finally:
            ledger.close()

    def _take_part(self, name: str, address: str) -> None:
        identity = self._stage.identities[name]
        memory = Memory(self._state / name)
        participant = Participant(
            identity,
            TASK,
            self._setting.policy,
            lambda _seed, _number: self._stage.mailbox(name),
            SYSTEM_CLOCK,
            verifier=verifier_without(self._setting.passes),
            memory=memory,
        )
        with closing(memory), AggregatorConnection(address, PATIENCE, identity) as connection:
            take_part(connection, ClientSession(participant))
