"""What a run will send, take and hold, computed from its settings and a probe of this machine.

The work of a round is added up in processor seconds. How fast that passes depends on how many processes of the run are
ready at a time, and on what else the machine does, which the probe sees as slowness.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from core.privacy.mechanism import Privacy
from core.protected_update import usual_bytes
from core.protocol import RoundResult
from core.secagg.encoding import Encoding
from core.secagg.scheme import PLAIN, PublicKey
from server.budget import with_epsilon
from server.settings import RunSettings
from simulation.probe import Probe, cores

# Measured with `python -m benchmarks.rounds`; the README says on which machine. Processor seconds and megabytes.
START_ALONE, START_PARTY = 2.2, 0.14
"""To start: the simulation, its prepared parent and the server one after the other; and each other party."""
SERVER_ROUND, SERVER_CLIENT = 0.03, 0.007
PARTY_ROUND, HOLDER_CLIENT = 0.01, 0.0015
"""A round's messages, checks and signatures: the server's, and by client; a party's, and a holder's by client."""
RESTED, STARTING = 0.4, 0.7
"""How much of the machine's other work is in the way of a party's arithmetic, and of its start. Parties mostly wait,
so they are let run sooner than programs that never do; for the short work of a message they hardly wait at all."""
HOPS, HOP_SECONDS = 8, 0.002
"""Messages of a round that wait for each other, and what each waits."""
BASE_MB, HOLDER_MB, CLIENT_MB = 160.0, 25.0, 31.0
COLUMNS_AT_ONCE, CHECK_MB = 2.4, 11.0
"""Memory of a proof, as so many times its columns; and of checking proofs."""
NOISE_MB = 45.0
"""What a worker of virtual clients holds while it draws noise."""
VIRTUAL_START, WORKER_MB, WHILE_MADE = 1.65, 12.0, 1.9
"""A virtual run's start and end; a worker; and how much of its tables there is while they are made."""
MESSAGE_BYTES, SIGNATURE_BYTES, LISTED_BYTES = 900, 330, 32
"""Bytes that a client is sent besides the model: notices, each signature of a key holder, each client listed."""


@dataclass(frozen=True)
class Forecast:
    """What is said before a run. Its fields are the keys of `--json`.

    Attributes:
        bytes_up_per_client, bytes_down_per_client: of one round.
        epsilon: what all rounds cost against parties that see who takes part; None without privacy.
    """

    bytes_up_per_client: int
    bytes_down_per_client: int
    seconds_per_round: float
    seconds_total: float
    memory_mb_total: float
    epsilon: float | None
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Load:
    """How fast work passes on this machine, given what else it does."""

    cores: int
    others: float

    @classmethod
    def of(cls, probe: Probe) -> Load:
        """Return what a probe saw: one process that is this slow shares the processors with so many others."""
        return cls(cores(), max(0.0, cores() * probe.slowness - cores()))

    def seconds(self, work: float, processes: int) -> float:
        """Return the wall seconds of this much work in all, spread evenly over so many processes."""
        share = self.cores * processes / (self.others + processes)
        return work / min(processes, self.cores, share)


@dataclass(frozen=True)
class Work:
    """What a run's rounds are made of.

    Attributes:
        clients: of the federation; `cohort` of them send an update in each round.
    """

    settings: RunSettings
    encoding: Encoding
    clients: int
    cohort: int

    @property
    def encrypted(self) -> bool:
        """Whether there is anything to encrypt."""
        return self.settings.scheme != PLAIN

    @property
    def bytes_up(self) -> int:
        """Bytes of one update."""
        key = PublicKey(self.settings.scheme, self.settings.key_bits)
        return usual_bytes(key, self.encoding, self.settings.proven(self.encoding))

    @property
    def bytes_down(self) -> int:
        """Bytes that a client is sent in a round: the model, and what it must check."""
        threshold, key = self.settings.rules.threshold, self.settings.key_bits // 8 if self.encrypted else 0
        checks = MESSAGE_BYTES + key + 2 * threshold * SIGNATURE_BYTES + LISTED_BYTES * self.cohort
        return 8 * self.encoding.values + checks


# ------------------------------------------------------------------------------------------------ parties


