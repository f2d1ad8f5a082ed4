"""A small federation with all its parties in this process, and one attempt at a round as honest parties would play it.

    federation = SmallFederation(tmp_path / "federation")         # 3 clients, 2 of 3 key holders open a sum
    attempt = HonestAttempt(federation, federation.deal()[0])     # client i changes weight i by 1
    holder = federation.key_holder(1, tmp_path / "ledger")
    holder.sign_list(attempt.list_order())

Nothing here is checked; what is made is honest unless it is changed with `dataclasses.replace`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from recomputation import SPAM, VALUES, spam_of
from templates import Shape, copy_federation

from client.memory import Memory
from client.participant import Participant
from core.answers import statement_of
from core.checks import Verifier
from core.clock import Clock, today
from core.errors import Reason, Refused
from core.federated import encoding_for, initial_model
from core.identity import signing
from core.identity.party import PartyIdentity, load_identity
from core.identity.roster import Role, Roster
from core.policy import Policy
from core.protocol import (
    LIFE_BYTES,
    AttemptId,
    Commitment,
    Head,
    HolderSignature,
    LedgerState,
    RoundDescription,
    Signed,
    Vouch,
    digest,
)
from core.round_sums import RoundAdder, groups_of, mean_of, sums_of
from core.secagg.encoding import Update
from core.secagg.factory import encryptor_for
from core.secagg.opening import OpenedSum, combine
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import (
    list_statement,
    model_statement,
    request_statement,
    sign_statement,
    start_from_bytes,
    vouch_to_bytes,
)
from core.wire.messages import certificate_from_bytes, commitment_to_bytes, description_to_bytes
from core.wire.streams import model_bytes
from experiments.cheating_server.lenient import ledger_without, verifier_without
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.orders import ListOrder, ReleaseOrder
from keyholder.shares import Shares
from registrar.dealer import Dealer
from registrar.federation import add_member, revoke
from registrar.folder import load_registrar, reserve_serials

FloatArray = npt.NDArray[np.float64]
RUN = "0123456789abcdef"
ID = AttemptId(RUN, 1, 1)
BITS = 256  # small, for speed: nothing is secret here
HEAD = Head(1, digest(b"an entry"))  # of another holder's ledger
POLICY = Policy(min_cohort=2, max_colluders=0, insecure_demo_keys=True, insecure_unbounded=True, allow_plain=True)


def life_of(holder: str) -> bytes:
    """The life of a key holder that has started once."""
    return digest(holder.encode())[:LIFE_BYTES]


class SmallFederation:
    """Party folders in `folder`, and the identities loaded from them."""

    def __init__(self, folder: Path, **shape: int) -> None:
        copy_federation(Shape(keys=0, **shape), folder)
        self.folder = folder
        self.registrar = load_registrar(folder)
        self.identities = {m.name: load_identity(folder / m.name) for m in self.registrar.roster.members}
        self._ledgers: list[Ledger] = []

    def close(self) -> None:
        """Close the ledgers of all key holders that were made."""
        for ledger in self._ledgers:
            ledger.close()

    def __getitem__(self, name: str) -> PartyIdentity:
        return self.identities[name]

    @property
    def server(self) -> PartyIdentity:
        return self["server"]

    def add_observer(self, name: str) -> None:
        """Enrol an observer."""
        add_member(self.folder, name, role=Role.OBSERVER, now=datetime.now(UTC))
        self.registrar = load_registrar(self.folder)
        self.identities[name] = load_identity(self.folder / name)

    @property
    def roster(self) -> Roster:
        return self.server.roster.current()

    @property
    def clients(self) -> list[str]:
        return [member.name for member in self.roster.clients]

    @property
    def holders(self) -> list[str]:
        return [member.name for member in self.roster.holders]

    def verifier(self, passes: Iterable[Reason] = ()) -> Verifier:
        """The checks by the roster of all parties, without those that are named."""
        return verifier_without(frozenset(passes))(self.roster, self.registrar.signing.public)

    def revoke(self, name: str) -> None:
        """The roster of every party says so from now on."""
        revoke(self.folder, name)

    def deal(self, count: int = 1, scheme: str = "paillier", bits: int = BITS) -> list[Signed]:
        """The next round keys, certified; each holder has its share in its folder."""
        serials = set(self.dealer().deal(reserve_serials(self.registrar, count), count, scheme, bits))
        dealt = Shares(self[self.holders[0]]).dealt()
        return [key.signed for key in dealt if key.certificate.serial in serials]

    def dealer(self) -> Dealer:
        return Dealer(self.roster, self.registrar.signing, self.folder.joinpath, today())

    def key_holder(
        self,
        number: int,
        state: Path,
        *,
        policy: Policy = POLICY,
        rule: DifferenceRule = DifferenceRule.ENFORCE,
        passes: Iterable[Reason] = (),
        day: int | None = None,
    ) -> KeyHolder:
        """A key holder. To start it again, close its `ledger` and make another one in the same state folder."""
        self._ledgers.append(ledger_without(frozenset(passes), state))
        identity, clock = self[self.holders[number - 1]], Clock(lambda: today() if day is None else day)
        holder = KeyHolder(identity, policy, self._ledgers[-1], rule, clock, verifier_without(frozenset(passes)))
        holder.life = life_of(identity.name)
        for name in self.holders:
            if name != identity.name:
                holder.ledger.peers.began(name, life_of(name), HEAD)
        return holder

    def vouches(self, start: Signed, by: Iterable[str], **known: Any) -> list[pb.HolderTask]:
        """What a key holder that starts is told by others, who have seen nothing but what is given."""
        said = start_from_bytes(start.body)
        nothing = Vouch(said.federation, said.holder, said.life, Head(), 0, b"", ())
        body = vouch_to_bytes(replace(nothing, **known))
        return [
            pb.HolderTask(
                vouched=pb.SignedVouch(holder=name, vouch=body, signature=self[name].signing.sign(signing.VOUCH, body))
            )
            for name in by
        ]

    def participant(
        self,
        number: int,
        *,
        policy: Policy = POLICY,
        passes: Iterable[Reason] = (),
        day: int | None = None,
        memory: Memory | None = None,
        run: str = RUN,
    ) -> Participant:
        """A client with made-up mail, who has joined a run."""
        made = Participant(
            self[self.clients[number - 1]],
            SPAM,
            policy,
            spam_of,
            Clock(lambda: today() if day is None else day),
            verifier=verifier_without(frozenset(passes)),
            memory=memory,
        )
        made.enrolled(run)
        return made

    def sign_round(self, description: RoundDescription) -> Signed:
        body = description_to_bytes(description)
        return Signed(body, self.server.signing.sign(signing.ROUND, body))

    def sign_commitment(self, commitment: Commitment, by: str | None = None) -> Signed:
        body = commitment_to_bytes(commitment)
        return Signed(body, self[by or commitment.client].signing.sign(signing.COMMITMENT, body))

    def signatures(self, domain: str, statement: bytes, holders: Iterable[str]) -> tuple[HolderSignature, ...]:
        """Signatures of holders in the lives that `key_holder` gives them, each of which knows all others'."""
        return tuple(
            sign_statement(self[name].signing, name, domain, statement, self.ledger_state(name)) for name in holders
        )

    def ledger_state(self, holder: str) -> LedgerState:
        """The state of a key holder's ledger when everyone has started once."""
        peers = tuple((name, life_of(name)) for name in sorted(self.holders) if name != holder)
        return LedgerState(HEAD, life_of(holder), peers)

    def endorsements(self, round_number: int, model: FloatArray, holders: int = 2) -> tuple[HolderSignature, ...]:
        """Signatures of the first key holders under the model of a round of RUN."""
        statement = model_statement(self.roster.federation, RUN, round_number, digest(model_bytes(model)))
        return self.signatures(signing.MODEL, statement, self.holders[:holders])

    def list_signatures(
        self, description_digest: bytes, commitment_digests: Sequence[bytes], holders: int = 2
    ) -> tuple[HolderSignature, ...]:
        """Signatures of the first key holders under a closed list."""
        statement = list_statement(description_digest, commitment_digests)
        return self.signatures(signing.LIST, statement, self.holders[:holders])


