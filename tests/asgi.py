"""Ask an ASGI application without any network."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

HOST = {"host": "127.0.0.1:8080"}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def ask(app: Any, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
    """Send one request to the application, and collect its whole answer."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
        "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8080),
    }  # fmt: skip
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        if waiting:
            return waiting.pop(0)
        await asyncio.Event().wait()
        raise AssertionError("an event that is never set")

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    return Answer(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, content)


def get(app: Any, target: str, **headers: str) -> Answer:
    """Ask for something as the page itself would."""
    return asyncio.run(ask(app, "GET", target, HOST | headers))


def post(app: Any, target: str, content: Any, headers: dict[str, str]) -> Answer:
    """Post JSON with its usual headers and these; a header that is empty is left out."""
    body = json.dumps(content).encode()
    usual = HOST | {"content-type": "application/json", "content-length": str(len(body))}
    every = {name: value for name, value in (usual | headers).items() if value}
    return asyncio.run(ask(app, "POST", target, every, body))