def seconds_of_parties(work: Work, probe: Probe) -> tuple[float, float]:
    """Return the wall seconds of a round of real parties, and of the whole run."""
    rules, load, count = work.settings.rules, Load.of(probe), work.encoding.plaintexts
    rested, idle = replace(load, others=RESTED * load.others), replace(load, others=0.0)
    clients, threshold = work.cohort, rules.threshold
    adding = clients * probe.add.of(count)
    checking = clients * probe.check_proof
    checking_at_once = clients * probe.check_most + probe.check_proof - probe.check_most
    client = probe.update + probe.encrypt.of(count) + probe.prove + probe.check_proof
    opened = count * work.settings.rules.groups
    holder = adding + checking_at_once + probe.open.of(opened) + probe.verify.of(opened)
    messages = SERVER_ROUND + SERVER_CLIENT * clients + HOPS * HOP_SECONDS
    a_round = (
        rested.seconds(clients * client, clients)
        + rested.seconds(threshold * holder, threshold)
        + rested.seconds(adding + checking + probe.combine.of(opened) + probe.score, 1)
        + idle.seconds(clients * PARTY_ROUND, clients)
        + idle.seconds(threshold * (PARTY_ROUND + HOLDER_CLIENT * clients), threshold)
        + messages
    )
    dealing = load.seconds(probe.deal * (rules.rounds + 2), 1)  # in a process of its own, while rounds go on
    parties = work.clients + rules.holders
    starting = replace(load, others=STARTING * load.others)
    start = starting.seconds(START_ALONE + probe.deal, 1) + starting.seconds(START_PARTY * parties, parties)
    return a_round, start + max(rules.rounds * a_round, dealing)


def memory_of_parties(work: Work, data_bytes: int) -> float:
    """Return the megabytes that all parties hold together; memory that several share counts once."""
    vectors = 8 * work.encoding.values * (6 + 2 * work.settings.server_rule.vectors) + 2 * work.bytes_up
    each = CLIENT_MB + (vectors + 2 * data_bytes) / 1e6 + (4.0 if work.encrypted else 0.0)
    stored, proven = (work.cohort + 4) * work.bytes_up / 1e6, work.settings.proven(work.encoding)
    proofs = 0.0
    if proven is not None:
        columns = 8 * proven.strength.columns * proven.all_rows / 1e6
        proofs = COLUMNS_AT_ONCE * columns * work.cohort + CHECK_MB * (1 + work.settings.rules.holders)
    return BASE_MB + HOLDER_MB * work.settings.rules.holders + each * work.clients + stored + proofs


# ------------------------------------------------------------------------------------------------ virtual clients


def seconds_of_virtual(work: Work, probe: Probe, workers: int) -> tuple[float, float]:
    """Return the wall seconds of a round of virtual clients, and of the whole run."""
    load, count = Load.of(probe), work.encoding.plaintexts
    busy = min(workers, work.cohort)
    # A worker makes the tables of a key once, for all of its clients.
    each, tables = probe.update + probe.worker.each, probe.worker.once * busy * work.settings.rules.groups
    alone = probe.score
    if work.encrypted:
        alone += work.settings.rules.groups * (probe.deal + probe.open.of(count) + probe.combine.of(count))
    a_round = load.seconds(work.cohort * each + tables, busy) + load.seconds(alone, 1)
    return a_round, load.seconds(VIRTUAL_START, 1) + work.settings.rules.rounds * a_round


def memory_of_virtual(work: Work, probe: Probe, workers: int, own_bytes: int) -> float:
    """Return the megabytes of the program, as large as this one with its data, and of its workers."""
    arrays = 8 * (work.encoding.values * 6 + 4 * (work.encoding.leading_slots + work.encoding.values))
    noise = 0.0 if work.settings.privacy is None else NOISE_MB
    return own_bytes / 1e6 + workers * (WORKER_MB + noise + (arrays + WHILE_MADE * probe.worker_bytes) / 1e6)


# ------------------------------------------------------------------------------------------------ privacy


def epsilon_of_run(work: Work) -> float | None:
    """Return what all rounds of a run cost with full cohorts; None without privacy."""
    privacy: Privacy | None = work.settings.privacy
    if privacy is None:
        return None
    blank = RoundResult(
        round=1, contributors=max(work.settings.rules.least, work.cohort), accuracy=0, loss=0,
        bytes_up_per_client=0, train_seconds=0, encrypt_seconds=0, add_seconds=0, decrypt_seconds=0, cohort_accuracy=0,
        cohort_loss=0, chosen=min(work.clients, ceil(work.cohort)), chosen_from=work.clients,
    )  # fmt: skip
    rounds = work.settings.rules.rounds
    before = [replace(blank, round=number) for number in range(1, rounds)]
    sampling = (blank.chosen, blank.chosen_from)
    return with_epsilon(replace(blank, round=rounds), work.settings, work.encoding.values, before, sampling).epsilon
