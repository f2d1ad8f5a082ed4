"""Check a run's public record: recompute every signature, every sum and every model, from the registrar's key alone.

What is checked of each round is what a key holder checks before it opens a sum and before it signs a model, with two
differences: single ciphertexts are not in the record, so that the encrypted sum is the one that t key holders have
signed; and *every* signature in the record must hold, not only enough of them.
"""

from __future__ import annotations

import json
import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from google.protobuf.message import Message

from core.checks import Verifier
from core.errors import DataError, GrokfedError, Reason, Refused
from core.federated import initial_model
from core.identity import signing
from core.identity.members import Roster
from core.identity.roster import as_file, read_roster
from core.protocol import HolderSignature, RoundDescription, Signed, digest, request_digest
from core.round_sums import ciphertexts_of, least_in_all, mean_of, sums_of
from core.secagg.opening import OpenedSum, verify_opened
from core.secagg.scheme import PublicKey
from core.server_rules import ServerModel, endorsed_digest
from core.task_checks import served_task
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import (
    holder_signatures_from_wire,
    list_statement,
    model_statement,
    request_statement,
)
from core.wire.messages import parsed, round_from_wire, signed_commitment_from_wire
from core.wire.streams import model_from_bytes
from results.record import RoundRecord

FloatArray = npt.NDArray[np.float64]
M = TypeVar("M", bound=Message)
AHEAD = 4
"""Rounds that wait for a process that checks their opening, for each of them."""


class WrongRecordError(GrokfedError):
    """A record that does not hold, with the round and what is wrong in it."""


@dataclass(frozen=True)
class VerifiedRound:
    """One round that holds: its number, how many contributed, and the model that follows, shape (values,)."""

    round: int
    contributors: int
    model: FloatArray


@dataclass(frozen=True, repr=False)
class _Opening:
    """What another process needs to check that a sum was opened right."""

    key: PublicKey
    threshold: int
    holders: int
    total: bytes
    opened: bytes
    ciphertexts: int


def verify(
    records: Iterable[RoundRecord], registrar: bytes, workers: int = 1, alone: int = 20, own: Task | None = None
) -> Iterator[VerifiedRound]:
    """Yield each round of a record that holds, in order.

    Args:
        registrar: the registrar's public key, 32 bytes.
        workers: processes that check opened sums, which takes nearly all the time.
        alone: rounds after which these processes are worth starting.
        own: the task of a user's own that the run trained, if it did.

    Raises WrongRecordError at the first round that does not hold.
    """
    chain = _Chain(registrar, own)
    with _Openings(workers, alone) as openings:
        for record in records:
            with _naming(record.round):
                verified, opening = chain.next(record)
            yield from openings.check(verified, opening)
        yield from openings.rest()
    if chain.run is None:
        raise WrongRecordError("the record has no round")


class _Openings:
    """Checks that sums were opened right, here or in other processes, and gives rounds back in their order."""

    def __init__(self, workers: int, alone: int) -> None:
        self._workers, self._alone = workers, alone
        self._pool: ProcessPoolExecutor | None = None
        self._waiting: deque[tuple[VerifiedRound, Future[str]]] = deque()

    def __enter__(self) -> _Openings:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def check(self, verified: VerifiedRound, opening: _Opening) -> Iterator[VerifiedRound]:
        """Begin to check one round; yield those that are checked by now."""
        if self._workers == 1 or verified.round <= self._alone:
            yield _right(verified, _check_opening(opening))
            return
        if self._pool is None:  # new interpreters: a fork is not safe where gRPC runs
            self._pool = ProcessPoolExecutor(self._workers, multiprocessing.get_context("spawn"))
        self._waiting.append((verified, self._pool.submit(_check_opening, opening)))
        while len(self._waiting) > AHEAD * self._workers:
            yield self._checked()

    def rest(self) -> Iterator[VerifiedRound]:
        """Yield the rounds that are still being checked."""
        while self._waiting:
            yield self._checked()

    def _checked(self) -> VerifiedRound:
        verified, opening = self._waiting.popleft()
        return _right(verified, opening.result())


def _right(verified: VerifiedRound, wrong: str) -> VerifiedRound:
    if wrong:
        raise WrongRecordError(f"round {verified.round} does not hold: {wrong}")
    return verified


