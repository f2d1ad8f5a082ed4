"""The page and the JSON behind it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from core.errors import GrokfedError, SettingsError
from core.finite_json import dumps
from core.tasks import TASKS
from dashboard.guard import Guard, Tokens
from dashboard.live import SERVER, Watched, keep_looking
from dashboard.openapi import document
from dashboard.records import NoRunError, RunRecord, RunsFolder
from dashboard.saw import Keeper, saw
from dashboard.starting import SCHEMES, Starter, dry_run, wanted_from
from dashboard.summary import detail_of, summary_of
from results.observed import MOST_EVENTS

PAGE = Path(__file__).parent / "page"
KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
FILES = {path.name: path for path in PAGE.iterdir() if path.suffix[1:] in KINDS}
"""What is served besides JSON: these files and no other."""
LOOK_SECONDS, SILENCE_SECONDS, MOST_STREAMS = 0.2, 10.0, 64
MOST_EVENTS_AT_ONCE = 5000
LONGEST_SAID = 80
T = TypeVar("T")
View = Callable[[Request], Awaitable[Response]]


@dataclass
class Shown:
    """What the page shows, and may do."""

    runs: RunsFolder
    tokens: Tokens
    starter: Starter
    keeper: Keeper
    watched: Watched | None = None
    streams: int = 0


def answers(view: Callable[[Shown, Request], Awaitable[Any]]) -> View:
    """Wrap a view that returns JSON; what goes wrong becomes a status with one sentence."""

    async def wrapped(request: Request) -> Response:
        try:
            answer = await view(request.app.state.shown, request)
        except NoRunError as error:
            return JSONResponse({"error": str(error)}, 404)
        except (GrokfedError, ValueError) as error:
            return JSONResponse({"error": str(error)}, 400)
        except ClientDisconnect:
            return Response(status_code=400)
        return answer if isinstance(answer, Response) else FiniteJSONResponse(answer)

    return wrapped


class FiniteJSONResponse(JSONResponse):
    """JSON of what files say: a number that is not finite, which JSON does not have, is null."""

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return dumps(content).encode()


async def failed(request: Request, error: Exception) -> Response:
    """Answer what has no other answer in JSON; Starlette raises an unexpected error again, for the log."""
    if isinstance(error, HTTPException):
        called = f"{request.method} {request.url.path}"[:LONGEST_SAID]
        message = f"there is no call {called!r}; /api/openapi.json describes those there are"
        return JSONResponse({"error": message}, error.status_code, error.headers)
    kind = type(error).__name__
    return JSONResponse({"error": f"an unexpected {kind}, which is a fault of ours; the dashboard's log has it"}, 500)


def make_app(shown: Shown, *background: Callable[[], Awaitable[None]]) -> Starlette:
    """Return the application; `background` runs as long as it does."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        looking = keep_looking(shown.runs, shown.keeper)
        tasks = [asyncio.ensure_future(each) for each in (looking, *(each() for each in background))]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await shown.starter.close()

    handlers = {HTTPException: failed, Exception: failed}
    app = Starlette(routes=_routes(), lifespan=lifespan, exception_handlers=handlers)
    app.state.shown = shown
    app.add_middleware(Guard, tokens=shown.tokens)
    return app


def _routes() -> list[Route]:
    return [
        Route("/", _page),
        Route("/static/{name}", _static),
        Route("/favicon.ico", lambda _: Response(status_code=204)),
        Route("/api/about", answers(about)),
        Route("/api/openapi.json", answers(openapi)),
        Route("/api/runs", answers(all_runs)),
        Route("/api/runs", answers(start), methods=["POST"]),
        Route("/api/dry-run", answers(dry), methods=["POST"]),
        Route("/api/started", answers(started)),
        Route("/api/runs/{id}", answers(one_run)),
        Route("/api/runs/{id}/events", answers(events)),
        Route("/api/runs/{id}/saw/{round:int}", answers(what_it_saw)),
        Route("/api/runs/{id}/stop", answers(stop), methods=["POST"]),
    ]


async def _page(_: Request) -> Response:
    return Response(FILES["index.html"].read_bytes(), media_type="text/html")


async def _static(request: Request) -> Response:
    path = FILES.get(request.path_params["name"])
    if path is None:
        return JSONResponse({"error": "there is no such file"}, 404)
    return Response(path.read_bytes(), media_type=KINDS[path.suffix[1:]])


async def about(shown: Shown, _: Request) -> dict[str, Any]:
    """Return what the page must know: what is shown, and whether runs may be started."""
    return {
        # For `python -m simulation` on this machine; a path is nothing for others.
        "runs": str(shown.runs.folder.resolve()) if shown.tokens.local else None,
        "server": shown.watched and shown.watched.address,
        "may_start": shown.tokens.allowed,
        "needs_access_token": shown.tokens.access is not None,
        "form_token": shown.tokens.form if shown.tokens.allowed else None,
        "tasks": list(TASKS),
        "schemes": list(SCHEMES),
    }


