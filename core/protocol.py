"""What the parties tell each other, as plain data: the domain twins of the messages in proto/federation.proto."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import inf

from core.bounds.parameters import Parameters
from core.confusion import Confusion
from core.local_settings import LocalSettings
from core.privacy.composition import cost_of_sum
from core.privacy.mechanism import Mechanism, Privacy, mechanism_for
from core.proven_bounds import proven_of
from core.robust import Grouping
from core.secagg.encoding import Encoding
from core.secagg.scheme import PLAIN, PublicKey
from core.server_rules import FEDAVG, ServerRule
from core.task_identity import TaskIdentity


def digest(payload: bytes) -> bytes:
    """Return SHA-256, the digest of everything in this protocol."""
    return hashlib.sha256(payload).digest()


def request_digest(
    description: bytes, commitments: Iterable[bytes], contributors: Iterable[str], sum_digest: bytes
) -> bytes:
    """Return the digest of a request to open a sum: of its signed description, list, contributors and ciphertexts."""
    digests = b"".join(digest(part) for part in (description, *commitments))
    return digest(digests + "\n".join(contributors).encode() + b"\0" + sum_digest)


@dataclass(frozen=True)
class AttemptId:
    """One attempt at one round of one run. Every attempt has its own key."""

    run: str
    round: int
    attempt: int

    @property
    def key(self) -> tuple[str, int, int]:
        """Run, round and attempt, by which a database finds it."""
        return self.run, self.round, self.attempt

    def __str__(self) -> str:
        return f"round {self.round}" if self.attempt == 1 else f"round {self.round}, attempt {self.attempt}"


@dataclass(frozen=True)
class Signed:
    """The exact bytes that travel, and an Ed25519 signature over them."""

    body: bytes
    signature: bytes


@dataclass(frozen=True)
class Head:
    """An entry of a key holder's ledger or of a client's budget, and with its hash all before it; by default, none."""

    number: int = 0
    hash: bytes = b""


@dataclass(frozen=True)
class LedgerState:
    """A key holder's ledger when the holder signed something.

    Attributes:
        head: the ledger's entry about what is signed.
        life: 16 random bytes, new whenever the holder's program starts.
        peers: names and lives of the other holders, as far as it has vouched for them, in the order of names.
    """

    head: Head
    life: bytes
    peers: tuple[tuple[str, bytes], ...] = ()


@dataclass(frozen=True)
class HolderSignature:
    """A key holder's signature under something that several of them sign, and under the state of its ledger."""

    holder: str
    signature: bytes
    ledger: LedgerState

    def agrees_with(self, other: HolderSignature) -> bool:
        """Return whether each of two signers knows the other in the life in which it signed."""
        mine, theirs = dict(self.ledger.peers), dict(other.ledger.peers)
        return mine.get(other.holder) == other.ledger.life and theirs.get(self.holder) == self.ledger.life


@dataclass(frozen=True)
class HolderStart:
    """What a key holder says of itself when its program starts.

    Attributes:
        head: the ledger's entry about this start.
        base: the number after which this ledger's entries begin.
        earlier: earlier lives that the ledger knows of and the numbers of their first entries, oldest first.
    """

    federation: str
    holder: str
    life: bytes
    head: Head
    base: int = 0
    earlier: tuple[tuple[bytes, int], ...] = ()

    def follows(self, life: bytes, number: int) -> bool:
        """Return whether this ledger holds the entry that was seen with this number and in this life.

        A life is random, so a ledger that has its start among its entries is the one it was written in, up to its next
        start. What a new ledger does not hold is older than all of it.
        """
        starts = [*self.earlier, (self.life, self.head.number)]
        after = dict(zip([each for each, _ in starts], [first for _, first in starts[1:]], strict=False))
        return number <= self.base or life == self.life or number < after.get(life, 0)


@dataclass(frozen=True)
class ReportedRequest:
    """A request to open a sum that a key holder has signed: for which round, from which model, and its digest."""

    run: str
    round: int
    digest: bytes
    model_digest: bytes


