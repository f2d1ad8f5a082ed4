"""One block of a round's clients, one after the other in one process: train, encode, add; perhaps encrypt too."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from core.bounds.link import Equation, all_hold
from core.bounds.parameters import Parameters
from core.bounds.proof import Witness, prove
from core.bounds.transcript import Statement
from core.bounds.verification import LINK, false, verify
from core.errors import GrokfedError
from core.federated import LocalTrainer, client_rng, slots_of_update
from core.local_settings import LocalSettings
from core.privacy.mechanism import Mechanism
from core.protected_update import statement_about
from core.scaffold import control_after, scaffold_update
from core.secagg.encoding import Encoding
from core.secagg.factory import adder_for
from core.secagg.noise import noise_for
from core.secagg.paillier import PaillierEncryptor
from core.secagg.scheme import Adder, PublicKey
from core.server_rules import FEDAVG, ServerModel, ServerRule
from core.tasks.task import LocalTraining, Task
from core.update import Update
from simulation.virtual.controls import Controls
from simulation.virtual.population import Population

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
TABLES_FOR = 100
"""Updates for which tables of noise are sized."""


@dataclass(frozen=True)
class RoundJob:
    """What the clients of one round need, besides the model: the same for all of them.

    Attributes:
        key: what updates are encrypted with; None if they are only added.
        local: what the run changes in the clients' training; None for nothing.
        rule: how the sum makes the next model, which clients of SCAFFOLD train by.
        clip_factor: with a clip that adapts, by what the clip norm is multiplied.
        largest_norm: what the L2 norm of each change is shortened to; None for nothing.
        proven: what is proven of each encrypted update; None for nothing.
    """

    round: int
    encoding: Encoding
    mechanism: Mechanism | None = None
    key: PublicKey | None = None
    local: LocalSettings | None = None
    rule: ServerRule = FEDAVG
    clip_factor: float = 1.0
    largest_norm: float | None = None
    proven: Parameters | None = None

    @property
    def slots(self) -> int:
        """How many numbers one update has."""
        return self.encoding.leading_slots + self.encoding.values


@dataclass
class Seconds:
    """What clients took, all together."""

    train: float = 0.0
    encrypt: float = 0.0
    add: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.train + self.encrypt + self.add

    def __add__(self, other: Seconds) -> Seconds:
        return Seconds(self.train + other.train, self.encrypt + other.encrypt, self.add + other.add)


@dataclass
class PartialSum:
    """The sum over some clients of a round; partial sums add up in any order to the same bytes.

    Attributes:
        slots: the added-up numbers, shape (leading_slots + values,), where nothing is encrypted; else empty.
        payload: the encrypted sum, where updates are encrypted; else empty.
    """

    clients: int
    slots: IntArray
    payload: bytes
    seconds: Seconds = field(default_factory=Seconds)


class Sum(Protocol):
    """Where the updates of a block go."""

    def add(self, client: int, slots: IntArray, seconds: Seconds) -> None:
        """Add the slots of one client's update."""


class SlotSum:
    """Adds updates as they are, into an array of the caller's."""

    def __init__(self, into: IntArray) -> None:
        self._into = into

    def add(self, client: int, slots: IntArray, seconds: Seconds) -> None:  # noqa: ARG002
        """Add the slots of one client's update."""
        started = time.perf_counter()
        self._into += slots
        seconds.add += time.perf_counter() - started


class EncryptedSum:
    """Encrypts and proves each update as its client would, checks it as a key holder would, and multiplies."""

    def __init__(self, job: RoundJob) -> None:
        assert job.key is not None
        count = job.encoding.plaintexts
        self._encoding, self._proven, self._round, self._key = job.encoding, job.proven, job.round, job.key
        self._adder: Adder = adder_for(job.key, count)
        self._equations: list[Equation] = []
        # One source of noise for all clients of this worker: what it draws is fresh, its tables are made once.
        self._encryptor = PaillierEncryptor(job.key, noise_for(job.key, TABLES_FOR * count))

    def add(self, client: int, slots: IntArray, seconds: Seconds) -> None:
        """Encrypt and add the slots of one client's update. Raises ValueError for numbers out of their ranges."""
        started = time.perf_counter()
        encrypted_update = self._encryptor.encrypt_known(self._encoding.pack(slots))
        payload = encrypted_update.payload
        if self._proven is not None:
            about = self._statement(client, payload)
            proof = prove(self._proven, about, Witness(slots, encrypted_update.power_of_roots))
        encrypted = time.perf_counter()
        self._adder.check(payload)
        if self._proven is not None:
            verify(self._proven, about, proof, later=self._equations.append)
        self._adder.add(payload)
        seconds.encrypt += encrypted - started
        seconds.add += time.perf_counter() - encrypted

    def _statement(self, client: int, ciphertexts: bytes) -> Statement:
        context = b"virtual client %d in round %d" % (client, self._round)
        return statement_about(self._key, self._encoding, context, ciphertexts)

    def payload(self) -> bytes:
        """Return the encrypted sum of all. Raises Refused if what ties a proof to its ciphertexts does not hold."""
        if not all_hold(self._equations):
            raise false(LINK)
        return self._adder.payload()


class BlockRunner:
    """Trains clients one after the other; what it needs for a task is made once.

    Args:
        controls: where clients of SCAFFOLD keep what they need from round to round.
    """

    def __init__(self, task: Task, population: Population, seed: int, controls: Controls | None = None) -> None:
        self._task, self._population, self._seed, self._controls = task, population, seed, controls

    @cached_property
    def _trainer(self) -> LocalTrainer:
        """Made where it is used: what a cluster hands to a process cannot be written to."""
        return LocalTrainer(self._task)

    def run(self, job: RoundJob, start: FloatArray, numbers: Iterable[int], into: Sum) -> Seconds:
        """Let these clients train from `start`, as VirtualRun.start, add their updates, and return what that took.

        Raises DivergedError, DataError, TaskError or ValueError as the product's client does; a sentence names the
        client.
        """
        seconds, local = Seconds(), self._task.local_in(job.local, job.round)
        for number in numbers:
            try:
                self._train(job, start, number, local, into, seconds)
            except (GrokfedError, KeyboardInterrupt) as error:
                error.args = (f"client {number} in round {job.round}: {str(error) or type(error).__name__}",)
                raise
        return seconds

    def _train(
        self, job: RoundJob, start: FloatArray, number: int, local: LocalTraining, into: Sum, seconds: Seconds
    ) -> None:
        """Let one client train, and add its update."""
        started = time.perf_counter()
        update = self._update(job, start, number, local)
        slots = slots_of_update(
            job.encoding, update, job.mechanism, clip_factor=job.clip_factor, largest_norm=job.largest_norm
        )
        job.encoding.check_slots(slots)
        seconds.train += time.perf_counter() - started
        into.add(number, slots, seconds)

    def _update(self, job: RoundJob, start: FloatArray, number: int, local: LocalTraining) -> Update:
        data, rng = self._population.data(number), client_rng(self._seed, job.round, number)
        if not job.rule.corrects_clients:
            return self._trainer.update(start, data, rng, local)
        assert self._controls is not None
        own = self._controls.before(number, job.round)
        update = scaffold_update(self._trainer, ServerModel.from_vector(job.rule, start), own, data, rng, local)
        self._controls.keep(number, job.round, control_after(job.encoding, own, update, job.largest_norm))
        return update
