"""How a key holder starts: it serves once enough others have told what they know of its ledger and of open business.

A ledger that was restored from an old copy does not know what is missing. The others do: they remember the newest
entry they saw of it, the last list they signed themselves, and the last request of each run. The argument, with its
counting, is in docs/threat-model.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.checks import Verifier
from core.errors import Reason
from core.identity import signing
from core.identity.party import PartyIdentity
from core.protocol import AttemptId, Head, HolderStart, Signed, Vouch, digest
from core.wire.holder_messages import start_to_bytes, vouch_to_bytes
from keyholder.ledger import Ledger


def peers_needed(threshold: int, holders: int, dishonest: int) -> int:
    """Return how many of the other holders must vouch for one that starts: n - t + f + 1, and at most all others.

    Args:
        dishonest: f, how many of the others may be dishonest.
    """
    return min(holders - threshold + dishonest + 1, holders - 1)


@dataclass
class Told:
    """What other holders have signed, as far as it bears on what this one may sign: it may join, and not contradict.

    Attributes:
        serial: the highest number of a key whose list one of them has signed.
        lists: the digests of what was signed for this key.
        requests: by run, the highest round and the digests of what was signed for it.
        models: the round that was opened from a model, by the model's digest.
    """

    serial: int = 0
    lists: set[bytes] = field(default_factory=set)
    requests: dict[str, tuple[int, set[bytes]]] = field(default_factory=dict)
    models: dict[bytes, tuple[str, int]] = field(default_factory=dict)

    def take(self, vouch: Vouch) -> None:
        """Take over what one holder has told."""
        if vouch.serial > self.serial:
            self.serial, self.lists = vouch.serial, set()
        if vouch.serial and vouch.serial == self.serial:
            self.lists.add(vouch.list_digest)
        for each in vouch.requests:
            self.models.setdefault(each.model_digest, (each.run, each.round))
            highest, digests = self.requests.get(each.run, (0, set()))
            if each.round > highest:
                self.requests[each.run] = (each.round, {each.digest})
            elif each.round == highest:
                digests.add(each.digest)

    def require_list(self, verifier: Verifier, serial: int, statement: bytes) -> None:
        """Raise Refused(KEY_USED) if this may contradict a list that this holder signed and has forgotten."""
        same = serial == self.serial and self.lists == {digest(statement)}
        verifier.require(
            serial > self.serial or same,
            Reason.KEY_USED,
            f"another list was signed with the key {serial} or a later one before this key holder started",
        )

    def require_request(self, verifier: Verifier, id: AttemptId, request_digest: bytes, model_digest: bytes) -> None:
        """Raise Refused(ALREADY_RELEASED or MODEL_USED) if this may contradict a request that it has forgotten."""
        highest, digests = self.requests.get(id.run, (0, set()))
        same = id.round == highest and digests == {request_digest}
        verifier.require(
            id.round > highest or same,
            Reason.ALREADY_RELEASED,
            f"another request to open {id}, or one of a later round, was signed before this key holder started",
        )
        verifier.require(
            self.models.get(model_digest, (id.run, id.round)) == (id.run, id.round),
            Reason.MODEL_USED,
            f"another round from the starting model of {id} was opened before this key holder started",
        )


class Agreement:
    """One start of a key holder, until enough others have vouched for it.

    Attributes:
        start: what it says of itself, signed.
        told: what the others have told so far.
        vouched: who has vouched.
    """

    def __init__(self, identity: PartyIdentity, ledger: Ledger, life: bytes, told: Told, needed: int) -> None:
        self._identity, self._ledger, self._life = identity, ledger, life
        self._needed = needed
        self.told = told
        self.vouched: set[str] = set()
        earlier = tuple(ledger.lives())
        head = ledger.record_start(life)
        start = HolderStart(identity.federation, identity.name, life, head, ledger.id.base, earlier)
        body = start_to_bytes(start)
        self.start = Signed(body, identity.signing.sign(signing.START, body))

    @property
    def complete(self) -> bool:
        """Whether enough others have vouched."""
        return len(self.vouched) >= self._needed

    @property
    def missing(self) -> int:
        """How many more must vouch."""
        return max(0, self._needed - len(self.vouched))

    def take(self, holder: str, signed: Signed, verifier: Verifier) -> None:
        """Take what another holder knows of this one.

        Raises Refused(STALE_LEDGER) if it has seen more of the ledger than is there; Refused with another reason if it
        vouches for nothing.
        """
        vouch = verifier.verify_vouch(holder, signed)
        verifier.require(holder != self._identity.name, Reason.WRONG_ROLE, f"{holder!r} cannot vouch for itself")
        verifier.require(
            (vouch.about, vouch.life) == (self._identity.name, self._life),
            Reason.BAD_SIGNATURE,
            f"{holder!r} vouches for another start than this one",
        )
        message = _stale(holder, vouch.head, self._ledger)
        verifier.require(self._ledger.holds(vouch.head), Reason.STALE_LEDGER, message)
        self.told.take(vouch)
        self.vouched.add(holder)


def _stale(holder: str, seen: Head, ledger: Ledger) -> str:
    return (
        f"{holder} has seen entry {seen.number} of this key holder's ledger, which is not in {ledger.path} "
        f"(its last entry is {ledger.head.number}): the ledger is an old copy, or another one; put the newest in its "
        "place, or start once with --new-ledger if that is lost"
    )


def vouch_for(signed: Signed, identity: PartyIdentity, ledger: Ledger, verifier: Verifier) -> tuple[str, Signed]:
    """Write down another holder's new life, then return its name and what is known of its ledger, signed.

    A start from a ledger that lacks what is known begins no life; its holder is told all the same, so that it notices.
    Raises Refused.
    """
    start = verifier.verify_start(signed)
    verifier.require(start.holder != identity.name, Reason.WRONG_ROLE, "a key holder cannot vouch for itself")
    known = ledger.peers.seen(start.holder)
    if start.follows(known.seen_in, known.head.number):
        ledger.peers.began(start.holder, start.life, start.head)
    serial, list_digest = ledger.highest_list()
    vouch = Vouch(
        identity.federation, start.holder, start.life, known.head, serial, list_digest, tuple(ledger.latest_requests())
    )
    body = vouch_to_bytes(vouch)
    return start.holder, Signed(body, identity.signing.sign(signing.VOUCH, body))
