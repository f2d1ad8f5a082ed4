"""What key holders sign and say about their ledgers: exact bytes for signatures, and strict conversion."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from core.identity.signing import SigningKey
from core.limits import MOST_HOLDERS, PARTY_NAME
from core.protocol import (
    LARGEST_SERIAL,
    LIFE_BYTES,
    MOST_LIVES,
    MOST_REPORTED,
    AttemptId,
    ClosedList,
    Head,
    HolderSignature,
    HolderStart,
    LedgerState,
    ReportedRequest,
    Signed,
    Vouch,
    digest,
)
from core.wire import federation_pb2 as pb
from core.wire.messages import (
    DIGEST_BYTES,
    checked_digest,
    hexadecimal,
    malformed,
    parsed,
    require_canonical,
    signed_from_wire,
)

LARGEST_ENTRY = (1 << 63) - 1
"""The largest number of a ledger's entry: what a database can hold."""

# ------------------------------------------------------------------------------------------------ signatures


def ledger_to_wire(state: LedgerState) -> pb.LedgerState:
    """Return the message for the state of a ledger."""
    peers = [pb.HolderLife(holder=holder, life=life) for holder, life in state.peers]
    return pb.LedgerState(number=state.head.number, hash=state.head.hash, life=state.life, peers=peers)


def ledger_from_wire(message: pb.LedgerState) -> LedgerState:
    """Return the state of a ledger, whose peers are at most MOST_HOLDERS. Raises Refused(MALFORMED)."""
    if len(message.peers) > MOST_HOLDERS:
        raise malformed(f"a ledger's state names {len(message.peers)} holders; at most {MOST_HOLDERS} are possible")
    peers = tuple((_name(peer.holder), _life(peer.life)) for peer in message.peers)
    return LedgerState(_head(message.number, message.hash), _life(message.life), peers)


def holder_signature_from_wire(holder: str, signature: bytes, ledger: pb.LedgerState) -> HolderSignature:
    """Return a signature, which is not verified here. Raises Refused(MALFORMED)."""
    return HolderSignature(holder, signed_from_wire(b"", signature).signature, ledger_from_wire(ledger))


def holder_signatures_to_wire(signatures: Iterable[HolderSignature]) -> list[pb.HolderSignature]:
    """Return the messages for the key holders' signatures."""
    return [
        pb.HolderSignature(holder=each.holder, signature=each.signature, ledger=ledger_to_wire(each.ledger))
        for each in signatures
    ]


def holder_signatures_from_wire(messages: Iterable[pb.HolderSignature]) -> tuple[HolderSignature, ...]:
    """Return at most MOST_HOLDERS signatures, not verified here. Raises Refused(MALFORMED)."""
    return tuple(
        holder_signature_from_wire(each.holder, each.signature, each.ledger)
        for each in itertools.islice(messages, MOST_HOLDERS)
    )


def signed_statement(statement: bytes, state: LedgerState) -> bytes:
    """Return what a key holder signs: a statement, together with the state of its ledger."""
    message = pb.SignedStatement(statement=statement, ledger=ledger_to_wire(state))
    return message.SerializeToString(deterministic=True)


def sign_statement(key: SigningKey, holder: str, domain: str, statement: bytes, state: LedgerState) -> HolderSignature:
    """Return a key holder's signature under a statement and the state of its ledger."""
    return HolderSignature(holder, key.sign(domain, signed_statement(statement, state)), state)


# ------------------------------------------------------------------------------------------------ statements


def list_statement(description_digest: bytes, commitment_digests: Sequence[bytes]) -> bytes:
    """Return what a key holder signs under a closed list it has checked."""
    return pb.ListStatement(
        description_digest=description_digest,
        list_digest=digest(b"".join(commitment_digests)),
        clients=len(commitment_digests),
    ).SerializeToString(deterministic=True)


def request_statement(federation: str, id: AttemptId, request_digest: bytes) -> bytes:
    """Return what a key holder signs under a request to open a sum that it has checked."""
    return pb.RequestStatement(
        federation=federation, run=id.run, round=id.round, attempt=id.attempt, request_digest=request_digest
    ).SerializeToString(deterministic=True)


def model_statement(federation: str, run: str, round_number: int, model_digest: bytes) -> bytes:
    """Return what a key holder signs under a model it has recomputed."""
    return pb.ModelStatement(
        federation=federation, run=run, round=round_number, model_digest=model_digest
    ).SerializeToString(deterministic=True)


def list_to_wire(closed: ClosedList) -> pb.ListClosed:
    """Return the message for a closed list."""
    return pb.ListClosed(
        round=closed.round,
        attempt=closed.attempt,
        description_digest=closed.description_digest,
        commitments=b"".join(closed.commitment_digests),
        signatures=holder_signatures_to_wire(closed.signatures),
    )


