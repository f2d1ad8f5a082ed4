"""What the dishonest aggregator can send, given what it has heard: to any party, in any order, and no forgeries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, TypeVar, cast

from core.protocol import HolderSignature, Signed, digest
from core.secagg.factory import adder_for
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import holder_signatures_to_wire, request_statement
from core.wire.messages import round_to_wire
from experiments.cheating_server.crafted import ClosedList
from experiments.cheating_server.stage import MIN_COHORT
from experiments.model_check.parties import Local, Said, Sent
from experiments.model_check.scene import CLIENTS, COLLUDER, Scene
from keyholder.orders import release_order

T = TypeVar("T")
CANCELLING = f"{COLLUDER} (cancelling {CLIENTS[1]})"
"""The colluder's second update, made from what an honest client has uploaded: with it in a sum, that client is not."""


@dataclass(frozen=True)
class Offer:
    """One contribution that the aggregator can put on a list.

    Attributes:
        name: of the client; for the colluder's second update, what it does.
        payload: the ciphertexts; empty as long as the aggregator does not have them.
    """

    name: str
    client: str
    commitment: Signed
    payload: bytes


@dataclass(frozen=True)
class Listing:
    """A list of one attempt, as it may be shown to a party."""

    attempt: int
    offers: tuple[Offer, ...]
    closed: ClosedList

    @property
    def subject(self) -> str:
        return f"attempt {self.attempt + 1}, list of {' + '.join(offer.name for offer in self.offers)}"


@dataclass(frozen=True)
class Request:
    """A request to open a sum.

    Attributes:
        total: the ciphertexts of the sum that it names.
    """

    listing: Listing
    contributors: tuple[str, ...]
    total: bytes

    @property
    def subject(self) -> str:
        return f"{self.listing.subject}, sum of {' + '.join(self.contributors)}"


