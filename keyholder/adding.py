"""The sum as a key holder finds it: every update fetched, checked and added up again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from core.checks import Verifier
from core.errors import Reason, Refused
from core.protected_update import ProtectedUpdate, check_update, lengths, split_update
from core.protocol import Commitment, RoundDescription, digest
from core.secagg.factory import adder_for
from core.secagg.scheme import Adder
from core.wire.calls import Dialogue
from keyholder.orders import fetch_update


def added_up(
    description: RoundDescription, contributors: Iterable[str], committed: Mapping[str, Commitment], verifier: Verifier
) -> Dialogue[bytes]:
    """Return the encrypted sum of these clients' updates, in memory one at a time.

    Raises Refused with the name of what is wrong: that an update is not the one that was committed to, or, naming the
    client, that it cannot stand in a sum or its proof is false.
    """
    adder, (_, length) = adder_for(description.key, description.encoding.plaintexts), lengths(description)
    for client in contributors:
        commitment, payload = committed.get(client), (yield from fetch_update(description.id, client, length))
        verifier.require(
            commitment is not None and digest(payload) == commitment.digest,
            Reason.WRONG_DIGEST,
            f"the update of {client!r} is not the one it committed to",
        )
        update = split_update(description, payload)
        if commitment is not None:
            _check(adder, description, commitment, update, verifier)
        adder.add(update.ciphertexts)
    return adder.payload()


def _check(
    adder: Adder, description: RoundDescription, commitment: Commitment, update: ProtectedUpdate, verifier: Verifier
) -> None:
    """Check one update, and name the client in the refusal, for its signature is under what is wrong."""
    try:
        check_update(adder, description, commitment, update)
    except Refused as refusal:
        message = f"the update of {commitment.client!r} was not to be passed on: {refusal}"
        verifier.require(False, refusal.reason, message, (commitment.client,))
