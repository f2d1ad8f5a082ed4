"""A key holder's answer to a request to open a sum: what its proof is about (core/secagg/share_proof.py)."""

from __future__ import annotations

from core.errors import Reason, Refused
from core.hashing import hash_parts
from core.protocol import RoundDescription, digest
from core.secagg.share_proof import Statement

CONTEXT = b"grokfed answer v1"


def statement_of(description: RoundDescription, holder: int, request: bytes, total: bytes) -> Statement:
    """Return what a holder's answer claims: that it is made with its share of this key, for this request alone.

    Args:
        holder: its number, 1 to n.
        request: the request's digest (core.protocol.request_digest), which names list, contributors and sum.
        total: the sum's ciphertexts.

    Raises Refused(BAD_KEY) if the key has no values that answers are proven by.
    """
    certificate, id = description.certificate, description.id
    if not certificate.provable:
        raise Refused(Reason.BAD_KEY, f"answers under the key {certificate.serial} cannot be proven: it has no values")
    key, name = digest(description.signed_certificate.body), f"{id.run} {id.round} {id.attempt}"
    return Statement(
        key=certificate.key,
        threshold=certificate.threshold,
        holders=certificate.holders,
        holder=holder,
        value=certificate.values[holder - 1] if certificate.values else 0,
        context=hash_parts(CONTEXT, key, name.encode(), request),
        total=total,
    )