async def openapi(_: Shown, _request: Request) -> dict[str, Any]:
    """Return the description of all this."""
    return document()


async def all_runs(shown: Shown, _: Request) -> dict[str, Any]:
    """Return a row for each run, the newest first."""
    rows = await asyncio.to_thread(lambda: [summary_of(record) for record in shown.runs.all()])
    watched = [] if shown.watched is None else [shown.watched.summary()]
    return {"runs": [*watched, *rows]}


async def one_run(shown: Shown, request: Request) -> dict[str, Any]:
    """Return everything about one run that has a number."""
    if (watched := _watched(shown, request)) is not None:
        return watched.detail()
    return await asyncio.to_thread(detail_of, shown.runs.find(request.path_params["id"]))


async def what_it_saw(shown: Shown, request: Request) -> dict[str, Any]:
    """Return what the aggregator saw of a round."""
    if _watched(shown, request) is not None:
        return {
            "available": False,
            "why": "an observer is shown no update and no sum; only a simulated run shows its own",
        }
    record, number = shown.runs.find(request.path_params["id"]), request.path_params["round"]
    return await asyncio.to_thread(saw, record, shown.keeper, number)


async def start(shown: Shown, request: Request) -> Response:
    """Start a simulation."""
    run = await shown.starter.start(wanted_from(await _form(request)))
    return JSONResponse(run.said(), 201)


async def _form(request: Request) -> Any:
    """Return what was sent. Raises SettingsError if it is no JSON."""
    try:
        return await request.json()
    except (ValueError, RecursionError):
        raise SettingsError('the form is not JSON; expected an object such as {"clients": 5, "rounds": 5}') from None


async def dry(_: Shown, request: Request) -> dict[str, Any]:
    """Return what such a run would cost."""
    return await dry_run(wanted_from(await _form(request)))


async def started(shown: Shown, _: Request) -> dict[str, Any]:
    """Return the simulations that were started here."""
    return {"started": shown.starter.said()}


async def stop(shown: Shown, request: Request) -> dict[str, Any]:
    """Stop a simulation that was started here."""
    name = request.path_params["id"]
    if not shown.starter.stop(name):
        raise SettingsError(f"{name[:80]!r} is no run that was started here and still goes on")
    return {"stopping": name}


async def events(shown: Shown, request: Request) -> Response:
    """Return the events of a run: as they come, to who accepts a stream of events; else those there are."""
    watched = _watched(shown, request)
    record = None if watched is not None else shown.runs.find(request.path_params["id"])
    place = _place(request)
    read = (
        (lambda after: _from_server(watched, after))
        if watched is not None
        else (lambda after: _from_file(record, after))
    )
    if "text/event-stream" not in request.headers.get("accept", ""):
        found = await asyncio.to_thread(read, place)
        return FiniteJSONResponse({"events": [event for event, _ in found], "next": found[-1][1] if found else place})
    if shown.streams >= MOST_STREAMS:
        return JSONResponse({"error": f"{MOST_STREAMS} pages follow runs already; close some"}, 503)
    stream = _stream(shown, read, lambda: record is None or record.going_on, place)
    return StreamingResponse(stream, media_type="text/event-stream")


def _place(request: Request) -> int:
    said = request.headers.get("last-event-id") or request.query_params.get("after", "0")
    if not said.isdecimal() or len(said) > 15:
        raise SettingsError(f"after is {said[:40]!r}; expected what `next` said before, or 0")
    return int(said)


Read = Callable[[int], list[tuple[Any, int]]]


async def _stream(shown: Shown, read: Read, going_on: Callable[[], bool], place: int) -> AsyncIterator[str]:
    shown.streams += 1
    silent = 0.0
    try:
        while True:
            alive = await asyncio.to_thread(going_on)
            found = await asyncio.to_thread(read, place)
            for event, after in found:
                yield f"id: {after}\ndata: {dumps(event)}\n\n"
                place, silent = after, 0.0
            if found:
                continue
            if not alive:
                yield "event: end\ndata: {}\n\n"
                return
            if silent >= SILENCE_SECONDS:
                yield ": still here\n\n"
                silent = 0.0
            await asyncio.sleep(LOOK_SECONDS)
            silent += LOOK_SECONDS
    finally:
        shown.streams -= 1


def _from_file(record: RunRecord | None, place: int) -> list[tuple[Any, int]]:
    assert record is not None
    found = []
    for event in record.events(place):
        found.append(event)
        if len(found) >= MOST_EVENTS_AT_ONCE:
            break
    return found


def _from_server(watched: Watched, place: int) -> list[tuple[Any, int]]:
    return [(event, number) for number, event in watched.after(place)][:MOST_EVENTS]


def _watched(shown: Shown, request: Request) -> Watched | None:
    return shown.watched if request.path_params["id"] == SERVER else None
