"""What every request must pass before it reaches a view, and what every answer carries.

The page shows names that others chose, and a browser on this machine also opens pages of strangers. So: a Host header
that a stranger's domain could not have (DNS rebinding), no content but the page's own, and for whatever changes
something a token that only the page itself was given.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LARGEST_BODY = 16 << 10
LONGEST_TARGET = 2000
"""Bytes of a path with its query."""
FORM_TOKEN, ACCESS_TOKEN = "x-form-token", "x-access-token"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Tokens:
    """Who may change something.

    Attributes:
        form: drawn at every start, and told to the page: a page of another origin cannot read it.
        access: typed by a person, if one was set; None where no one but this machine can reach the page.
        allowed: whether anything may be changed at all.
    """

    access: str | None
    allowed: bool
    form: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the page."""
        return self.allowed and self.access is None

    def refuse(self, headers: Headers) -> str | None:
        """Say why a request may not change anything; None if it may."""
        if not self.allowed:
            return "runs are started and stopped on this machine only; start the dashboard with --token to allow it"
        if not _same(headers.get(FORM_TOKEN), self.form):
            return "the form's token is missing or of an earlier start; load the page again"
        if self.access is not None and not _same(headers.get(ACCESS_TOKEN), self.access):
            return "the access token is missing or wrong; type the one that the dashboard was started with"
        return None


class Guard:
    """The outermost layer of the application.

    Args:
        names: further names that the page may be asked for by.
    """

    def __init__(self, app: ASGIApp, tokens: Tokens, names: frozenset[str] = frozenset()) -> None:
        self._app = app
        self._tokens = tokens
        self._names = names | {"localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or let the request through with a bounded body; add the headers to either."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            status, message = refusal
            await JSONResponse({"error": message}, status)(scope, receive, _with_headers(send))
            return
        await self._app(scope, _bounded(receive), _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers, method = Headers(scope=scope), scope["method"]
        host = headers.get("host", "")
        if not self._knows(host):
            return 421, f"the page is not {host[:80]!r}; ask for it by its address, or as localhost"
        if len(scope["raw_path"]) + len(scope["query_string"]) > LONGEST_TARGET:
            return 414, f"the address has more than {LONGEST_TARGET} bytes"
        if method in ("GET", "HEAD"):
            return None
        if method != "POST":
            return 405, f"{method[:20]} is not a call of this page"
        return self._refused_post(headers, host)

    def _refused_post(self, headers: Headers, host: str) -> tuple[int, str] | None:
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            return 403, "the form is of another page"
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return 415, "the content must be application/json"
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > LARGEST_BODY:
            return 413, f"the content must have a length of at most {LARGEST_BODY} bytes"
        why = self._tokens.refuse(headers)
        return None if why is None else (403, why)

    def _knows(self, host: str) -> bool:
        """Return whether no stranger's domain can be this host: it is an address, or one of our own names."""
        try:
            name = urlsplit(f"//{host}").hostname if host.isascii() else None
        except ValueError:
            return False
        if name is None:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names
        return True


def _bounded(receive: Receive) -> Receive:
    left = LARGEST_BODY

    async def bounded() -> Message:
        nonlocal left
        message = await receive()
        left -= len(message.get("body", b""))
        return message if left >= 0 else {"type": "http.disconnect"}

    return bounded


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers[name] = value
        await send(message)

    return sending


def _same(given: str | None, wanted: str) -> bool:
    return given is not None and hmac.compare_digest(given.encode(), wanted.encode())
