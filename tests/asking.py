"""Ask a key holder as the aggregator would, and give it what it fetches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from core.protocol import AttemptId
from core.wire import federation_pb2 as pb
from core.wire.calls import Download, converse
from core.wire.streams import MODEL_DTYPE, model_bytes
from keyholder.holder import KeyHolder, Release
from keyholder.orders import ReleaseOrder

Fetch = Callable[[AttemptId, str, int], bytes]


def no_fetch(*_: object) -> bytes:
    raise AssertionError("nothing had to be fetched")


def open_sum(holder: KeyHolder, order: ReleaseOrder, fetch: Fetch = no_fetch) -> Release:
    return converse(holder.open_sum(order), _answers(fetch, no_fetch, no_fetch))


def endorse_model(
    holder: KeyHolder, order: ReleaseOrder, model_digest: bytes, fetch: Fetch, fetch_opened: Any, fetch_model: Any
) -> bytes:
    return converse(holder.endorse(order, model_digest), _answers(fetch, fetch_opened, fetch_model))


def _answers(fetch: Fetch, fetch_opened: Any, fetch_model: Any) -> Callable[[Any], tuple[pb.PayloadHeader, bytes]]:
    def answer(call: Download) -> tuple[pb.PayloadHeader, bytes]:
        asked: Any = call.message
        match call.method:
            case "FetchSubmission":
                id = AttemptId(asked.run, asked.round, asked.attempt)
                return pb.PayloadHeader(), fetch(id, asked.client, call.limit)
            case "FetchOpenedSum":
                return pb.PayloadHeader(), fetch_opened(AttemptId(asked.run, asked.round, asked.attempt), call.limit)
        vector = fetch_model(asked.round, call.limit // 8)
        return pb.PayloadHeader(dtype=MODEL_DTYPE, shape=[len(vector)]), model_bytes(vector)

    return answer
