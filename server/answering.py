"""How every call is answered: the caller is admitted first, and what a handler raises becomes a gRPC status."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import grpc
import structlog

from core.errors import Reason, Refused, StorageError
from core.identity.certificates import PeerName
from core.identity.roster import Member
from core.wire.status import REASON_KEY, STATUS
from server.admission import Context, admit, admit_newcomer
from server.audience import NotListeningError
from server.call_limits import PENALTY_SECONDS, CallLimits
from server.connections import Connections
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
    run.count_refusal(refusal.reason)
    if refusal.reason is Reason.TOO_MANY_CALLS:
        log.debug("refused", call=call, reason=refusal.reason.value, message=str(refusal))
        await asyncio.sleep(PENALTY_SECONDS)
    else:
        log.info("refused", call=call, reason=refusal.reason.value, message=str(refusal))
    context.set_trailing_metadata(((REASON_KEY, refusal.reason.value),))
    await context.abort(STATUS[refusal.reason], str(refusal))


@dataclass(frozen=True)
class Gate:
    """What all services of one listening server share: how callers are identified and what they may ask for."""

    limits: CallLimits
    connections: Connections
    plaintext: bool = False


class Service:
    """What all services have in common: the run, and who may call."""

    def __init__(self, run: ActiveRun, gate: Gate) -> None:
        self.run = run
        self._gate = gate

    @contextmanager
    def admitted(self, context: Context, call: str) -> Iterator[Member]:
        """Count a call inside the block, and give its caller.

        Raises Refused if it is no member, or may not make this call, or makes too many.
        """
        caller = admit(context, call, self.run.context.verifier.roster, plaintext=self._gate.plaintext)
        lanes = self.run.lanes
        try:
            with self._counted(caller, context, call):
                lanes.note_call(call, caller.name)
                yield caller
        except Refused as refusal:
            lanes.note_refusal(caller.name, refusal.reason.value)
            raise

    @contextmanager
    def admitted_newcomer(self, context: Context, call: str) -> Iterator[PeerName]:
        """Do the same for a caller that need not be in the roster yet; give the name in its certificate."""
        caller = admit_newcomer(context, self.run.context.verifier.roster, plaintext=self._gate.plaintext)
        with self._counted(caller, context, call):
            yield caller

    def _counted(self, caller: Member | PeerName, context: Context, call: str) -> AbstractContextManager[None]:
        self._gate.connections.has_called(context.peer())
        return self._gate.limits.admitted(caller, call, context.peer())


def answers(handler: Callable[..., Awaitable[M]]) -> Callable[..., Awaitable[M]]:
    """Wrap a handler with one answer; it gets the caller, once admitted, in place of the context."""

    @functools.wraps(handler)
    async def wrapped(self: Service, request: object, context: Context) -> M:
        async with as_status(self.run, context, handler.__name__):
            with self.admitted(context, handler.__name__) as caller:
                return await handler(self, readable(request), caller)
        raise AssertionError("a status always ends the call")

    return wrapped


def answers_newcomers(handler: Callable[..., Awaitable[M]]) -> Callable[..., Awaitable[M]]:
    """Wrap a handler with one answer whose caller need not be in the roster; it gets the name in the certificate."""

    @functools.wraps(handler)
    async def wrapped(self: Service, request: object, context: Context) -> M:
        async with as_status(self.run, context, handler.__name__):
            with self.admitted_newcomer(context, handler.__name__) as caller:
                return await handler(self, readable(request), caller)
        raise AssertionError("a status always ends the call")

    return wrapped


def streams(handler: Callable[..., AsyncGenerator[M, None]]) -> Callable[..., AsyncGenerator[M, None]]:
    """Wrap a handler that streams its answer; it gets the caller, once admitted, in place of the context."""

    @functools.wraps(handler)
    async def wrapped(self: Service, request: object, context: Context) -> AsyncGenerator[M, None]:
        async with as_status(self.run, context, handler.__name__):
            with self.admitted(context, handler.__name__) as caller:
                async with aclosing(handler(self, readable(request), caller)) as messages:
                    async for message in messages:
                        yield message

    return wrapped
