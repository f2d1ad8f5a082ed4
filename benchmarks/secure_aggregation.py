"""What is timed of encrypted sums: the roles' work, ours and its floor, for one cohort."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import gmpy2
import numpy as np
from gmpy2 import mpz
from phe import PaillierPrivateKey

from benchmarks.measure import processor_seconds
from book.decryption import PaillierDecryptor
from core.secagg.encoding import METRIC_SLOTS, Encoding, FloatArray, IntArray, Update
from core.secagg.factory import adder_for
from core.secagg.noise import NoiseKind, noise_for
from core.secagg.noise_pool import NoisePool
from core.secagg.paillier import PaillierEncryptor, ciphertext_bytes, split_ciphertexts
from core.secagg.scheme import PAILLIER, PublicKey
from registrar.key_generation import generate_private_key

FRACTION_BITS = 13
HALF_STEP = 2.0 ** -(FRACTION_BITS + 1)
"""A sum that is no further off than this rounds to the right integers."""
TEXTBOOK_CIPHERTEXTS = 32
"""The number made with textbook noise; the rest is extrapolated."""


class Step(StrEnum):
    """What a party does, for one client's whole update or for the sum."""

    TEXTBOOK = "client, fresh key, textbook noise"
    CLIENT = "client, fresh key"
    SHORT_512 = "client, fresh key, short-512 noise"
    POOLED = "client, noise ready"
    SHARED = "client, secret key shared by all"
    CHECK = "aggregator, check one update"
    ADD = "aggregator, add one update"
    BOTH = "aggregator, check and add"
    SUM = "aggregator, hand over the sum"
    OPEN = "key holder, open the sum"


@dataclass(frozen=True)
class Problem:
    """A cohort's updates, whose sum is wanted.

    Attributes:
        integers: of 16 bits, shape (clients, weights); a weight's change is its integer times 2^-13.
        bits: of the Paillier keys.
    """

    integers: IntArray
    bits: int

    @property
    def clients(self) -> int:
        return len(self.integers)

    @property
    def weights(self) -> int:
        return int(self.integers.shape[1])

    @property
    def changes(self) -> FloatArray:
        return np.ldexp(self.integers.astype(np.float64), -FRACTION_BITS)


def draw_problem(weights: int, clients: int, bits: int, rng: np.random.Generator) -> Problem:
    largest = Encoding(weights, bits, clients).largest_change
    return Problem(rng.integers(-largest, largest + 1, (clients, weights)), bits)


@dataclass(frozen=True)
class Job:
    """Something to time.

    Attributes:
        work: does it once, given what `prepare` has made, which is not timed.
        weights: of how many weights; fewer than the problem's if the rest is to be extrapolated.
        clients: of how many clients' updates.
    """

    work: Callable[[Any], object]
    weights: int
    clients: int = 1
    prepare: Callable[[], Any] = lambda: None

    def seconds_for(self, weights: int, measured: float) -> float:
        """Return the seconds of one client's `weights` weights, given those that the work took."""
        return measured / self.clients * weights / self.weights


@dataclass(frozen=True)
class Way:
    """One way to add updates in secret.

    Attributes:
        jobs: what there is to time.
        upload: bytes that a client sends for all weights; None for the floor.
        error: largest difference of an opened sum from the exact one; None for the floor.
    """

    name: str
    jobs: Mapping[Step, Job]
    upload: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class Figure:
    """Processor seconds: the median of the repeats, and half the distance of the extremes in parts of it."""

    seconds: float
    spread: float
    extrapolated: bool


def measure(ways: Sequence[Way], weights: int, repeats: int) -> dict[str, dict[Step, Figure]]:
    """Time all jobs `repeats` times, the ways turn about at each step, so that a busy machine slows all alike."""
    seconds: dict[tuple[str, Step], list[float]] = {}
    turns = [(way, step, way.jobs[step]) for step in Step for way in ways if step in way.jobs]
    for _ in range(repeats):
        for way, step, job in turns:
            seconds.setdefault((way.name, step), []).append(job.seconds_for(weights, _time(job)))
    figures: dict[str, dict[Step, Figure]] = {way.name: {} for way in ways}
    for way, step, job in turns:
        figures[way.name][step] = _summary(seconds[way.name, step], job.weights < weights)
    return figures


def _time(job: Job) -> float:
    prepared = job.prepare()
    return processor_seconds(lambda: job.work(prepared))


def _summary(seconds: list[float], extrapolated: bool) -> Figure:
    median = statistics.median(seconds)
    return Figure(median, (max(seconds) - min(seconds)) / 2 / median, extrapolated)


def largest_error(name: str, opened: FloatArray, problem: Problem) -> float:
    """Return how far the sum of the first weights, as opened, is from the exact one.

    Raises AssertionError unless it rounds to the right integers.
    """
    error = float(np.abs(opened - problem.changes[:, : len(opened)].sum(axis=0)).max())
    if error >= HALF_STEP:
        raise AssertionError(f"{name}: an opened sum is wrong by {error:.3g}; it should be by less than {HALF_STEP}")
    return error


# --- Ours: many weights a ciphertext ---

OURS, FLOOR = "grokfed", "floor"


