"""The sum as a key holder finds it: every update fetched, checked and added up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from core.checks import Verifier
from core.errors import Reason, Refused
from core.protected_update import ProtectedUpdate, check_update, lengths, split_update
from core.protocol import Commitment, RoundDescription, digest
from core.round_sums import RoundAdder
from core.wire.calls import Dialogue
from keyholder.orders import fetch_update


def added_up(
    description: RoundDescription,
    groups: Sequence[Sequence[str]],
    committed: Mapping[str, Commitment],
    verifier: Verifier,
) -> Dialogue[bytes]:
    """Return the encrypted sum of each group's updates, one after another; an update is in memory at a time.

    Raises Refused with the name of what is wrong: that an update is not the one that was committed to, or, naming the
    client, that it cannot stand in a sum or its proof is false.
    """
    adder, (_, length) = RoundAdder(description, groups), lengths(description)
    for client in sorted(client for group in groups for client in group):
        commitment, payload = committed.get(client), (yield from fetch_update(description.id, client, length))
        verifier.require(
            commitment is not None and digest(payload) == commitment.digest,
            Reason.WRONG_DIGEST,
            f"the update of {client!r} is not the one it committed to",
        )
        update = split_update(description, payload)
        if commitment is not None:
            _check(adder, description, commitment, update, verifier)
        adder.add(client, update.ciphertexts)
    return adder.payload()


def _check(
    adder: RoundAdder,
    description: RoundDescription,
    commitment: Commitment,
    update: ProtectedUpdate,
    verifier: Verifier,
) -> None:
    """Check one update, and name the client in the refusal, for its signature is under what is wrong."""
    try:
        check_update(adder, description, commitment, update)
    except Refused as refusal:
        message = f"the update of {commitment.client!r} was not to be passed on: {refusal}"
        verifier.require(False, refusal.reason, message, (commitment.client,))
