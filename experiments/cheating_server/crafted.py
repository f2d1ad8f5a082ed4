"""What the attacker makes up: rounds and lists, and how they look on the wire."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.protocol import HolderSignature, RoundDescription, Signed, digest
from core.secagg.encoding import Encoding
from core.secagg.scheme import PublicKey
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import holder_signatures_to_wire, list_statement
from core.wire.messages import round_to_wire, signed_commitment_to_wire


@dataclass(frozen=True)
class Round:
    """A round as the attacker described it."""

    signed: Signed
    description: RoundDescription

    @property
    def digest(self) -> bytes:
        return digest(self.signed.body)

    @property
    def key(self) -> PublicKey:
        return self.description.key

    @property
    def encoding(self) -> Encoding:
        return self.description.encoding


@dataclass(frozen=True)
class ClosedList:
    """A list of commitments, with the signatures the attacker has for it."""

    round: Round
    commitments: tuple[Signed, ...]
    signatures: tuple[HolderSignature, ...]

    @property
    def statement(self) -> bytes:
        """What holders sign under it."""
        return list_statement(self.round.digest, [digest(commitment.body) for commitment in self.commitments])

    def order(self, lineage: Iterable[HolderSignature]) -> pb.CloseList:
        """Return the list as shown to holders, with signatures under the model that the round starts from."""
        return pb.CloseList(
            round=round_to_wire(self.round.signed),
            commitments=map(signed_commitment_to_wire, self.commitments),
            endorsements=holder_signatures_to_wire(lineage),
        )

    def notice(self) -> pb.ListClosed:
        """Return the list as shown to clients."""
        return pb.ListClosed(
            round=self.round.description.id.round,
            attempt=self.round.description.id.attempt,
            description_digest=self.round.digest,
            commitments=b"".join(digest(commitment.body) for commitment in self.commitments),
            signatures=holder_signatures_to_wire(self.signatures),
        )