@dataclass(frozen=True)
class Vouch:
    """What a key holder knows when another one starts.

    Attributes:
        about: the holder that starts, in this life.
        head: the newest entry of its ledger that was seen before this start.
        serial: the highest number of a key whose list the vouching holder has signed itself; 0 if none.
        list_digest: SHA-256 of that list's statement.
        requests: the last that it has signed in each run, the newest first.
    """

    federation: str
    about: str
    life: bytes
    head: Head
    serial: int
    list_digest: bytes
    requests: tuple[ReportedRequest, ...]


LIFE_BYTES = 16
"""Random bytes that name one life of a key holder's program."""
MOST_LIVES = 200
"""Earlier lives that a starting key holder names."""
MOST_REPORTED = 16
"""Runs of which a vouching key holder reports its last request."""
MOST_OFFERED = 16
"""Keys that a key holder offers at a time."""
LARGEST_SERIAL = (1 << 32) - 1
"""The largest serial number of a round key; the first is 1."""


@dataclass(frozen=True)
class KeyCertificate:
    """A round key as its dealer vouches for it; each key serves one attempt.

    Attributes:
        threshold, holders: the shares it was dealt in, t of n.
        expires_day: days since 1970-01-01; not used after that day.
        values: one for each holder, that its answers are proven by (core/secagg/share_proof.py); none in plain.
    """

    federation: str
    serial: int
    key: PublicKey
    threshold: int
    holders: int
    expires_day: int
    values: tuple[int, ...] = ()

    @property
    def provable(self) -> bool:
        """Whether answers can be proven: keys that were dealt before there were proofs have no values."""
        return self.key.scheme == PLAIN or bool(self.values)


@dataclass(frozen=True)
class ModelOrigin:
    """The completed round, of this run or an earlier one, that made a model.

    Attributes:
        state_digest: of what the server's rule remembered after that round (core/server_rules.py); empty for fedavg.
    """

    run: str
    round: int
    state_digest: bytes = field(default=b"", compare=False)

    def __str__(self) -> str:
        return f"round {self.round} of run {self.run}"


@dataclass(frozen=True)
class RoundDescription:
    """Everything a client must know and check before it trains and encrypts.

    Attributes:
        start: in round 1 of a run that continues an earlier one, where its starting model comes from.
        bounded: whether each update comes with a proof that its numbers lie in their ranges (core/bounds).
        rule, state_digest: how the sum makes the next model, and the digest of what it remembers; empty for fedavg.
        clip_factor: with a clip that adapts, by what the clip norm is multiplied in this round.
        task_identity: of a task of a user's own; None for those of the project.
        local: what the run changes in its clients' training; None if they train as the task says.
        largest_norm: the L2 norm that each update is proven to keep to, the clip norm in rounds with privacy; None for
            a proof of ranges alone.
        grouping: how contributors are divided, so that each group's sum is opened; None for one sum.
    """

    federation: str
    id: AttemptId
    task: str
    seed: int
    model_digest: bytes
    certificate: KeyCertificate
    signed_certificate: Signed
    encoding: Encoding
    min_cohort: int
    deadline_seconds: float
    privacy: Privacy | None = None
    start: ModelOrigin | None = None
    rule: ServerRule = FEDAVG
    state_digest: bytes = b""
    task_identity: TaskIdentity | None = None
    local: LocalSettings | None = None
    bounded: bool = False
    clip_factor: float = 1.0
    largest_norm: float | None = None
    grouping: Grouping | None = None

    @property
    def proven(self) -> Parameters | None:
        """What is proven of each update; None for nothing. Raises SettingsError for an encoding without a proof."""
        return proven_of(self.encoding, self.mechanism, self.largest_norm) if self.bounded else None

    @property
    def origin(self) -> ModelOrigin | None:
        """Where the starting model comes from; None for the task's initial model."""
        return self.start if self.id.round == 1 else ModelOrigin(self.id.run, self.id.round - 1, self.state_digest)

    @property
    def mechanism(self) -> Mechanism | None:
        """What a client does to its update before it encrypts it; None for nothing. Raises SettingsError."""
        if self.privacy is None:
            return None
        return mechanism_for(self.privacy, self.min_cohort, self.encoding.value_bits)

    def cost(self, max_colluders: int) -> float:
        """Return what the round's sum costs a client at the most, as mu^2 (core.privacy.composition).

        The smallest cohort that may be opened adds noise, but for those that collude: as many as the round says, or the
        party that asks. Infinite without privacy. Raises SettingsError.
        """
        mechanism = self.mechanism
        if self.privacy is None or mechanism is None:
            return inf
        honest = self.min_cohort - max(max_colluders, self.privacy.max_colluders)
        return cost_of_sum(mechanism.moved, mechanism.variance, honest, self.encoding.values)

    @property
    def key(self) -> PublicKey:
        """The public key that the attempt's updates are encrypted with."""
        return self.certificate.key