def _check_opening(opening: _Opening) -> str:
    """Return what is wrong with an opened sum; nothing if it is right."""
    try:
        opened = OpenedSum.from_bytes(opening.key, opening.ciphertexts, opening.opened)
        verify_opened(opening.key, opening.threshold, opening.holders, opening.total, opened)
    except Refused as refused:
        return f"{refused.reason.value}: {refused}"
    return ""


@contextmanager
def _naming(number: int) -> Iterator[None]:
    """Say in which round something does not hold."""
    try:
        yield
    except WrongRecordError:
        raise
    except (GrokfedError, ValueError) as error:
        name = f"{error.reason.value}: " if isinstance(error, Refused) else ""
        raise WrongRecordError(f"round {number} does not hold: {name}{error}") from error


class _Chain:
    """Follows the rounds: each starts from the model, and in the run, of the one before, with a key never used."""

    def __init__(self, registrar: bytes, own: Task | None) -> None:
        self._own = own
        self.run: str | None = None
        self._registrar = registrar
        self._roster: Roster | None = None
        self._model: ServerModel | None = None
        self._round = 0
        self._settings: tuple[object, ...] = ()
        self._keys: set[int] = set()

    def next(self, record: RoundRecord) -> tuple[VerifiedRound, _Opening]:
        """Check one round but for the opening of its sum. Raises GrokfedError or ValueError."""
        verifier = self._verifier(record)
        order = _read(pb.OpenSum(), record.order, "order")
        signed = round_from_wire(order.list.round)
        description = verifier.verify_round(signed)
        self._check_place(record, description)
        task = served_task(description.task, self._own)
        start = self._start(record, description, task)
        verifier.verify_key(description.signed_certificate, description.certificate.expires_day)
        verifier.verify_encoding(description, task, len(start.model))
        self._check_lineage(verifier, description, task, order)
        contributors = _check_list(verifier, description, signed, order)
        _check_agreement(verifier, description, signed, order, record)
        ciphertexts = ciphertexts_of(description)
        opened = OpenedSum.from_bytes(description.key, ciphertexts, record.opened)
        sums = sums_of(description, opened.plaintexts, len(contributors))
        mean = mean_of(sums, description.grouping, description.mechanism)
        self._model = start.after(mean, len(contributors))
        self._check_endorsement(verifier, description, record)
        self._round = description.id.round
        roster = verifier.roster
        opening = _Opening(
            description.key, roster.threshold, len(roster.holders), record.total, record.opened, ciphertexts
        )
        return VerifiedRound(self._round, len(contributors), self._model.model), opening

    # -------------------------------------------------------------------------------- its place in the run

    def _verifier(self, record: RoundRecord) -> Verifier:
        if record.roster:
            roster, before = read_roster(record.roster, self._registrar), self._roster
            if as_file(json.loads(record.roster)) != record.roster:  # the signature covers what it says, not its spaces
                raise DataError("the roster is not written in its one form")
            if before is not None and roster != before and roster.version <= before.version:
                raise DataError(f"the roster has version {roster.version}, and {before.version} came before")
            self._roster = roster
        if self._roster is None:
            raise DataError("the first round has no roster")
        return Verifier(self._roster, self._registrar)

    def _check_place(self, record: RoundRecord, description: RoundDescription) -> None:
        id = description.id
        settings = (
            description.task, description.seed, description.encoding, description.task_identity, description.local,
            description.rule, description.grouping,
        )  # fmt: skip
        if self.run is None:
            self.run, self._settings = id.run, settings
        _require(id.round == self._round + 1 == record.round, f"round {id.round} follows round {self._round}")
        _require(id.run == self.run, f"it is of the run {id.run}, and the record is of {self.run}")
        _require(
            settings == self._settings, "task, seed, encoding, training, rule or groups differ from the round before"
        )
        serial = description.certificate.serial
        _require(serial not in self._keys, f"its key {serial} was used before")
        self._keys.add(serial)

    def _start(self, record: RoundRecord, description: RoundDescription, task: Task) -> ServerModel:
        """Return the model that the round starts from, with what the rule remembers."""
        start = self._model
        if start is None:
            start = ServerModel.start(description.rule, initial_model(task, description.seed))
        if record.start:
            _require(description.start is not None, "only a run that continues from another says what it starts from")
            start = ServerModel.start(description.rule, model_from_bytes(record.start, len(start.model)))
        found = (start.model_digest, start.state_digest, start.clip_factor)
        said = (description.model_digest, description.state_digest, description.clip_factor)
        _require(found == said, "it does not start from the model before it")
        return start

    def _check_lineage(self, verifier: Verifier, description: RoundDescription, task: Task, order: pb.OpenSum) -> None:
        """Check the signatures under the model that the round starts from."""
        given, origin = holder_signatures_from_wire(order.list.endorsements), description.origin
        if origin is None:
            _require(not given, "no one can have signed the task's own initial model")
        else:
            federation = verifier.roster.federation
            endorsed = endorsed_digest(description.model_digest, origin.state_digest)
            statement = model_statement(federation, origin.run, origin.round, endorsed)
            _all_hold(verifier, signing.MODEL, statement, given, f"the model of {origin}")
        verifier.verify_lineage(description, task, given)

    def _check_endorsement(self, verifier: Verifier, description: RoundDescription, record: RoundRecord) -> None:
        """Check the signatures under the model that follows."""
        assert self._model is not None
        given = holder_signatures_from_wire(_read(pb.PayloadHeader(), record.endorsement, "endorsement").endorsements)
        id, model_digest = description.id, self._model.endorsed
        statement = model_statement(verifier.roster.federation, id.run, id.round, model_digest)
        _all_hold(verifier, signing.MODEL, statement, given, f"the model of round {id.round}")
        verifier.verify_endorsements(id.run, id.round, model_digest, given)


