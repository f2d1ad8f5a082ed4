"""What the aggregator asks of a key holder, as plain data, and what the holder fetches before it answers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from core.checks import Verifier
from core.errors import Reason, Refused
from core.protocol import AttemptId, Commitment, HolderSignature, RoundDescription, Signed, digest, request_digest
from core.round_sums import ciphertexts_of, groups_of
from core.secagg.opening import OpenedSum
from core.server_rules import ServerModel
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.calls import Dialogue, Download, came_along, fetch_server_model
from core.wire.holder_messages import holder_signatures_from_wire
from core.wire.messages import round_from_wire, signed_commitment_from_wire

Groups = list[list[str]]
"""The contributors of each sum that is opened, by name."""


@dataclass(frozen=True)
class ListOrder:
    """Sign this list of commitments.

    Attributes:
        round: the description, signed by the aggregator.
        lineage: signatures of key holders under the model that the round starts from.
    """

    round: Signed
    commitments: tuple[Signed, ...]
    lineage: tuple[HolderSignature, ...]


@dataclass(frozen=True)
class ReleaseOrder:
    """Open the sum of these contributors, who are on this list, which these key holders have signed."""

    list: ListOrder
    signatures: tuple[HolderSignature, ...]
    contributors: tuple[str, ...]
    sum_digest: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 that is the same for the same request, whichever signatures it comes with."""
        commitments = (commitment.body for commitment in self.list.commitments)
        return request_digest(self.list.round.body, commitments, self.contributors, self.sum_digest)

    def groups(self, description: RoundDescription) -> Groups:
        """Return the contributors of each sum that is asked for; the aggregator has no say in it."""
        commitments = [digest(commitment.body) for commitment in self.list.commitments]
        return groups_of(description, digest(self.list.round.body), commitments, self.contributors)


@dataclass(frozen=True)
class VerifiedList:
    """A list whose every part was checked."""

    description: RoundDescription
    task: Task
    statement: bytes
    commitments: tuple[Commitment, ...]
    commitment_digests: tuple[bytes, ...]
    committed: dict[str, Commitment]


def list_order(message: pb.CloseList) -> ListOrder:
    return ListOrder(
        round=round_from_wire(message.round),
        commitments=tuple(map(signed_commitment_from_wire, message.commitments)),
        lineage=holder_signatures_from_wire(message.endorsements),
    )


def release_order(message: pb.OpenSum) -> ReleaseOrder:
    return ReleaseOrder(
        list=list_order(message.list),
        signatures=holder_signatures_from_wire(message.signatures),
        contributors=tuple(message.contributors),
        sum_digest=message.sum_digest,
    )


def named(id: AttemptId) -> dict[str, Any]:
    """Return the fields by which a message names an attempt."""
    return {"run": id.run, "round": id.round, "attempt": id.attempt}


def fetch_updates(id: AttemptId, clients: Sequence[str], length: int) -> Dialogue[list[bytes]]:
    """Fetch the ciphertexts and proofs of these clients, each of at most `length` bytes.

    Raises Refused(WRONG_LENGTH) if something else comes.
    """
    request = pb.SubmissionsRequest(**named(id), clients=clients)
    header, payload = yield Download("FetchSubmissions", request, length * len(clients))
    ends = list(accumulate(header.parts, initial=0))
    if (len(header.parts), ends[-1]) != (len(clients), len(payload)) or max(header.parts) > length:
        said = f"{len(payload)} bytes of updates in {len(header.parts)} parts"
        raise Refused(Reason.WRONG_LENGTH, f"{said}; expected {len(clients)} parts of at most {length} bytes")
    return [payload[start:end] for start, end in pairwise(ends)]


def fetch_opened_sum(description: RoundDescription, given: Iterable[pb.Chunk]) -> Dialogue[OpenedSum]:
    """Return the sum as the aggregator opened it, which is not checked here; `given` is what came along of it.

    Raises Refused if it is not written as one.
    """
    key, count = description.key, ciphertexts_of(description)
    request = pb.OpenedSumRequest(**named(description.id))
    _, raw = yield from came_along(given, Download("FetchOpenedSum", request, count * 2 * key.plaintext_bytes))
    return OpenedSum.from_bytes(key, count, raw)


def starting_model(
    description: RoundDescription, computed: ServerModel | None, verifier: Verifier
) -> Dialogue[ServerModel]:
    """Return the model that a round starts from, with what the server's rule remembers.

    Args:
        computed: the model that this holder computed last; any other has to be fetched.

    Raises Refused(WRONG_DIGEST) if what is fetched is not what the description names.
    """
    if computed is not None and _is_named(computed, description):
        return computed
    weights = description.rule.weights(description.encoding.values)
    model = yield from fetch_server_model(description.rule, weights, description.id.round - 1)
    message = "the model is not the one that the round's description names"
    verifier.require(_is_named(model, description), Reason.WRONG_DIGEST, message)
    return model


def _is_named(model: ServerModel, description: RoundDescription) -> bool:
    named = (description.rule, description.model_digest, description.state_digest, description.clip_factor)
    return (model.rule, model.model_digest, model.state_digest, model.clip_factor) == named