@dataclass(frozen=True)
class Commitment:
    """What a client commits to before any other party can see it: the digest of all that it will upload.

    Attributes:
        ciphertexts: the digest of the ciphertexts alone, if a proof follows them, else empty.
        memory: the last entry of the client's budget (client/budget.py), which has this round in it.
    """

    id: AttemptId
    client: str
    submission: bytes
    description_digest: bytes
    digest: bytes
    memory: Head
    ciphertexts: bytes = b""

    @property
    def ciphertexts_digest(self) -> bytes:
        """The digest of the ciphertexts."""
        return self.ciphertexts or self.digest


@dataclass(frozen=True)
class ClosedList:
    """The digests of all commitments of an attempt, signed by key holders who have checked every one of them."""

    round: int
    attempt: int
    description_digest: bytes
    commitment_digests: tuple[bytes, ...]
    signatures: tuple[HolderSignature, ...]


@dataclass(frozen=True)
class Timings:
    """Seconds a client says it took."""

    train_seconds: float
    encrypt_seconds: float


@dataclass(frozen=True)
class SubmissionHeader:
    """What precedes an update's ciphertexts."""

    id: AttemptId
    length: int
    digest: bytes


@dataclass(frozen=True)
class RoundResult:
    """One row of the history: a completed round.

    Attributes:
        epsilon, epsilon_models: spent so far, against parties that see who takes part, and against those that see
            models only; 0 without privacy.
        chosen, chosen_from: clients that the attempt was opened for, and those that they were chosen from.
        true_positives, false_positives, false_negatives, true_negatives: what the accuracy is made of. A task without
            a yes/no question has negatives only.
        cohort_...: the same of the model the round started from, on the contributors' own data.
        repeats, wordless: examples judged apart: further copies of a text, and texts without a word; and those right.
    """

    round: int
    contributors: int
    accuracy: float
    loss: float
    bytes_up_per_client: float
    train_seconds: float
    encrypt_seconds: float
    add_seconds: float
    decrypt_seconds: float
    cohort_accuracy: float
    cohort_loss: float
    seconds: float = 0.0
    exposure: str = ""
    epsilon: float = 0.0
    epsilon_models: float = 0.0
    chosen: int = 0
    chosen_from: int = 0
    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0
    cohort_true_positives: int = 0
    cohort_false_positives: int = 0
    cohort_false_negatives: int = 0
    cohort_true_negatives: int = 0
    repeats: int = 0
    repeats_correct: int = 0
    wordless: int = 0
    wordless_correct: int = 0

    @property
    def more_columns(self) -> dict[str, float]:
        """What a kind of run adds to a row of the history, by column; nothing here."""
        return {}

    @property
    def answers(self) -> Confusion:
        """What the accuracy is made of."""
        return Confusion(self.true_positives, self.false_positives, self.false_negatives, self.true_negatives)

    @property
    def asks_yes_or_no(self) -> bool:
        """Whether there is a class to be found, such as spam, so that precision and false alarms mean something."""
        return self.answers.positives > 0

    @property
    def accuracy_of_all(self) -> float:
        """The accuracy if every copy of a text, and every text without a word, counted like any other example."""
        examples = self.answers.examples + self.repeats + self.wordless
        return (self.answers.correct + self.repeats_correct + self.wordless_correct) / examples if examples else 0.0