def list_from_wire(message: pb.ListClosed) -> ClosedList:
    """Return the closed list, whose signatures are not verified here. Raises Refused(MALFORMED)."""
    raw = message.commitments
    if len(raw) % DIGEST_BYTES:
        raise malformed(f"the closed list has {len(raw)} bytes; expected a multiple of {DIGEST_BYTES}")
    return ClosedList(
        round=message.round,
        attempt=message.attempt,
        description_digest=checked_digest(message.description_digest, "the description's digest"),
        commitment_digests=tuple(raw[start : start + DIGEST_BYTES] for start in range(0, len(raw), DIGEST_BYTES)),
        signatures=holder_signatures_from_wire(message.signatures),
    )


# ------------------------------------------------------------------------------------------------ starting


def start_to_bytes(start: HolderStart) -> bytes:
    """Serialise a start; the holder's signature covers exactly these bytes."""
    return pb.HolderStart(
        federation=start.federation,
        holder=start.holder,
        life=start.life,
        number=start.head.number,
        hash=start.head.hash,
        base=start.base,
        earlier=[pb.EarlierLife(life=life, number=number) for life, number in start.earlier],
    ).SerializeToString(deterministic=True)


def start_from_bytes(raw: bytes) -> HolderStart:
    """Return a start, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = parsed(pb.HolderStart(), raw, "a key holder's start")
    if len(message.earlier) > MOST_LIVES:
        raise malformed(f"{len(message.earlier)} earlier lives are named; at most {MOST_LIVES} are possible")
    start = HolderStart(
        federation=hexadecimal(message.federation, "the federation"),
        holder=_name(message.holder),
        life=_life(message.life),
        head=_head(message.number, message.hash),
        base=message.base,
        earlier=tuple((_life(each.life), each.number) for each in message.earlier),
    )
    require_canonical(raw, start_to_bytes(start), "a key holder's start")
    return start


def start_to_wire(signed: Signed) -> pb.SignedStart:
    """Return the message for a signed start."""
    return pb.SignedStart(start=signed.body, signature=signed.signature)


def start_from_wire(message: pb.SignedStart) -> Signed:
    """Return the signed start, which is not verified here. Raises Refused(MALFORMED)."""
    return signed_from_wire(message.start, message.signature)


def vouch_to_bytes(vouch: Vouch) -> bytes:
    """Serialise a vouch; the signature of the holder that vouches covers exactly these bytes."""
    requests = [
        pb.SignedRequest(run=each.run, round=each.round, request_digest=each.digest, model_digest=each.model_digest)
        for each in vouch.requests
    ]
    return pb.VouchStatement(
        federation=vouch.federation,
        about=vouch.about,
        life=vouch.life,
        number=vouch.head.number,
        hash=vouch.head.hash,
        serial=vouch.serial,
        list_digest=vouch.list_digest,
        requests=requests,
    ).SerializeToString(deterministic=True)


def vouch_from_bytes(raw: bytes) -> Vouch:
    """Return a vouch, if it is written in its one form. Raises Refused(MALFORMED)."""
    message = parsed(pb.VouchStatement(), raw, "what a key holder vouches for")
    if len(message.requests) > MOST_REPORTED:
        raise malformed(f"{len(message.requests)} requests are reported; at most {MOST_REPORTED} are possible")
    vouch = Vouch(
        federation=hexadecimal(message.federation, "the federation"),
        about=_name(message.about),
        life=_life(message.life),
        head=_head(message.number, message.hash) if message.number else Head(),
        serial=_serial(message.serial),
        list_digest=checked_digest(message.list_digest, "a list's digest") if message.serial else b"",
        requests=tuple(_reported(each) for each in message.requests),
    )
    require_canonical(raw, vouch_to_bytes(vouch), "what a key holder vouches for")
    return vouch


def _reported(message: pb.SignedRequest) -> ReportedRequest:
    return ReportedRequest(
        hexadecimal(message.run, "the run"),
        message.round,
        checked_digest(message.request_digest, "a request's digest"),
        checked_digest(message.model_digest, "the model's digest"),
    )


def vouch_from_wire(message: pb.SignedVouch) -> tuple[str, Signed]:
    """Return who vouches, and the signed bytes, which are not verified here. Raises Refused(MALFORMED)."""
    return message.holder, signed_from_wire(message.vouch, message.signature)


def _head(number: int, chained: bytes) -> Head:
    if not 1 <= number <= LARGEST_ENTRY:
        raise malformed(f"an entry of a ledger has the number {number}; expected 1 to 2^63 - 1")
    return Head(number, checked_digest(chained, "the hash of an entry"))


def _life(raw: bytes) -> bytes:
    if len(raw) != LIFE_BYTES:
        raise malformed(f"a key holder's life has {len(raw)} bytes; expected {LIFE_BYTES}")
    return raw


def _name(name: str) -> str:
    if not PARTY_NAME.fullmatch(name):
        raise malformed(f"a key holder's name is {name[:80]!r}; expected 1 to 64 letters, digits, dots or dashes")
    return name


def _serial(serial: int) -> int:
    if serial > LARGEST_SERIAL:
        raise malformed(f"a key has the serial number {serial}; the largest is {LARGEST_SERIAL}")
    return serial