@dataclass
class Adversary:
    """Makes up messages.

    Attributes:
        requests: all that were asked for, by subject.
    """

    scene: Scene
    requests: dict[str, Request] = field(default_factory=dict)
    _own: dict[tuple[int, bytes], Offer] = field(default_factory=dict)
    _made: dict[tuple[Any, ...], Any] = field(default_factory=dict)

    def _once(self, key: tuple[Any, ...], make: Callable[[], T]) -> T:
        """Return what was made for this key before, or make it."""
        if key not in self._made:
            self._made[key] = make()
        return cast(T, self._made[key])

    def messages(self, state: Mapping[str, Local]) -> Iterator[Sent]:
        """Yield the messages that it can send now, to every party."""
        heard = _Heard(state)
        yield from self._lends(heard)
        for attempt in range(len(self.scene.attempts)):
            listings = list(self._listings(heard, attempt))
            yield from self._uploads(heard, listings)
            yield from self._requests(heard, listings)
            for listing in listings:
                yield from self._once(("list", listing.subject), partial(self._to_sign, listing))
            yield from self._once(("round", attempt), partial(self._rounds, attempt))

    def _rounds(self, attempt: int) -> list[Sent]:
        opened = pb.RoundOpened(round=round_to_wire(self.scene.attempts[attempt].signed))
        about = f"attempt {attempt + 1}"
        return [Sent(client, "round", about, pb.Notice(round_opened=opened)) for client in CLIENTS]

    def _to_sign(self, listing: Listing) -> list[Sent]:
        task = pb.HolderTask(close_list=listing.closed.order(()))
        return [Sent(holder, "list", listing.subject, task) for holder in self.scene.holders]

    # -------------------------------------------------------------------------------- lists

    def _listings(self, heard: _Heard, attempt: int) -> Iterator[Listing]:
        offers = list(self._offers(heard, attempt))
        for chosen in self._selections(offers):
            # An offer has its ciphertexts only once they are uploaded.
            known = tuple((offer.name, bool(offer.payload)) for offer in chosen)
            yield self._once(("listing", attempt, known), partial(self._listing, attempt, chosen))

    def _listing(self, attempt: int, offers: tuple[Offer, ...]) -> Listing:
        return Listing(attempt, offers, self._closed(attempt, offers, ()))

    def _closed(self, attempt: int, offers: Sequence[Offer], signatures: Sequence[HolderSignature]) -> ClosedList:
        commitments = tuple(offer.commitment for offer in offers)
        return ClosedList(self.scene.attempts[attempt], commitments, tuple(signatures))

    def _selections(self, offers: Sequence[Offer]) -> Iterator[tuple[Offer, ...]]:
        """Yield every choice of enough different clients; where the case is thorough, any other choice as well."""
        case = self.scene.case
        for count in range(1, len(offers) + 1):
            for chosen in combinations(offers, count):
                fits = count >= MIN_COHORT and len({offer.client for offer in chosen}) == count
                if fits or case.thorough:
                    yield chosen
                if fits and case.orders:
                    yield chosen[::-1]

    def _offers(self, heard: _Heard, attempt: int) -> Iterator[Offer]:
        about = f"attempt {attempt + 1}"
        for client in CLIENTS:
            commitment = heard.one(client, "commitment", about)
            if commitment is not None:
                yield Offer(client, client, commitment.content, heard.update_of(client, about))
        yield self._colluding(attempt, COLLUDER, b"")
        if upload := heard.update_of(CLIENTS[1], about):
            yield self._colluding(attempt, CANCELLING, upload)

    def _colluding(self, attempt: int, name: str, cancels: bytes) -> Offer:
        key = attempt, digest(cancels)
        if key not in self._own:
            payload = self.scene.colluding_update(attempt, [cancels] if cancels else [])
            commitment = self.scene.colluding_commitment(attempt, payload)
            self._own[key] = Offer(name, COLLUDER, commitment, payload)
        return self._own[key]

    def _uploads(self, heard: _Heard, listings: Sequence[Listing]) -> Iterator[Sent]:
        for listing in listings:
            signed = self._signed_list(heard, listing)
            key = ("closed", listing.subject, _marks(signed.signatures))
            yield from self._once(key, partial(self._to_upload, listing, signed))

    def _to_upload(self, listing: Listing, signed: ClosedList) -> list[Sent]:
        notice = pb.Notice(list_closed=signed.notice())
        return [Sent(client, "closed", listing.subject, notice) for client in CLIENTS]

    def _signed_list(self, heard: _Heard, listing: Listing) -> ClosedList:
        """Return the list with all signatures that there are for it; the dishonest holders sign everything.

        The more signatures, the better for the aggregator: any t are enough.
        """
        sign = partial(self.scene.conspirators.sign_list, listing.closed.statement)
        dishonest = self._once(("sign", listing.subject), sign)
        return self._closed(listing.attempt, listing.offers, (*heard.signatures("list", listing.subject), *dishonest))

    # -------------------------------------------------------------------------------- sums

    def _requests(self, heard: _Heard, listings: Sequence[Listing]) -> Iterator[Sent]:
        for listing in listings:
            if not all(offer.payload for offer in listing.offers):
                continue
            signed = self._signed_list(heard, listing)
            key = ("open", listing.subject, _marks(signed.signatures))
            yield from self._once(key, partial(self._to_open, listing, signed))

    def _to_open(self, listing: Listing, signed: ClosedList) -> list[Sent]:
        payloads = {offer.client: offer.payload for offer in listing.offers}
        found = []
        for chosen in self._selections(listing.offers):
            contributors = tuple(offer.client for offer in chosen)
            total = self._once(
                ("total", listing.attempt, tuple(offer.name for offer in chosen)),
                partial(self._total, listing.attempt, chosen),
            )
            request = Request(listing, contributors, total)
            self.requests.setdefault(request.subject, request)
            task = pb.HolderTask(open_sum=_order(signed, request))
            found += [Sent(holder, "request", request.subject, task, payloads) for holder in self.scene.holders]
        return found

    def _total(self, attempt: int, offers: Sequence[Offer]) -> bytes:
        crafted = self.scene.attempts[attempt]
        adder = adder_for(crafted.key, crafted.encoding.plaintexts)
        for offer in offers:
            adder.add(offer.payload)
        return adder.payload()

    def _lends(self, heard: _Heard) -> Iterator[Sent]:
        for subject in heard.subjects("request"):
            signatures = heard.signatures("request", subject)
            key = ("lend", subject, _marks(signatures))
            lend = self._once(key, partial(self._to_lend, subject, signatures))
            yield from (each for each in lend if each.party in heard.holders_that_said("request", subject))

    def _to_lend(self, subject: str, signatures: Sequence[HolderSignature]) -> list[Sent]:
        request, federation = self.requests[subject], self.scene.stage.roster.federation
        id = self.scene.attempts[request.listing.attempt].description.id
        order = release_order(_order(request.listing.closed, request))
        dishonest = self.scene.conspirators.sign_request(request_statement(federation, id, order.digest))
        shown = holder_signatures_to_wire((*signatures, *dishonest))
        task = pb.HolderTask(lend=pb.Lend(run=id.run, round=id.round, attempt=id.attempt, signatures=shown))
        return [Sent(holder, "lend", subject, task) for holder in self.scene.holders]


def _marks(signatures: Sequence[HolderSignature]) -> tuple[bytes, ...]:
    return tuple(each.signature for each in signatures)


def _order(closed: ClosedList, request: Request) -> pb.OpenSum:
    return pb.OpenSum(
        list=closed.order(()),
        signatures=holder_signatures_to_wire(closed.signatures),
        contributors=request.contributors,
        sum_digest=digest(request.total),
    )


class _Heard:
    """Everything that the aggregator has from all parties."""

    def __init__(self, state: Mapping[str, Local]) -> None:
        self._said: dict[tuple[str, str], dict[str, Said]] = {}
        self._updates: dict[tuple[str, str], bytes] = {}
        for party, local in state.items():
            for each in local.said:
                self._said.setdefault((each.kind, each.subject), {}).setdefault(party, each)
                if each.kind == "update":
                    self._updates[party, each.subject] = each.content

    def one(self, party: str, kind: str, subject: str) -> Said | None:
        return self._said.get((kind, subject), {}).get(party)

    def update_of(self, client: str, about: str) -> bytes:
        return self._updates.get((client, about), b"")

    def signatures(self, kind: str, subject: str) -> list[HolderSignature]:
        return [each.content for each in self._said.get((kind, subject), {}).values()]

    def subjects(self, kind: str) -> list[str]:
        return [subject for found, subject in self._said if found == kind]

    def holders_that_said(self, kind: str, subject: str) -> list[str]:
        return list(self._said.get((kind, subject), {}))
