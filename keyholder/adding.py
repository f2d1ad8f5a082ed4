"""The sum as a key holder finds it: every update fetched, checked and added up again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from core.bounds.link import Equation, all_hold
from core.bounds.verification import LINK, false
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
    """Return the encrypted sum of each group's updates, one after another; one update is in memory at a time.

    Raises Refused with the name of what is wrong: that an update is not the one that was committed to, or, naming the
    client, that it cannot stand in a sum or its proof is false.
    """
    adder, (_, length) = RoundAdder(description, groups), lengths(description)
    checked = _Checked(description, verifier)
    for client in sorted(client for group in groups for client in group):
        commitment, payload = committed.get(client), (yield from fetch_update(description.id, client, length))
        verifier.require(
            commitment is not None and digest(payload) == commitment.digest,
            Reason.WRONG_DIGEST,
            f"the update of {client!r} is not the one it committed to",
        )
        update = split_update(description, payload)
        if commitment is not None:
            checked.check(adder, commitment, update)
        adder.add(client, update.ciphertexts)
    checked.finish()
    return adder.payload()


class _Checked:
    """Checks updates, and names the client of a wrong one, for its signature is under what is wrong.

    What ties the proofs to the ciphertexts costs most, and is checked once for all.
    """

    def __init__(self, description: RoundDescription, verifier: Verifier) -> None:
        self._description, self._verifier = description, verifier
        self._equations: dict[str, Equation] = {}

    def check(self, adder: RoundAdder, commitment: Commitment, update: ProtectedUpdate) -> None:
        """Check one update, but for what is left to `finish`. Raises Refused."""
        later = partial(self._equations.__setitem__, commitment.client)
        try:
            check_update(adder, self._description, commitment, update, later)
        except Refused as refusal:
            self._refuse(commitment.client, refusal)

    def finish(self) -> None:
        """Check what is left, of all updates. Raises Refused."""
        if all_hold(list(self._equations.values())):
            return
        for client, equation in self._equations.items():
            if not equation.holds():
                self._refuse(client, false(LINK))

    def _refuse(self, client: str, refusal: Refused) -> None:
        message = f"the update of {client!r} was not to be passed on: {refusal}"
        self._verifier.require(False, refusal.reason, message, (client,))
