"""Ask an aggregator whether it serves."""

from __future__ import annotations

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from core.errors import GrokfedError
from core.identity.party import PartyIdentity
from core.wire.dialing import AggregatorConnection

HEALTH_SECONDS = 3.0


def check_health(address: str, identity: PartyIdentity, service: str = "", *, plaintext: bool = False) -> None:
    """Return if the aggregator at `address` answers and says that it (or one of its services) serves.

    Raises GrokfedError.
    """
    request = health_pb2.HealthCheckRequest(service=service)
    with AggregatorConnection(address, HEALTH_SECONDS, identity, plaintext=plaintext) as line:
        try:
            answer = health_pb2_grpc.HealthStub(line.channel).Check(request, timeout=HEALTH_SECONDS)
        except grpc.RpcError as error:
            raise GrokfedError(f"no aggregator of this federation answers at {address}") from error
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise GrokfedError(f"the aggregator at {address} is not ready")
