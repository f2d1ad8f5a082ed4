"""Refusals on the wire: one table from a reason's name to gRPC's status, and the way back.

The status message is the sentence for people; the name travels in the trailing metadata. Whatever is not a refusal
becomes INTERNAL without detail, so that no trace-back and no secret leaves the process.
"""

from __future__ import annotations

from typing import cast

import grpc

from core.errors import Reason, Refused

REASON_KEY = "grokfed-reason"

STATUS = {
    Reason.WRONG_TASK: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NAME_TAKEN: grpc.StatusCode.ALREADY_EXISTS,
    Reason.NOT_ENROLLED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.NOT_IN_ROSTER: grpc.StatusCode.PERMISSION_DENIED,
    Reason.REVOKED: grpc.StatusCode.PERMISSION_DENIED,
    Reason.WRONG_ROLE: grpc.StatusCode.PERMISSION_DENIED,
    Reason.BAD_SIGNATURE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_FEDERATION: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.DESCRIPTION_SIGNATURE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.KEY_CERTIFICATE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.KEY_EXPIRED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.KEY_USED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.MODEL_LINEAGE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.MODEL_USED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ANOTHER_RUN: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.COMMITMENT_SIGNATURE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.COPIED: grpc.StatusCode.ALREADY_EXISTS,
    Reason.LIST_CHANGED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.LIST_SIGNATURES: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.REQUEST_SIGNATURES: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NOT_IN_LIST: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_COMMITTED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_SIMILAR: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_SUM: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_MODEL: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.ROUND_NOT_OPEN: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_DESCRIPTION: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WRONG_LENGTH: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_DIGEST: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.DUPLICATE: grpc.StatusCode.ALREADY_EXISTS,
    Reason.BAD_CIPHERTEXT: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.BAD_KEY: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.COHORT_TOO_SMALL: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.UNBOUNDED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.WEAK_PRIVACY: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.LOCAL_TRAINING: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.BUDGET_SPENT: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.STALE_MEMORY: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.ALREADY_RELEASED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_SIGNED: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.NOT_SERVING: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.STALE_LEDGER: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.UNKNOWN_KEY: grpc.StatusCode.NOT_FOUND,
    Reason.BAD_SUM: grpc.StatusCode.DATA_LOSS,
    Reason.WRONG_SHARE: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.WRONG_OPENING: grpc.StatusCode.DATA_LOSS,
    Reason.WRONG_PROOF: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.MALFORMED: grpc.StatusCode.INVALID_ARGUMENT,
    Reason.NO_MODEL: grpc.StatusCode.NOT_FOUND,
    # Not UNAVAILABLE, which means that there is no answer: the sender should try again, and learns why.
    Reason.STORAGE: grpc.StatusCode.ABORTED,
    Reason.INVITATION: grpc.StatusCode.PERMISSION_DENIED,
    Reason.NOT_COMPLETE: grpc.StatusCode.FAILED_PRECONDITION,
    Reason.TOO_MANY_TRIES: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Reason.TOO_MANY_CALLS: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def refusal_of(error: grpc.RpcError) -> Refused | None:
    """Return the refusal that a failed call carries, or None if it failed for another cause."""
    call = cast("grpc.Call", error)  # what stubs raise is both
    metadata = dict(call.trailing_metadata() or ())
    name = metadata.get(REASON_KEY)
    return Refused(Reason(name), call.details() or name) if name in set(Reason) else None
