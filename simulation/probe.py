"""A probe of this machine, two seconds long: what one update, a few ciphertexts and the opening of a few take here."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from core.bounds.proof import Witness, prove
from core.bounds.verification import verify
from core.federated import LocalTrainer, client_rng, evaluate_model, initial_model, slots_of_update
from core.protected_update import statement_about
from core.scaffold import scaffold_update
from core.secagg.encoding import Encoding
from core.secagg.factory import adder_for, encryptor_for
from core.secagg.noise import noise_for
from core.secagg.opening import combine, verify_opened
from core.secagg.paillier import PaillierEncryptor
from core.secagg.scheme import PLAIN
from core.server_rules import ServerModel
from core.tasks.task import Task
from core.update import Update
from registrar.dealing import DealtKey, deal
from server.settings import RunSettings
from simulation.virtual.block import EncryptedSum, RoundJob, Seconds
from simulation.virtual.population import Population

TRAINING_SECONDS = 0.8
MOST_CLIENTS = 20
"""How long, and how many clients, are trained at the most."""
FEW, MORE = 4, 20
"""Ciphertexts that are encrypted: what they take apart is what each takes, the rest is what a key takes."""


@dataclass(frozen=True)
class Line:
    """Processor seconds that something takes: once, and for each ciphertext."""

    once: float = 0.0
    each: float = 0.0

    def of(self, count: int) -> float:
        """Return the seconds for this many ciphertexts."""
        return self.once + self.each * count


NOTHING = Line()


@dataclass(frozen=True)
class Probe:
    """Processor seconds on this machine.

    Attributes:
        update: one client's data, training and encoding.
        score: judging one model on the test data.
        deal: making one key.
        slowness: wall seconds for each processor second of one process; 1 on an idle machine.
        encrypt, add, open, combine, verify: of one update's ciphertexts: encrypting with a new key, checking and
            adding, one holder's share of an opening, putting shares together, checking an opened sum.
        prove, check_proof: a proof of one update's bounds, and its check.
        check_most: its check without what is checked once for all updates of a round.
        worker, worker_bytes: of a worker of virtual clients: its tables for a key, once, and each update that it
            encrypts and adds; and the memory of the tables.
    """

    update: float
    score: float
    deal: float
    slowness: float
    encrypt: Line = NOTHING
    add: Line = NOTHING
    open: Line = NOTHING
    combine: Line = NOTHING
    verify: Line = NOTHING
    prove: float = 0.0
    check_proof: float = 0.0
    check_most: float = 0.0
    worker: Line = NOTHING
    worker_bytes: int = 0


def cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def pss_bytes() -> int:
    """Return the memory of this process, shared pages divided among those that share them; 0 where it is not told."""
    try:
        found = re.search(
            r"^Pss:\s+(\d+) kB", Path("/proc/self/smaps_rollup").read_text(encoding="ascii"), re.MULTILINE
        )
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def probe(settings: RunSettings, task: Task, population: Population, encoding: Encoding) -> Probe:
    """Time the parts of a round; nothing is sent, and the keys made are thrown away."""
    wall, processor = time.perf_counter(), time.process_time()
    update = _update_seconds(settings, task, population, encoding)
    test, model = population.test().data, initial_model(task, settings.seed)
    score = _taken(lambda: evaluate_model(task, model, test))
    lines = _encryption(settings) if settings.scheme != PLAIN else (NOTHING,) * 5
    dealing = _taken(lambda: _dealt(settings)) if settings.scheme != PLAIN else 0.0
    proof = _proof_seconds(settings, encoding)
    spent = time.process_time() - processor
    slowness = max(1.0, (time.perf_counter() - wall) / spent) if spent else 1.0
    return Probe(update, score, dealing, slowness, *lines, *proof)


def probe_worker(found: Probe, settings: RunSettings, encoding: Encoding) -> Probe:
    """Return the same with what a worker of virtual clients takes to encrypt."""
    key, before = _dealt(settings).public_key, pss_bytes()
    job = RoundJob(1, encoding, settings.mechanism, key, proven=settings.proven(encoding))
    slots = encoding.slots_of(Update(np.zeros(encoding.values), 0, 0.0, 0))
    made: list[EncryptedSum] = []
    once = _taken(lambda: made.append(EncryptedSum(job)))
    made[0].add(1, slots, Seconds())
    each = _taken(lambda: made[0].add(1, slots, Seconds()))
    return replace(found, worker=Line(once, each), worker_bytes=max(0, pss_bytes() - before))


def _taken(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _update_seconds(settings: RunSettings, task: Task, population: Population, encoding: Encoding) -> float:
    """Return the mean over clients spread over the population; the first is not counted, as it warms up."""
    trainer, rule = LocalTrainer(task), settings.server_rule
    start = ServerModel.start(rule, initial_model(task, settings.seed))
    local = task.local_in(settings.local_training, 1)

    def train(number: int) -> None:
        rng = client_rng(settings.seed, 1, number)
        data = population.data(number)
        if rule.corrects_clients:
            update = scaffold_update(trainer, start, np.zeros(len(start.model)), data, rng, local)
        else:
            update = trainer.update(start.model, data, rng, local)
        encoding.check_slots(slots_of_update(encoding, update, settings.mechanism))

    numbers = np.linspace(1, population.size, min(MOST_CLIENTS, population.size)).astype(int).tolist()
    train(numbers[0])
    taken: list[float] = []
    while len(taken) < len(numbers) and sum(taken) < TRAINING_SECONDS:
        number = numbers[(len(taken) * 7) % len(numbers)] if len(numbers) == MOST_CLIENTS else numbers[len(taken)]
        taken.append(_taken(lambda number=number: train(number)))  # type: ignore[misc]
    return float(np.mean(taken))


def _dealt(settings: RunSettings) -> DealtKey:
    return deal(settings.scheme, settings.key_bits, settings.rules.threshold, settings.rules.holders)


def _encryption(settings: RunSettings) -> tuple[Line, Line, Line, Line, Line]:
    """Return the lines for encrypting, adding, opening, combining and checking, from few and from more ciphertexts."""
    key = _dealt(settings)
    few, more = (_steps(key, count, settings.rules.threshold, settings.rules.holders) for count in (FEW, MORE))
    slopes = [max(0.0, b - a) / (MORE - FEW) for a, b in zip(few, more, strict=True)]
    encrypt, add, opening, combining, checking = (
        Line(max(0.0, a - slope * FEW), slope) for a, slope in zip(few, slopes, strict=True)
    )
    return encrypt, add, opening, combining, checking


def _proof_seconds(settings: RunSettings, encoding: Encoding) -> tuple[float, float, float]:
    """Return what a proof of the bounds of an update without changes takes, its check, and most of it; or nothing."""
    proven = settings.proven(encoding)
    if proven is None:
        return 0.0, 0.0, 0.0
    key, slots = _dealt(settings).public_key, encoding.slots_of(Update(np.zeros(encoding.values), 0, 0.0, 0))
    with closing(PaillierEncryptor(key, noise_for(key, encoding.plaintexts))) as encryptor:
        encrypted = encryptor.encrypt_known(encoding.pack(slots))
    about = statement_about(key, encoding, b"probe", encrypted.payload)
    witness, made = Witness(slots, encrypted.power_of_roots), []
    once = [_taken(lambda: made.append(prove(proven, about, witness))) for _ in range(2)]  # the first makes tables
    whole = min(_taken(lambda: verify(proven, about, made[0])) for _ in range(2))
    most = min(_taken(lambda: verify(proven, about, made[0], later=lambda _: None)) for _ in range(2))
    return once[1], whole, min(most, whole)


def _steps(key: DealtKey, count: int, threshold: int, holders: int) -> list[float]:
    public, shares = key.public_key, key.shares
    plaintexts = [number + 1 for number in range(count)]
    payloads: list[bytes] = []

    def encrypt() -> None:
        with closing(encryptor_for(public, count)) as encryptor:
            payloads.append(encryptor.encrypt(plaintexts))

    def add() -> None:
        adder = adder_for(public, count)
        adder.check(payloads[0])
        adder.add(payloads[0])

    seconds = [_taken(encrypt), _taken(add)]
    total = payloads[0]
    partials = {number: share.partial(total) for number, share in enumerate(shares[1:threshold], start=2)}
    seconds.append(_taken(lambda: partials.update({1: shares[0].partial(total)})))
    seconds.append(_taken(lambda: combine(public, threshold, holders, total, partials)))
    opened = combine(public, threshold, holders, total, partials)
    return [*seconds, _taken(lambda: verify_opened(public, threshold, holders, total, opened))]
