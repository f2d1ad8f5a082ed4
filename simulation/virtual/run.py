"""The rounds of a run with virtual clients: draw a cohort, add up its updates, score the model that follows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from core.errors import DataError, RunFailedError
from core.federated import encoding_for, initial_model
from core.protected_update import usual_bytes
from core.protocol import RoundResult
from core.robust import seed_of
from core.round_sums import cohort_of, mean_of
from core.secagg.encoding import CohortSum
from core.secagg.key_share import KeyShare
from core.secagg.opening import combine
from core.secagg.scheme import PLAIN, PublicKey
from core.server_rules import ServerModel
from core.tasks.held_out import HeldOut
from core.tasks.task import Task
from core.wording import counted
from registrar.dealing import deal
from server.budget import with_epsilon
from server.scoring import score
from server.settings import RunSettings
from simulation.virtual.block import PartialSum, RoundJob, Seconds
from simulation.virtual.population import Population, draw
from simulation.virtual.times import RoundTime, Stopwatch, Try

FloatArray = npt.NDArray[np.float64]


class Engine(Protocol):
    """Where clients train: worker processes, or a cluster."""

    def sum(self, job: RoundJob, start: FloatArray, numbers: Sequence[int], done: Callable[[int], None]) -> PartialSum:
        """Let these clients train from `start`, as VirtualRun.start, and return the sum of their updates."""


@dataclass(frozen=True, kw_only=True)
class VirtualResult(RoundResult):
    """A round of virtual clients; where time is simulated, with what that makes of it.

    Attributes:
        clip_norm: where the clip adapts, that of the round; else 0.
    """

    simulated_seconds: float = 0.0
    simulated_total: float = 0.0
    late: int = 0
    dropped: int = 0
    timed: bool = False
    clip_norm: float = 0.0

    @property
    def more_columns(self) -> dict[str, float]:
        """The clip norm that adapts; simulated seconds of the round and since the start; clients late or left."""
        clip = {"clip_norm": round(self.clip_norm, 6)} if self.clip_norm else {}
        if not self.timed:
            return clip
        return {
            **clip,
            "simulated_s": round(self.simulated_seconds, 4),
            "simulated_total_s": round(self.simulated_total, 4),
            "late": self.late,
            "dropped": self.dropped,
        }


class VirtualRun:
    """Plays the rounds of one run.

    Attributes:
        results: the rounds so far.
        now: simulated seconds since the start.
        training: clients that train in the round that is played, as far as that is known.
    """

    def __init__(
        self,
        settings: RunSettings,
        task: Task,
        population: Population,
        stopwatch: Stopwatch | None = None,
    ) -> None:
        self.settings = settings
        self._server_model = ServerModel.start(settings.server_rule, initial_model(task, settings.seed))
        self.results: list[VirtualResult] = []
        self._task, self._population, self._stopwatch = task, population, stopwatch
        self.now = 0.0
        self.training = self.largest_round
        self._grouping = settings.grouping
        if self._grouping is not None:
            most = min(population.size, settings.rules.cohort or population.size)
            self._grouping.require_room(most, settings.rules.min_cohort)
        bits = PublicKey(settings.scheme, settings.key_bits).plaintext_bits
        numbers = settings.server_rule.numbers(len(self.model))
        shape = (numbers, bits, settings.rules.max_cohort, settings.count_cap)
        self.encoding = encoding_for(task, *shape, settings.mechanism)

    @property
    def model(self) -> FloatArray:
        """The newest model, shape (values,)."""
        return self._server_model.model

    @property
    def start(self) -> FloatArray:
        """What clients train from, shape (server_rule.exchanged * values,)."""
        return self._server_model.for_clients

    @cached_property
    def test(self) -> HeldOut:
        """The data to judge models by; made when the first model is judged."""
        return self._population.test()

    @property
    def largest_round(self) -> int:
        """The most clients that train in one round."""
        return min(self._population.size, self.settings.rules.selected)

    @property
    def is_complete(self) -> bool:
        """Whether all rounds are over."""
        return len(self.results) == self.settings.rules.rounds

    @property
    def slots(self) -> int:
        """How many numbers one update has."""
        return self.encoding.leading_slots + self.encoding.values

    @property
    def vector(self) -> FloatArray:
        """The newest model and what the server's rule remembers, in one vector."""
        return self._server_model.vector

    def go_on(self, vector: FloatArray, results: Sequence[VirtualResult], now: float) -> None:
        """Take up the run after these rounds, from the last one's vector. Raises DataError if its shape is another."""
        if vector.shape != self.vector.shape or len(results) > self.settings.rules.rounds:
            raise DataError(
                f"the model to go on with has {len(vector)} values after {counted(len(results), 'round')}; this run's "
                f"has {len(self.vector)}, and {counted(self.settings.rules.rounds, 'round')}"
            )
        self._server_model = ServerModel.from_vector(self.settings.server_rule, vector)
        self.results, self.now = list(results), now

    def rounds(self, engine: Engine, done: Callable[[int], None]) -> Iterator[VirtualResult]:
        """Yield each further round when it is over. Raises RunFailedError if too few are in time, three times."""
        for number in range(len(self.results) + 1, self.settings.rules.rounds + 1):
            result = self._round(number, engine, done)
            self.results.append(result)
            yield result

    def _round(self, number: int, engine: Engine, done: Callable[[int], None]) -> VirtualResult:
        started = time.perf_counter()
        timing, clip_norm = self._contributors(number), self._clip_norm
        self.training = len(timing.contributors)
        done(0)  # the round begins
        sums, spent, decrypting = self._sums(number, timing.contributors, engine, done)
        opening = time.perf_counter()
        mean = mean_of(sums, self._grouping, self.settings.mechanism)
        self._server_model = self._server_model.after(mean, len(timing.contributors))
        seconds = time.perf_counter() - started, decrypting + time.perf_counter() - opening
        result = replace(self._result(number, cohort_of(sums), spent, seconds, timing), clip_norm=clip_norm)
        sampling = (len(timing.contributors) + timing.late + timing.dropped, self._population.size)
        return cast("VirtualResult", with_epsilon(result, self.settings, len(self.model), self.results, sampling))

    def _sums(
        self, number: int, contributors: Sequence[int], engine: Engine, done: Callable[[int], None]
    ) -> tuple[list[CohortSum], Seconds, float]:
        """Return the opened sum of each group, what clients took, and the seconds that opening took."""
        groups = [list(contributors)]
        if self._grouping is not None:
            groups = self._grouping.divide(contributors, seed_of(self.settings.seed, number))
        sums, spent, decrypting = [], Seconds(), 0.0
        for group in groups:
            key, shares = self._key()
            job = self._job(number, key)
            partial = engine.sum(job, self.start, group, done)
            opening = time.perf_counter()
            sums.append(self._opened(job, partial, shares))
            decrypting += time.perf_counter() - opening
            spent += partial.seconds
        return sums, spent, decrypting

    def _job(self, number: int, key: PublicKey | None) -> RoundJob:
        settings, rule, encoding = self.settings, self.settings.server_rule, self.encoding
        return RoundJob(
            number, encoding, settings.mechanism, key, settings.local_training, rule, self._server_model.clip_factor,
            settings.proven_norm, settings.proven(encoding),
        )  # fmt: skip

    @property
    def _clip_norm(self) -> float:
        """The clip norm of the next round, where it adapts; else 0."""
        privacy = self.settings.privacy
        adapts = privacy is not None and self.settings.server_rule.adapts_clip
        return privacy.clip_norm * self._server_model.clip_factor if privacy is not None and adapts else 0.0

    # -------------------------------------------------------------------------------- who contributes

    def _contributors(self, number: int) -> RoundTime:
        """Return who contributes to a round. With simulated time an attempt with too few is followed by another."""
        rules, spent, why = self.settings.rules, 0.0, ""
        local = self._task.local_in(self.settings.local_training, number)
        for attempt in range(1, rules.max_attempts + 1):
            chosen = draw(self._population.size, number, attempt, rules.selected, rules.selection_secret)
            if self._stopwatch is None:
                return RoundTime(tuple(chosen), 0.0, 0, 0)
            trained = {client: local.trained_on(self._population.examples(client)) for client in chosen}
            timing = self._stopwatch.round(Try(number, attempt, self.now), trained, self._bytes_up)
            self.now += timing.seconds
            spent += timing.seconds
            if len(timing.contributors) >= rules.least:
                return replace(timing, seconds=spent)
            here = counted(len(timing.contributors), "update was", "updates were")
            why = f"{here} in time, {rules.least} are needed"
        attempts = counted(rules.max_attempts, "time")
        raise RunFailedError(f"round {number} was abandoned {attempts}, the last time because {why}")

    @property
    def _bytes_up(self) -> int:
        """Bytes of one update."""
        key = PublicKey(self.settings.scheme, self.settings.key_bits)
        return usual_bytes(key, self.encoding, self.settings.proven(self.encoding))

    # -------------------------------------------------------------------------------- the sum

    def _key(self) -> tuple[PublicKey | None, tuple[KeyShare, ...]]:
        """Make the key of one round, as a registrar deals it to one key holder; none where nothing is encrypted."""
        if self.settings.scheme == PLAIN:
            return None, ()
        dealt = deal(self.settings.scheme, self.settings.key_bits, threshold=1, holders=1)
        return dealt.public_key, dealt.shares

    def _opened(self, job: RoundJob, partial: PartialSum, shares: Sequence[KeyShare]) -> CohortSum:
        if job.key is None:
            self.encoding.check_sum(partial.slots, partial.clients)
            return self.encoding.cohort_of(partial.slots, partial.clients)
        opened = combine(job.key, 1, 1, partial.payload, {1: shares[0].partial(partial.payload)})
        return self.encoding.decode(opened.plaintexts, partial.clients)

    def _result(
        self, number: int, cohort: CohortSum, spent: Seconds, seconds: tuple[float, float], timing: RoundTime
    ) -> VirtualResult:
        return VirtualResult(
            round=number,
            bytes_up_per_client=self._bytes_up,
            train_seconds=spent.train / cohort.contributors,
            encrypt_seconds=spent.encrypt / cohort.contributors,
            add_seconds=spent.add,
            decrypt_seconds=seconds[1],
            seconds=seconds[0],
            **score(self._task, self.model, self.test, cohort).fields(cohort),
            simulated_seconds=timing.seconds,
            simulated_total=self.now,
            late=timing.late,
            dropped=timing.dropped,
            timed=self._stopwatch is not None,
        )