def _check_list(
    verifier: Verifier, description: RoundDescription, signed: Signed, order: pb.OpenSum
) -> tuple[str, ...]:
    """Check every commitment and the signatures under the list; return who contributed."""
    commitments = tuple(map(signed_commitment_from_wire, order.list.commitments))
    description_digest = digest(signed.body)
    found = verifier.verify_commitments(commitments, description, description_digest, description.min_cohort)
    digests = [digest(each.body) for each in commitments]
    signatures = holder_signatures_from_wire(order.signatures)
    _all_hold(verifier, signing.LIST, list_statement(description_digest, digests), signatures, "the list")
    verifier.verify_list(description_digest, digests, signatures)
    contributors, listed = tuple(order.contributors), {each.client for each in found}
    _require(len(set(contributors)) == len(contributors), "a client contributes twice")
    _require(set(contributors) <= listed, "a client contributes that is not on the list")
    needed = least_in_all(description, description.min_cohort)
    _require(len(contributors) >= needed, "fewer clients contribute than its minimum cohort")
    return contributors


def _check_agreement(
    verifier: Verifier, description: RoundDescription, signed: Signed, order: pb.OpenSum, record: RoundRecord
) -> None:
    """Check the signatures of the key holders that agreed to open this very sum."""
    _require(digest(record.total) == order.sum_digest, "the encrypted sum is not the one that was signed")
    bodies = [each.commitment for each in order.list.commitments]
    request = request_digest(signed.body, bodies, order.contributors, order.sum_digest)
    lend = _read(pb.Lend(), record.agreement, "agreement")
    _require((lend.run, lend.round, lend.attempt) == description.id.key, "the agreement is about another round")
    signatures = holder_signatures_from_wire(lend.signatures)
    statement = request_statement(verifier.roster.federation, description.id, request)
    _all_hold(verifier, signing.REQUEST, statement, signatures, "the request")
    verifier.verify_request(description.id, request, signatures)


def _all_hold(
    verifier: Verifier, domain: str, statement: bytes, signatures: Sequence[HolderSignature], what: str
) -> None:
    """Raise Refused unless every signature holds: in a record, none may be there for nothing."""
    right = {each.holder for each in verifier.signers(domain, statement, signatures)}
    for each in signatures:
        verifier.require(each.holder in right, Reason.BAD_SIGNATURE, f"{each.holder!r} has not signed {what}")
    verifier.require(len(right) == len(signatures), Reason.DUPLICATE, f"a key holder has signed {what} twice")


def _read(message: M, raw: bytes, name: str) -> M:
    """Return a message that is written in its one form. Raises DataError."""
    parsed(message, raw, f"the {name}")
    message.DiscardUnknownFields()
    if message.SerializeToString(deterministic=True) != raw:
        raise DataError(f"the {name} is not written in its one form")
    return message


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise DataError(sentence)
