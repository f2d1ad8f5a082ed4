"""How every call is answered: the caller is admitted first, and what a handler raises becomes a gRPC status."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import grpc
import structlog

from core.errors import Reason, Refused, StorageError
from core.identity.roster import Member
from core.wire.status import REASON_KEY, STATUS
from server.admission import Context, admit
from server.audience import NotListeningError
from server.run import ActiveRun
from server.undecodable import readable

log = structlog.get_logger()
M = TypeVar("M")


@asynccontextmanager
async def as_status(run: ActiveRun, context: Context, call: str) -> AsyncIterator[None]:
    """Turn what a handler raises into a gRPC status."""
    try:
        yield
    except Refused as refusal:
        await _refuse(run, context, call, refusal)
    except StorageError as error:
        # The disk may have room again in a moment, so the sender is asked to try again; the path stays private.
        log.error("storage", message=str(error))
        message = "the aggregator cannot use its disk at the moment"
        await _refuse(run, context, call, Refused(Reason.STORAGE, message))
    except NotListeningError as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
    except grpc.aio.AbortError:
        raise
    except Exception:
        log.exception("internal", call=call)
        await context.abort(grpc.StatusCode.INTERNAL, "an unexpected error; the aggregator's log has more")


async def _refuse(run: ActiveRun, context: Context, call: str, refusal: Refused) -> None:
    log.info("refused", call=call, reason=refusal.reason.value, message=str(refusal))
    run.count_refusal(refusal.reason)
    context.set_trailing_metadata(((REASON_KEY, refusal.reason.value),))
    await context.abort(STATUS[refusal.reason], str(refusal))


class Service:
    """What the three services have in common: the run, and how a caller is identified."""

    def __init__(self, run: ActiveRun, *, plaintext: bool) -> None:
        self.run = run
        self._plaintext = plaintext

    def caller(self, context: Context, call: str) -> Member:
        return admit(context, call, self.run.context.verifier.roster, plaintext=self._plaintext)


def answers(handler: Callable[..., Awaitable[M]]) -> Callable[..., Awaitable[M]]:
    """Wrap a handler with one answer; it gets the caller, once admitted, in place of the context."""

    @functools.wraps(handler)
    async def wrapped(self: Service, request: object, context: Context) -> M:
        async with as_status(self.run, context, handler.__name__):
            caller = self.caller(context, handler.__name__)
            return await handler(self, readable(request), caller)
        raise AssertionError("a status always ends the call")

    return wrapped


def streams(handler: Callable[..., AsyncGenerator[M, None]]) -> Callable[..., AsyncGenerator[M, None]]:
    """Wrap a handler that streams its answer; it gets the caller, once admitted, in place of the context."""

    @functools.wraps(handler)
    async def wrapped(self: Service, request: object, context: Context) -> AsyncGenerator[M, None]:
        async with as_status(self.run, context, handler.__name__):
            caller = self.caller(context, handler.__name__)
            async with aclosing(handler(self, readable(request), caller)) as messages:
                async for message in messages:
                    yield message

    return wrapped
