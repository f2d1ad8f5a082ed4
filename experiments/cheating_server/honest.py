"""The honest parties of an attack: the real clients and key holders, each in a thread, over mutual TLS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from client.connection import run_session as take_part
from client.participant import Participant
from client.session import ClientSession
from core.clock import SYSTEM_CLOCK
from core.errors import GrokfedError, Reason, Refused
from core.policy import Policy
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
        min_cohort: what they want at least.
        insecure_demo_keys: whether they agree to the small keys of this experiment.
        holder: makes a key holder.
    """

    passes: frozenset[Reason] = frozenset()
    min_cohort: int = MIN_COHORT
    insecure_demo_keys: bool = True
    holder: Callable[..., KeyHolder] = KeyHolder

    @property
    def policy(self) -> Policy:
        return Policy(self.min_cohort, self.insecure_demo_keys)


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

    def join(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads:
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
                identity, self._setting.policy, ledger, DifferenceRule.ENFORCE, SYSTEM_CLOCK, verifier
            )
            with AggregatorConnection(address, PATIENCE, identity) as connection:
                hold(connection, HolderSession(holder))
        finally:
            ledger.close()

    def _take_part(self, name: str, address: str) -> None:
        identity = self._stage.identities[name]
        participant = Participant(
            identity,
            TASK,
            self._setting.policy,
            lambda _seed, _number: self._stage.mailbox(name),
            SYSTEM_CLOCK,
            verifier=verifier_without(self._setting.passes),
        )
        with AggregatorConnection(address, PATIENCE, identity) as connection:
            take_part(connection, ClientSession(participant))
