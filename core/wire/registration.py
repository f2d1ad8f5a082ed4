"""Send an enrolment request to the registrar's service, and wait for the answer.

The service proves by TLS that it has a certificate of the authority that the invitation pins. While it cannot be
reached, or the first roster cannot be signed yet, the same request is sent again until the newcomer's patience is over.
"""

from __future__ import annotations

from typing import cast

import grpc
import structlog
import tenacity

from core.errors import ConnectionLostError, GrokfedError, Reason, Refused
from core.identity.answer import LARGEST_ANSWER
from core.identity.certificates import registration_name
from core.identity.enrolment import Pending
from core.wire import proxies
from core.wire import registration_pb2 as pb
from core.wire import registration_pb2_grpc as rpc
from core.wire.dialing import CALL_SECONDS, check_address, is_worth_repeating
from core.wire.status import refusal_of
from core.wire.streams import read_chunks

SAY_AFTER_ATTEMPTS = 3
log = structlog.get_logger()


def send_request(address: str, pending: Pending, patience: float) -> bytes:
    """Return the registrar's answer to a request; it is still to be checked.

    Raises Refused if the registrar turned it down, or if the federation is not complete when patience (in seconds) is
    over; ConnectionLostError if the service does not answer.
    """
    check_address(address)
    credentials = grpc.ssl_channel_credentials(pending.authority.encode())
    name = registration_name(pending.federation)
    options = (("grpc.ssl_target_name_override", name), proxies.channel_option(address))
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(_worth_repeating),
        wait=tenacity.wait_random_exponential(multiplier=0.2, max=3.0),
        stop=tenacity.stop_after_delay(patience),
        before_sleep=_say_waiting,
        reraise=True,
    )
    with grpc.secure_channel(address, credentials, options=options) as channel:
        enrol = rpc.RegistrationStub(channel).Enrol
        request = pb.EnrolRequest(request=pending.request)
        try:
            return retrying(lambda: read_chunks(enrol(request, timeout=CALL_SECONDS), LARGEST_ANSWER)[1])
        except grpc.RpcError as error:
            raise _explained(error, address, patience) from error


def _worth_repeating(error: BaseException) -> bool:
    if isinstance(error, grpc.RpcError) and (refusal := refusal_of(error)):
        return refusal.reason is Reason.NOT_COMPLETE
    return is_worth_repeating(error)


def _say_waiting(state: tenacity.RetryCallState) -> None:
    if state.attempt_number == SAY_AFTER_ATTEMPTS and state.outcome is not None:
        error = state.outcome.exception()
        refusal = refusal_of(error) if isinstance(error, grpc.RpcError) else None
        log.info(str(refusal) if refusal else "no answer from the registrar yet")


def _explained(error: grpc.RpcError, address: str, patience: float) -> GrokfedError:
    if refusal := refusal_of(error):
        if refusal.reason is Reason.NOT_COMPLETE:
            return Refused(refusal.reason, f"{refusal}; run the same command again later")
        return refusal
    code, details = cast("grpc.Call", error).code(), cast("grpc.Call", error).details()
    if is_worth_repeating(error):
        return ConnectionLostError(
            f"no registrar of this federation answers at {address} for {patience:g} seconds ({details})"
            f"{proxies.advice(address)}"
        )
    return GrokfedError(f"the registrar at {address} failed: {code.name} {details}")
