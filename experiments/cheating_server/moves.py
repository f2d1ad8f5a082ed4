"""What a dishonest aggregator can do: every step of a round, to any party and with any content.

It uses its own identity, the roster, what parties sent it, and the identities of its conspirators. Each step waits for
the answers and raises PartyRefusedError when a party refuses.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.federated import VALUE_BITS, encoding_for
from core.identity import signing
from core.identity.party import PartyIdentity
from core.identity.signing import SigningKey
from core.privacy.mechanism import Privacy, mechanism_for
from core.protocol import AttemptId, Commitment, Head, HolderSignature, RoundDescription, Signed, digest
from core.robust import Grouping
from core.round_sums import RoundAdder, ciphertexts_of
from core.secagg.opening import combine, partial_of
from core.secagg.scheme import PAILLIER
from core.tasks.spam import SPAM
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import (
    holder_signature_from_wire,
    holder_signatures_to_wire,
    model_statement,
    request_statement,
    start_from_bytes,
    start_from_wire,
    start_to_wire,
)
from core.wire.messages import (
    certificate_from_bytes,
    commitment_from_bytes,
    commitment_to_bytes,
    description_to_bytes,
    round_to_wire,
    signed_commitment_from_wire,
    signed_key_from_wire,
)
from core.wire.streams import model_bytes
from experiments.arrays import FloatArray
from experiments.cheating_server.ciphertexts import blend, deltas, unmixed
from experiments.cheating_server.conspirators import Conspirators
from experiments.cheating_server.crafted import ClosedList, Round
from experiments.cheating_server.honest import HonestParties
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.rogue import Rogue
from experiments.cheating_server.stage import HONEST, KEY_BITS, MAX_COHORT, VICTIM, Stage
from keyholder.orders import release_order


@dataclass
class Attacker:
    """The aggregator and its conspirators, in the middle of an attack.

    Attributes:
        stage: of which only what the attacker has is used: roster, own identity, conspirators' identities.
        conspirators: the parties that give it everything they have.
        honest: the honest parties, of which it may only wish that one is restored from a copy.
        updates: the ciphertexts it has, by client.
        restart_clients: has the honest owners of clients start their programs again.
        starts: what honest key holders said when they started last.
        privacy: of the rounds that are described.
    """

    stage: Stage
    rogue: Rogue
    conspirators: Conspirators
    min_cohort: int
    honest: HonestParties | None = None
    updates: dict[str, bytes] = field(default_factory=dict)
    restart_clients: Callable[..., None] = field(default=lambda *_, **__: None, repr=False)
    starts: dict[str, Signed] = field(default_factory=dict)
    privacy: Privacy | None = None

    @property
    def holders(self) -> tuple[str, ...]:
        """The honest key holders."""
        return tuple(name for name in self.stage.holders if name not in self.conspirators)

    @property
    def lenders(self) -> tuple[str, ...]:
        """As many honest holders as are needed to open a sum, in addition to the conspirators."""
        return self.holders[: self.needed(self.stage.profile.threshold)]

    def needed(self, count: int) -> int:
        """Return how many honest holders are needed to reach this count with the conspirators."""
        return count - (len(self.stage.holders) - len(self.holders))

    @property
    def identity(self) -> PartyIdentity:
        return self.rogue.identity

    # -------------------------------------------------------------------------------- starting

    def let_start(self, here: Mapping[str, pb.AttendRequest]) -> None:
        """Have all key holders vouch for those that start, and these for all, as an honest aggregator would."""
        starting = {name: start_from_wire(here[name].start) for name in self.holders if name in here}
        self.starts |= starting
        self.conspirators.lives.update({name: start_from_bytes(each.body).life for name, each in starting.items()})
        conspiring = self.conspirators.starts()
        for name in self.holders:
            for start in (each for other, each in self.starts.items() if other != name):
                self.rogue.push(name, pb.HolderTask(vouch=start_to_wire(start)))
        for name, start in starting.items():
            for each in conspiring:
                self.rogue.push(name, pb.HolderTask(vouch=start_to_wire(each)))
            self.rogue.push(name, pb.HolderTask())
            for holder, vouch in self.conspirators.vouches(start):
                signed = pb.SignedVouch(holder=holder, vouch=vouch.body, signature=vouch.signature)
                self.rogue.vouched(name, signed)
        self.rogue.hear("serve", starting)

    def honest_copy(self, holder: str) -> None:
        """Be lucky: a copy is made of a key holder's disk now."""
        assert self.honest is not None
        self.honest.copy(holder)

    def restore(self, holder: str) -> None:
        """Be lucky: a key holder's disk is restored from the copy that was made of it, and its program starts again."""
        assert self.honest is not None
        self.rogue.dismiss(holder)
        self.honest.restore(holder, self.rogue.address)
        self.let_start(self.rogue.hear("here", [holder]))

    # -------------------------------------------------------------------------------- describing a round

    def ask_key(self, besides: Round | None = None) -> Signed:
        """Return a fresh key that all honest holders have a share of, not that of the round `besides`."""
        for holder in self.holders:
            need = pb.NeedKey(run=self.rogue.run, round=1, attempt=1, scheme=PAILLIER, bits=KEY_BITS)
            self.rogue.push(holder, pb.HolderTask(need_key=need))
        offers = self.rogue.hear("keys", self.holders).values()
        offered = [{(key.certificate, key.signature) for key in offer.keys} for offer in offers]
        common = set.intersection(*offered)
        keys = [signed_key_from_wire(pb.SignedKey(certificate=body, signature=name)) for body, name in common]
        fresh = [key for key in keys if besides is None or key != besides.description.signed_certificate]
        return min(fresh, key=lambda key: certificate_from_bytes(key.body).serial)

    def describe(
        self,
        key: Signed,
        number: int = 1,
        attempt: int = 1,
        model: FloatArray | None = None,
        min_cohort: int | None = None,
        federation: str | None = None,
        count_cap: int = 0,
        grouping: Grouping | None = None,
    ) -> Round:
        """Sign a description; where nothing else is said, what an honest aggregator would sign."""
        certificate = certificate_from_bytes(key.body)
        start = self.stage.start if model is None else model
        self.rogue.served.models.setdefault(number - 1, lambda _caller: start)
        least = self.min_cohort if min_cohort is None else min_cohort
        made = None if self.privacy is None else mechanism_for(self.privacy, least, VALUE_BITS)
        description = RoundDescription(
            federation=federation or self.identity.federation,
            id=AttemptId(self.rogue.run, number, attempt),
            task=SPAM.name,
            seed=self.stage.seed,
            model_digest=digest(model_bytes(start)),
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(SPAM, len(start), certificate.key.plaintext_bits, MAX_COHORT, count_cap, made),
            min_cohort=least,
            deadline_seconds=60.0,
            privacy=self.privacy,
            grouping=grouping,
        )
        body = description_to_bytes(description)
        return Round(Signed(body, self.identity.signing.sign(signing.ROUND, body)), description)

    # -------------------------------------------------------------------------------- clients

    def open_round(self, crafted: Round, clients: Iterable[str] = HONEST) -> dict[str, Signed]:
        """Have clients train and commit; return their commitments."""
        for client in clients:
            opened = pb.RoundOpened(round=round_to_wire(crafted.signed))
            self.rogue.push(client, pb.Notice(round_opened=opened))
        heard = self.rogue.hear("commitment", clients)
        return {client: signed_commitment_from_wire(message) for client, message in heard.items()}

    def commit_as(self, client: str, crafted: Round, payload: bytes, key: SigningKey | None = None) -> Signed:
        """Commit to a payload in a client's name, with that conspirator's key or another; keep it for the sum."""
        self.updates[client] = payload
        return self._committed(client, crafted, digest(payload), key or self.conspirators.identity(client).signing)

    def copy_commitment(self, original: Signed, client: str, crafted: Round) -> Signed:
        """Commit as a conspirator to what another client committed to."""
        payload_digest = commitment_from_bytes(original.body).digest
        return self._committed(client, crafted, payload_digest, self.conspirators.identity(client).signing)

    def _committed(self, client: str, crafted: Round, payload_digest: bytes, key: SigningKey) -> Signed:
        id, nonce = crafted.description.id, secrets.token_bytes(16)
        commitment = Commitment(id, client, nonce, crafted.digest, payload_digest, Head(1, bytes(32)))
        body = commitment_to_bytes(commitment)
        return Signed(body, key.sign(signing.COMMITMENT, body))

    def demand_updates(self, closed: ClosedList, clients: Iterable[str] = HONEST) -> None:
        """Tell clients that the list is closed, and take what they upload."""
        for client in clients:
            self.rogue.push(client, pb.Notice(list_closed=closed.notice()))
        self.updates |= self.rogue.hear("update", clients)

    # -------------------------------------------------------------------------------- key holders

    def hand_out_roster(self, raw: bytes) -> None:
        """Tell key holders that there is a newer roster, and give them this one when they fetch it."""
        self.rogue.served.roster = raw
        for holder in self.holders:
            self.rogue.push(holder, pb.HolderTask(roster_version=1 << 20))
        self.rogue.hear("roster", self.holders)

    def close_list(
        self, crafted: Round, commitments: Iterable[Signed], holders: Sequence[str] | None = None
    ) -> ClosedList:  # fmt: skip
        """Have key holders check and sign a list."""
        unsigned = ClosedList(crafted, tuple(commitments), ())
        asked = self.holders if holders is None else holders
        for holder in asked:
            self.rogue.push(holder, pb.HolderTask(close_list=unsigned.order(self._lineage(crafted))))
        heard = self.rogue.hear("list", asked)
        return ClosedList(
            crafted, unsigned.commitments, (*_signatures(heard), *self.conspirators.sign_list(unsigned.statement))
        )

    def full_list(
        self, crafted: Round, contributors: Sequence[str], holders: Sequence[str] | None = None
    ) -> ClosedList:  # fmt: skip
        """Play a round by the rules until its list is closed and all updates are in; conspirators' are neutral."""
        honest = [client for client in contributors if client not in self.conspirators]
        listed = self.open_round(crafted, honest)
        for client in contributors:
            if client in self.conspirators:
                listed[client] = self.commit_as(client, crafted, blend(crafted.key, crafted.encoding))
        closed = self.close_list(crafted, listed.values(), holders)
        self.demand_updates(closed, honest)
        return closed

    def open_sum(
        self,
        closed: ClosedList,
        contributors: Sequence[str],
        holders: Sequence[str] | None = None,
        total: bytes | None = None,
    ) -> dict[int, bytes]:
        """Have key holders lend their shares for the sum of these, or for `total`; return their answers by number."""
        asked = self.lenders if holders is None else holders
        order = self.order(closed, contributors, total)
        signed = self.sign_request(order, asked)
        return self.lend(closed, order, signed, asked)

    def sign_request(self, order: pb.OpenSum, holders: Sequence[str]) -> tuple[HolderSignature, ...]:
        """Have key holders agree to open a sum; return their signatures."""
        self.rogue.served.updates = self.updates
        for holder in holders:
            self.rogue.push(holder, pb.HolderTask(open_sum=order))
        return _signatures(self.rogue.hear("request", holders))

    def lend(
        self, closed: ClosedList, order: pb.OpenSum, signed: Sequence[HolderSignature], holders: Sequence[str]
    ) -> dict[int, bytes]:
        """Show key holders who has agreed, the conspirators too; return the shares that they lend, by number."""
        id = closed.round.description.id
        statement = request_statement(self.identity.federation, id, release_order(order).digest)
        signatures = holder_signatures_to_wire((*signed, *self.conspirators.sign_request(statement)))
        for holder in holders:
            lend = pb.Lend(run=id.run, round=id.round, attempt=id.attempt, signatures=signatures)
            self.rogue.push(holder, pb.HolderTask(lend=lend))
        heard = self.rogue.hear("share", holders)
        key, count = closed.round.key, ciphertexts_of(closed.round.description)
        return {self.stage.identities[holder].number: partial_of(key, count, each) for holder, each in heard.items()}

    def order(self, closed: ClosedList, contributors: Sequence[str], total: bytes | None = None) -> pb.OpenSum:
        """Return what holders are asked to open."""
        return pb.OpenSum(
            list=closed.order(self._lineage(closed.round)),
            signatures=holder_signatures_to_wire(closed.signatures),
            contributors=contributors,
            sum_digest=digest(self.total(closed.round, contributors) if total is None else total),
        )

    def _lineage(self, crafted: Round) -> tuple[HolderSignature, ...]:
        """Return the signatures for the model that a round starts from."""
        return self.rogue.served.endorsements.get(crafted.description.id.round - 1, ())

    def endorse(self, closed: ClosedList, contributors: Sequence[str], model: FloatArray) -> None:
        """Have key holders sign a model as what follows, and serve it from now on."""
        asked = self.lenders
        number = closed.round.description.id.round
        task = pb.Endorse(order=self.order(closed, contributors), model_digest=digest(model_bytes(model)))
        for holder in asked:
            self.rogue.push(holder, pb.HolderTask(endorse=task))
        heard = self.rogue.hear("model", asked)
        statement = model_statement(self.identity.federation, self.rogue.run, number, digest(model_bytes(model)))
        self.rogue.served.endorsements[number] = (*_signatures(heard), *self.conspirators.sign_model(statement))
        self.rogue.served.models[number] = lambda _caller: model

    # -------------------------------------------------------------------------------- arithmetic

    def total(
        self, crafted: Round, contributors: Sequence[str], groups: Sequence[Sequence[str]] | None = None
    ) -> bytes:  # fmt: skip
        """Add up what contributors sent, those of each group by themselves."""
        adder = RoundAdder(crafted.description, groups or [contributors])
        for client in contributors:
            adder.add(client, self.updates[client])
        return adder.payload()

    def opened(self, crafted: Round, total: bytes, partials: Mapping[int, bytes]) -> list[int]:
        """Combine holders' answers. Raises Refused(WRONG_SHARE) if they do not open it."""
        profile = self.stage.profile
        return list(combine(crafted.key, profile.threshold, profile.holders, total, partials).plaintexts)

    def loot(self, crafted: Round, plaintexts: Sequence[int], contributors: int) -> Loot:
        """Take the victim's update to be all that is in an opened sum, and hold it against the truth."""
        return Loot.of(deltas(crafted.encoding, plaintexts, contributors), self.stage.truth(VICTIM))

    def amplified_loot(self, crafted: Round, plaintexts: Sequence[int], contributors: int, times: int) -> Loot:
        """Take the victim's update to be what is in an opened sum `times` times, and hold it against the truth."""
        return Loot.of(unmixed(deltas(crafted.encoding, plaintexts, contributors), times), self.stage.truth(VICTIM))

    def read_sum(
        self,
        closed: ClosedList,
        contributors: Sequence[str],
        holders: Sequence[str] | None = None,
        groups: Sequence[Sequence[str]] | None = None,
    ) -> list[int]:
        """Have a sum opened, or those of groups, and combine it: the plaintexts."""
        total = self.total(closed.round, contributors, groups)
        partials = self.open_sum(closed, contributors, holders, total) | self.conspirators.partials(
            closed.round.description.certificate, total
        )
        return self.opened(closed.round, total, partials)


class _IsSigned(Protocol):
    signature: bytes

    @property
    def ledger(self) -> pb.LedgerState: ...


def _signatures(heard: Mapping[str, _IsSigned]) -> tuple[HolderSignature, ...]:
    """Return what key holders signed, in the order of their names."""
    return tuple(
        holder_signature_from_wire(holder, heard[holder].signature, heard[holder].ledger) for holder in sorted(heard)
    )
