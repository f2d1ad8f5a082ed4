"""Show runs on a page, while they run and afterwards.

python -m dashboard
python -m dashboard --runs runs --listen 127.0.0.1:8080
python -m dashboard --server HOST:PORT --identity runs/federation/observer
"""

from __future__ import annotations

import core.quiet_interrupts  # isort: skip
import core.one_thread  # isort: skip  # noqa: F401

import asyncio
import os
import socket
from functools import partial

import typer
import uvicorn

from core.console import configure_log, reporting_errors
from core.enrolling import EnrolSettings, enroll
from core.errors import SettingsError
from core.identity.members import Role
from core.identity.party import PartyIdentity, load_identity
from core.program import Program
from core.settings.command_line import Given, options_of
from dashboard.app import Shown, make_app
from dashboard.guard import Tokens
from dashboard.live import Watched, follow, until_over
from dashboard.records import RunsFolder
from dashboard.saw import Keeper
from dashboard.settings import DashboardSettings, host_and_port
from dashboard.starting import Starter

app = Program(__doc__)
MOST_CONNECTIONS = 256


@app.callback(invoke_without_command=True)
@options_of(DashboardSettings)
def show(context: typer.Context, given: Given) -> None:
    """Show the page until Ctrl-C."""
    if context.invoked_subcommand is not None:
        return
    configure_log(quiet=True)
    with reporting_errors():
        settings = given.make(DashboardSettings)
        runs, identity = RunsFolder(settings.runs), None
        if settings.server is not None:
            identity = load_identity(settings.identity, settings.passphrase_file, Role.OBSERVER)
        with _listening(settings.listen) as listening:
            host, port = listening.getsockname()[:2]
            shown_host = f"[{host}]" if ":" in host else host
            everywhere = host in ("0.0.0.0", "::")  # noqa: S104  how it is shown, not where it listens
            lines = [f"the dashboard is at http://{'127.0.0.1' if everywhere else shown_host}:{port}"]
            if not settings.runs.exists():
                lines.append(f"there is no folder {settings.runs} yet; its runs are shown as soon as it is there")
            print("\n".join(lines), flush=True)
            asyncio.run(_serve(settings, runs, identity, listening))


@app.command(name="enroll")
@options_of(EnrolSettings)
def enroll_party(given: Given) -> None:
    """Make this observer's keys, and have the registrar that invited it certify them."""
    configure_log()
    with reporting_errors():
        enroll(Role.OBSERVER, given.make(EnrolSettings))


def _listening(listen: str) -> socket.socket:
    """Return a socket that listens. Raises SettingsError if the address is in use or not this machine's."""
    host, port = host_and_port(listen)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {listen}: {os.strerror(error.errno or 0)}; pass another --listen"
        ) from error


async def _serve(
    settings: DashboardSettings, runs: RunsFolder, identity: PartyIdentity | None, listening: socket.socket
) -> None:
    tokens = Tokens(settings.token, allowed=settings.loopback or settings.token is not None)
    shown = Shown(runs, tokens, Starter(settings.runs), Keeper())
    background = []
    if identity is not None and settings.server is not None:
        shown.watched = Watched(settings.server)
        background.append(partial(follow, shown.watched, identity, plaintext=settings.insecure_plaintext))
    config = uvicorn.Config(
        make_app(shown, *background), log_level="error", access_log=False, limit_concurrency=MOST_CONNECTIONS,
        timeout_keep_alive=10, timeout_graceful_shutdown=1, h11_max_incomplete_event_size=32 << 10, server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    if shown.watched is not None and settings.until_over is not None:
        over = asyncio.create_task(until_over(shown.watched, lambda: shown.streams, settings.until_over))
        await asyncio.wait({serving, over}, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        server.should_exit = True
    await serving


if __name__ == "__main__":
    app()
