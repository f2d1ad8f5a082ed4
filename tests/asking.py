"""Ask a key holder as the aggregator would, and give it what it fetches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from federations import HEAD, HonestAttempt, SmallFederation, life_of

from core.identity import signing
from core.identity.party import load_identity
from core.protocol import AttemptId, HolderSignature, LedgerState, digest
from core.round_sums import ciphertexts_of
from core.secagg.opening import partial_of
from core.share_files import share_name
from core.wire import federation_pb2 as pb
from core.wire.calls import Download, converse
from core.wire.holder_messages import request_statement, sign_statement
from core.wire.messages import description_from_bytes
from core.wire.streams import MODEL_DTYPE, model_bytes
from keyholder.holder import Agreed, KeyHolder
from keyholder.orders import ListOrder, ReleaseOrder

Fetch = Callable[[AttemptId, str, int], bytes]


def no_fetch(*_: object) -> bytes:
    raise AssertionError("nothing had to be fetched")


@dataclass(frozen=True)
class Release:
    """What came of asking a key holder to open a sum: its share of the opening with its proof, and what it says to it.

    Attributes:
        partial: the share without its proof.
    """

    answer: bytes

    partial: bytes
    exposure: str


def sign_request(holder: KeyHolder, order: ReleaseOrder, fetch: Fetch = no_fetch) -> Agreed:
    return converse(holder.sign_request(order), _answers(fetch, no_fetch, no_fetch))


def open_sum(holder: KeyHolder, order: ReleaseOrder, fetch: Fetch = no_fetch) -> Release:
    """Have a key holder sign a request, and lend its share when all others have signed it too."""
    agreed = sign_request(holder, order, fetch)
    description = description_from_bytes(order.list.round.body)
    id = description.id
    identity, verifier = holder.identity, holder.verifier
    statement = request_statement(identity.federation, id, order.digest)
    signatures = [agreed.signature]
    for member in verifier.roster.holders:
        if member.name != identity.name:
            other = load_identity(identity.folder.parent / member.name)
            peers = tuple((each.name, life_of(each.name)) for each in verifier.roster.holders if each != member)
            state = LedgerState(HEAD, life_of(member.name), peers)
            signatures.append(sign_statement(other.signing, member.name, signing.REQUEST, statement, state))
    answer = holder.lend(id, signatures)
    return Release(answer, partial_of(description.key, ciphertexts_of(description), answer), agreed.exposure)


def endorse_model(
    holder: KeyHolder, order: ReleaseOrder, model_digest: bytes, fetch: Fetch, fetch_opened: Any, fetch_model: Any
) -> HolderSignature:
    return converse(holder.endorse(order, model_digest), _answers(fetch, fetch_opened, fetch_model))


def _answers(fetch: Fetch, fetch_opened: Any, fetch_model: Any) -> Callable[[Any], tuple[pb.PayloadHeader, bytes]]:
    def answer(call: Download) -> tuple[pb.PayloadHeader, bytes]:
        asked: Any = call.message
        match call.method:
            case "FetchSubmissions":
                id = AttemptId(asked.run, asked.round, asked.attempt)
                updates = [fetch(id, client, call.limit // len(asked.clients)) for client in asked.clients]
                return pb.PayloadHeader(parts=map(len, updates)), b"".join(updates)
            case "FetchOpenedSum":
                return pb.PayloadHeader(), fetch_opened(AttemptId(asked.run, asked.round, asked.attempt), call.limit)
        vector = fetch_model(asked.round, call.limit // 8)
        return pb.PayloadHeader(dtype=MODEL_DTYPE, shape=[len(vector)]), model_bytes(vector)

    return answer


FOUR = ("client-1", "client-2", "client-3", "client-4")


def endorse(holder: KeyHolder, attempt: HonestAttempt, **changes: Any) -> HolderSignature:
    """Ask for an endorsement of what an honest aggregator would have computed, but for what is changed."""
    order: ReleaseOrder = changes.get("order") or attempt.release_order()
    honest = attempt.opened(order.contributors)
    opened = changes.get("opened", honest.to_bytes(attempt.description.key))
    model_digest = changes.get("model_digest") or digest(
        model_bytes(attempt.next_model(honest, len(order.contributors)))
    )
    fetch_model = lambda _round, _values: changes.get("model", attempt.model)  # noqa: E731
    return endorse_model(holder, order, model_digest, attempt.fetch, lambda _id, _length: opened, fetch_model)


def restarted(federation: SmallFederation, holder: KeyHolder, folder: Path, **settings: Any) -> KeyHolder:
    holder.ledger.close()
    return federation.key_holder(1, folder, **settings)


def share_file(attempt: HonestAttempt, holder: KeyHolder) -> Path:
    return holder.identity.folder / "shares" / share_name(attempt.description.certificate.serial)


Change = Callable[[HonestAttempt], ListOrder]


def described(**changes: Any) -> Change:
    """The aggregator signs a description of which these parts are different, and all clients answer it."""

    def change(attempt: HonestAttempt) -> ListOrder:
        parts = {name: make(attempt) if callable(make) else make for name, make in changes.items()}
        key = attempt.description.signed_certificate
        return HonestAttempt(attempt.federation, key, **parts).list_order()

    return change
