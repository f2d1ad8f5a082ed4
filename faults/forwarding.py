"""An aggregator that takes false updates and passes them on to the key holders, and what these say of it.

It is the product's own, without its check of updates; it does everything else as before.
"""

from __future__ import annotations

from core.errors import DataError, Reason
from core.identity.party import PartyIdentity
from core.protected_update import ProtectedUpdate, split_update
from core.wire import federation_pb2 as pb
from core.wire.messages import commitment_from_bytes
from results.evidence import judge
from server.attempt import Attempt


class Forwarding:
    """Whether the aggregator of a trial passes false updates on, and which there are.

    Attributes:
        on: whether it does so now.
        false: the payload of each false update that a client made, by its SHA-256.
        named: for each time that a holder refused to open a sum because of one, the holder and the client.
    """

    def __init__(self) -> None:
        self.on = False
        self.false: dict[bytes, bytes] = {}
        self.named: list[tuple[str, str]] = []

    def apply(self, attempt: Attempt | None) -> None:
        """Let the open attempt check updates, or take whatever has the length of one."""
        if attempt is None:
            return
        vars(attempt).pop("_checked", None)
        if self.on:

            def unchecked(_client: str, payload: bytes) -> ProtectedUpdate:
                return split_update(attempt.description, payload)

            vars(attempt)["_checked"] = unchecked

    def explains(self, decline: pb.Decline, task: pb.HolderTask, holder: PartyIdentity) -> bool:
        """Return whether a holder declined to open a sum because of a false update, and can show it to anybody.

        What it shows is made of what it was given: the round and the commitment in its task, and the update it fetched.
        """
        if not task.HasField("open_sum") or len(decline.clients) != 1:
            return False
        order, (client,) = task.open_sum.list, decline.clients
        try:
            signed = next(each for each in order.commitments if _made_by(each) == client)
            update = self.false[commitment_from_bytes(signed.commitment).digest]
            evidence = pb.Evidence(round=order.round, commitment=signed, update=update, roster=holder.roster.raw)
            verdict = judge(evidence.SerializeToString(deterministic=True), holder.registrar)
        except (StopIteration, KeyError, DataError):
            return False
        if (verdict.client, verdict.reason) != (client, Reason(decline.reason)):
            return False
        self.named.append((holder.name, client))
        return True


def _made_by(signed: pb.SignedCommitment) -> str:
    return commitment_from_bytes(signed.commitment).client
