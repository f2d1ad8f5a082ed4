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
from core.wire.streams import updates_at_once
from keyholder.orders import fetch_updates


def added_up(
    description: RoundDescription,
    groups: Sequence[Sequence[str]],
    committed: Mapping[str, Commitment],
    verifier: Verifier,
) -> Dialogue[bytes]:
    """Return the encrypted sum of each group's updates, one after another; those of one call are in memory at a time.

    Raises Refused with the name of what is wrong: that an update is not the one that was committed to, or, naming the
    client, that it cannot stand in a sum or its proof is false.
    """
    adder, (_, length) = RoundAdder(description, groups), lengths(description)
    checked = _Checked(description, verifier)
    clients, at_once = sorted(client for group in groups for client in group), updates_at_once(length)
    for start in range(0, len(clients), at_once):
        some = clients[start : start + at_once]
        payloads = yield from fetch_updates(description.id, some, length)
        for client, payload in zip(some, payloads, strict=True):
            adder.add(client, checked.update(adder, client, committed.get(client), payload).ciphertexts)
    checked.finish()
    return adder.payload()


class _Checked:
    """Checks updates, and names the client of a wrong one, for its signature is under what is wrong.

    What ties the proofs to the ciphertexts costs most, and is checked once for all.
    """

    def __init__(self, description: RoundDescription, verifier: Verifier) -> None:
        self._description, self._verifier = description, verifier
        self._equations: dict[str, Equation] = {}

    def update(self, adder: RoundAdder, client: str, commitment: Commitment | None, payload: bytes) -> ProtectedUpdate:
        """Return one client's update, checked but for what is left to `finish`. Raises Refused."""
        self._verifier.require(
            commitment is not None and digest(payload) == commitment.digest,
            Reason.WRONG_DIGEST,
            f"the update of {client!r} is not the one it committed to",
        )
        update = split_update(self._description, payload)
        if commitment is not None:
            self._check(adder, commitment, update)
        return update

    def _check(self, adder: RoundAdder, commitment: Commitment, update: ProtectedUpdate) -> None:
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
