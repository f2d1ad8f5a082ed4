"""What tests expect of a refusal, whether it comes from a function or over gRPC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import grpc
import pytest

from core.errors import Reason, Refused
from core.wire.status import refusal_of


@contextmanager
def refused_with(reason: Reason, match: str | None = None) -> Iterator[pytest.ExceptionInfo[Exception]]:
    """Require that the block is refused for this reason, in one line that matches the pattern."""
    expected: tuple[type[Exception], ...] = (Refused, grpc.RpcError)
    with pytest.raises(expected, match=match) as caught:
        yield caught
    refusal = caught.value if isinstance(caught.value, Refused) else refusal_of(caught.value)
    assert refusal is not None, caught.value
    assert refusal.reason is reason, refusal
    assert "\n" not in str(refusal)