def small_federation(**shape: int) -> Any:
    """Return a fixture: one federation for all tests of a module."""

    @pytest.fixture(scope="module")
    def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallFederation]:
        federation = SmallFederation(tmp_path_factory.mktemp("small") / "federation", **shape)
        yield federation
        federation.close()

    return federation


def forged(signed: Signed) -> Signed:
    """Return a message with the signature of no party."""
    return replace(signed, signature=bytes(64))


class HonestAttempt:
    """One attempt at a round of RUN, from its description to the model that follows.

    Attributes:
        payloads: each client's ciphertexts; client i's update is 1 at weight i - 1, so that a client that is missing
            in a sum, or in it twice, shows.
        commitments: each client's signed commitment to them.
        lineage: the endorsements of `model`, which the round starts from.
    """

    def __init__(
        self,
        federation: SmallFederation,
        key: Signed,
        /,
        *,
        round_number: int = 1,
        attempt: int = 1,
        clients: Iterable[str] | None = None,
        model: FloatArray | None = None,
        **changes: Any,
    ) -> None:
        self.federation = federation
        # A model serves one round; that of round r is the initial one and r - 1.
        self.model = initial_model(SPAM, 0) + (round_number - 1) if model is None else model
        certificate = certificate_from_bytes(key.body)
        description = RoundDescription(
            federation=federation.roster.federation,
            id=replace(ID, round=round_number, attempt=attempt),
            task=SPAM.name,
            seed=0,
            model_digest=digest(model_bytes(self.model)),
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(SPAM, VALUES, certificate.key.plaintext_bits, max_cohort=8),
            min_cohort=2,
            deadline_seconds=60.0,
        )
        self.description = replace(description, **changes)
        self.signed = federation.sign_round(self.description)
        origin = self.description.origin
        self.lineage = () if origin is None else federation.endorsements(origin.round, self.model)
        names = federation.clients if clients is None else clients
        self.payloads = {name: self.encrypt(federation[name].number) for name in names}
        self.commitments = {name: federation.sign_commitment(self.commitment(name)) for name in names}
        # Read now: the holders destroy their shares when they have used them.
        self._shares = {}
        for number, holder in enumerate(federation.holders, start=1):
            with suppress(Refused):
                self._shares[number] = Shares(federation[holder]).open(certificate)

    memory = Head(1, bytes(32))
    """What every client's budget ends with."""

    @property
    def id(self) -> AttemptId:
        return self.description.id

    @property
    def digest(self) -> bytes:
        return digest(self.signed.body)

    def encrypt(self, number: int) -> bytes:
        encoding = self.description.encoding
        update = Update(np.zeros(encoding.values), examples=10, loss=5.0, correct=8)
        update.delta[number - 1] = 1.0
        with closing(encryptor_for(self.description.key, encoding.plaintexts)) as encryptor:
            return encryptor.encrypt(encoding.encode(update))

    def commitment(self, client: str) -> Commitment:
        number = self.federation[client].number
        return Commitment(
            self.id, client, bytes([number]) * 16, self.digest, digest(self.payloads[client]), self.memory
        )

    def commit_to(self, client: str, payload: bytes) -> None:
        """Let a client commit to these bytes instead, whatever they are."""
        self.payloads[client] = payload
        self.commitments[client] = self.federation.sign_commitment(self.commitment(client))

    def malformed(self, client: str) -> dict[str, bytes]:
        """Updates of a client that can stand in no sum, by what is wrong with them."""
        key, honest = self.description.key, self.payloads[client]
        n, size = key.modulus, (key.degree + 1) * key.bits // 8
        end = n ** (key.degree + 1)
        numbers = {
            "0": 0, "1": 1, "n": n, "7 n": 7 * n, "the end of the range": end, "the end of the range + 1": end + 1,
            "unblinded 5": pow(1 + n, 5, end), "all bits": (1 << 8 * size) - 1,
        }  # fmt: skip
        last = {name: honest[:-size] + number.to_bytes(size, "big") for name, number in numbers.items()}
        return last | {
            "the first is 0": bytes(size) + honest[size:],
            "one byte short": honest[:-1],
            "one byte long": honest + b"\0",
            "one ciphertext short": honest[:-size],
            "one ciphertext long": honest + honest[:size],
            "nothing": b"",
        }

    def commitment_digests(self) -> tuple[bytes, ...]:
        return tuple(digest(self.commitments[name].body) for name in sorted(self.commitments))

    # -------------------------------------------------------------------------------- what holders are asked

    def list_order(self) -> ListOrder:
        return ListOrder(self.signed, tuple(self.commitments[name] for name in sorted(self.commitments)), self.lineage)

    def list_signatures(self, holders: int = 2) -> tuple[HolderSignature, ...]:
        return self.federation.list_signatures(self.digest, self.commitment_digests(), holders)

    def release_order(self, contributors: Iterable[str] | None = None, sum_digest: bytes | None = None) -> ReleaseOrder:
        """Open the sum of these; `sum_digest` where no sum can be made of them."""
        names = tuple(sorted(self.payloads if contributors is None else contributors))
        return ReleaseOrder(self.list_order(), self.list_signatures(), names, sum_digest or digest(self.total(names)))

    def fetch(self, _id: AttemptId, client: str, _length: int) -> bytes:
        """What the aggregator gives a holder who asks for one client's ciphertexts."""
        return self.payloads[client]

    def request_signatures(self, order: ReleaseOrder, holders: Iterable[str]) -> tuple[HolderSignature, ...]:
        """Signatures of key holders that agree to open what the order asks for."""
        statement = request_statement(self.federation.roster.federation, self.id, order.digest)
        return self.federation.signatures(signing.REQUEST, statement, holders)

    # -------------------------------------------------------------------------------- the sum

    def total(self, contributors: Iterable[str] | None = None) -> bytes:
        """The sum's ciphertexts, or those of the groups' sums."""
        names = list(self.payloads if contributors is None else contributors)
        adder = RoundAdder(self.description, groups_of(self.description, self.digest, self.commitment_digests(), names))
        for name in names:
            adder.add(name, self.payloads[name])
        return adder.payload()

    def partial(self, number: int, contributors: Iterable[str] | None = None) -> bytes:
        """Holder `number`'s share of the opening."""
        return self._shares[number].partial(self.total(contributors))

    def answer(self, number: int, order: ReleaseOrder | None = None) -> bytes:
        """Holder `number`'s share of the opening of an order's sum, by default of all, proven for this order."""
        order = order or self.release_order()
        claim = statement_of(self.description, number, order.digest, self.total(order.contributors))
        return self._shares[number].answer(claim)

    def opened(self, contributors: Iterable[str] | None = None) -> OpenedSum:
        """The sum, opened with as many shares as are needed."""
        roster, total = self.federation.roster, self.total(contributors)
        partials = {number: self.partial(number, contributors) for number in range(1, roster.threshold + 1)}
        return combine(self.description.key, roster.threshold, len(roster.holders), total, partials)

    def next_model(self, opened: OpenedSum, contributors: int) -> FloatArray:
        sums = sums_of(self.description, opened.plaintexts, contributors)
        return self.model + mean_of(sums, self.description.grouping, self.description.mechanism)