def build_ours(problem: Problem, scheme: str = PAILLIER) -> tuple[Way, Way]:
    """Return our way, and the arithmetic that it cannot do without."""
    private_key = generate_private_key(problem.bits)
    key = PublicKey(scheme, problem.bits, int(private_key.public_key.n))
    encoding = _encoding(problem.weights, key, problem.clients)
    count = encoding.plaintexts
    encryptor = PaillierEncryptor(key, noise_for(key, count * problem.clients))
    payloads = [encryptor.encrypt(encoding.encode(_update(changes))) for changes in problem.changes]
    jobs = _client_jobs(problem, key) | _aggregator_jobs(problem, key, payloads)
    adder = adder_for(key, count)
    for payload in payloads:
        adder.add(payload)
    total, decryptor = adder.payload(), PaillierDecryptor(private_key, threads=1, scheme=scheme)

    def open_sum(_: object = None) -> FloatArray:
        return encoding.decode(decryptor.decrypt(total), problem.clients).delta_sum

    jobs[Step.OPEN] = Job(open_sum, problem.weights)
    error = largest_error(OURS, open_sum(), problem)
    return Way(OURS, jobs, len(payloads[0]), error), _build_floor(problem.weights, private_key, key, payloads[0])


def _encoding(weights: int, key: PublicKey, clients: int) -> Encoding:
    return Encoding(weights, key.plaintext_bits, max_cohort=clients, fraction_bits=FRACTION_BITS)


def _update(changes: FloatArray) -> Update:
    return Update(changes, examples=1, loss=0.0, correct=1)


def _client_jobs(problem: Problem, key: PublicKey) -> dict[Step, Job]:
    encoding = _encoding(problem.weights, key, problem.clients)
    few = min(problem.weights, TEXTBOOK_CIPHERTEXTS * (encoding.slots_per_plaintext - 1) - METRIC_SLOTS)

    def cold(weights: int, kind: NoiseKind) -> Job:
        encoding = _encoding(weights, key, problem.clients)
        update = _update(problem.changes[0, :weights])

        def encrypt(_: object) -> bytes:
            noise = noise_for(key, encoding.plaintexts, kind)
            return PaillierEncryptor(key, noise).encrypt(encoding.encode(update))

        return Job(encrypt, weights)

    def with_noise() -> PaillierEncryptor:
        pool = NoisePool(lambda: noise_for(key, encoding.plaintexts), encoding.plaintexts)
        pool.wait()
        return PaillierEncryptor(key, pool)

    update = _update(problem.changes[0])

    def pooled(encryptor: PaillierEncryptor) -> bytes:
        return encryptor.encrypt(encoding.encode(update))

    return {
        Step.TEXTBOOK: cold(few, NoiseKind.TEXTBOOK),
        Step.CLIENT: cold(problem.weights, NoiseKind.SHORT),
        Step.SHORT_512: cold(problem.weights, NoiseKind.SHORT_512),
        Step.POOLED: Job(pooled, problem.weights, prepare=with_noise),
    }


def _aggregator_jobs(problem: Problem, key: PublicKey, payloads: list[bytes]) -> dict[Step, Job]:
    """Return the aggregator's jobs; all but the last cover the whole cohort, as one update is too fast to time."""

    def begun() -> Any:
        adder = adder_for(key, len(payloads[0]) // ciphertext_bytes(key))
        adder.add(payloads[0])  # a product with 1 would be too easy
        return adder

    def check(adder: Any) -> None:
        for payload in payloads:
            adder.check(payload)

    def added() -> Any:
        adder = begun()
        add(adder)
        return adder

    def add(adder: Any) -> None:
        for payload in payloads:
            adder.add(payload)

    def both(adder: Any) -> None:
        for payload in payloads:
            adder.check(payload)
            adder.add(payload)

    works = {Step.CHECK: check, Step.ADD: add, Step.BOTH: both}
    jobs = {step: Job(work, problem.weights, problem.clients, begun) for step, work in works.items()}
    return {**jobs, Step.SUM: Job(lambda adder: adder.payload(), problem.weights, prepare=added)}


def _build_floor(weights: int, private_key: PaillierPrivateKey, key: PublicKey, payload: bytes) -> Way:
    """Return the least arithmetic, in lists, as fast as Python can call GMP.

    One product a ciphertext for a client, one modulo n² (or n³) for the aggregator, two powers for the holder.
    """
    size = ciphertext_bytes(key)
    ciphertexts = split_ciphertexts(payload, len(payload) // size, size)
    n, power, rounds = mpz(key.modulus), key.degree + 1, 10
    whole = n**power
    plaintexts = [ciphertext % n**key.degree for ciphertext in ciphertexts]
    others = ciphertexts[1:] + ciphertexts[:1]

    def multiply(_: object) -> None:
        for _round in range(rounds):
            _ = [c * m for c, m in zip(ciphertexts, plaintexts, strict=True)]

    def add(_: object) -> None:
        for _round in range(rounds):
            _ = [c * d % whole for c, d in zip(ciphertexts, others, strict=True)]

    def open_all(_: object) -> None:
        for prime in (mpz(private_key.p), mpz(private_key.q)):
            gmpy2.powmod_base_list([c % prime**power for c in ciphertexts], prime - 1, prime**power)

    products = Job(add, weights, rounds)
    jobs = {Step.POOLED: Job(multiply, weights, rounds), Step.OPEN: Job(open_all, weights)}
    return Way(FLOOR, {**jobs, Step.ADD: products, Step.BOTH: products})
