"""The dashboard's command: where it listens, when it ends by itself, and how a simulation finds its address."""

from __future__ import annotations

import http.server
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dashboards import Dashboard
from typer.testing import CliRunner

from core.errors import SettingsError
from core.identity.members import Role
from core.identity.party import load_identity, read_card
from core.wire import federation_pb2 as pb
from dashboard.__main__ import _listening
from dashboard.live import GONE_SECONDS, Watched, until_over
from dashboard.settings import DashboardSettings
from registrar.__main__ import app as registrar
from registrar.folder import read_own_roster
from results.page import page_of


@contextmanager
def answering(content: bytes) -> Iterator[str]:
    """A server on loopback that answers everything with this; gives its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_simulation_is_told_the_page_of_its_own_folder_only(tmp_path: Path) -> None:
    with answering(json.dumps({"runs": str(tmp_path)}).encode()) as address:
        assert page_of(tmp_path / "spam 1", address) == f"http://{address}/#/live/spam%201"
        assert page_of(tmp_path / "other" / "spam-1", address) is None
    assert page_of(tmp_path / "spam-1", address) is None, "no one listens any more"


@pytest.mark.parametrize("content", [b"not json", b"[]", b'{"runs": null}', b""])
def test_another_program_at_that_port_is_no_page(tmp_path: Path, content: bytes) -> None:
    with answering(content) as address:
        assert page_of(tmp_path / "spam-1", address) is None


def test_a_port_in_use_is_one_sentence() -> None:
    with _listening("127.0.0.1:0") as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsError, match=rf"cannot listen on {address}: Address already in use; pass another"):
            _listening(address)


@pytest.mark.parametrize(("phase", "ends"), [("finished", True), ("failed", True), ("committing", False)])
async def test_it_ends_when_the_run_is_over_and_no_page_is_open(phase: str, ends: bool) -> None:
    watched = Watched("192.0.2.1:1")
    watched.take(pb.Progress(phase=phase))
    watched.changed = time.monotonic() - 60
    assert await _ended(watched, pages=0) is ends
    assert not await _ended(watched, pages=1)


async def test_it_ends_when_the_aggregator_is_gone_for_good() -> None:
    watched = Watched("192.0.2.1:1")
    watched.lose("no answer")
    watched.changed = time.monotonic() - GONE_SECONDS / 2
    assert not await _ended(watched, pages=0)
    watched.changed = time.monotonic() - GONE_SECONDS - 1
    assert await _ended(watched, pages=0)


async def _ended(watched: Watched, pages: int) -> bool:
    """Whether `until_over` returns at its first look."""
    coroutine = until_over(watched, lambda: pages, 30.0)
    try:
        coroutine.send(None)
    except StopIteration:
        return True
    coroutine.close()
    return False


def test_until_over_needs_an_aggregator_to_watch() -> None:
    assert DashboardSettings(server="192.0.2.1:1", until_over=1.0).until_over == 1.0
    with pytest.raises(SettingsError, match="--until-over is 1, which only a watched aggregator has; add --server"):
        DashboardSettings(until_over=1.0)


def test_the_registrar_makes_an_observer_with_the_federation_or_later(tmp_path: Path) -> None:
    folder = tmp_path / "federation"
    made = ("init", str(folder), "--clients", "2", "--min-cohort", "2", "--holders", "1", "--threshold", "1")
    run = CliRunner()
    assert run.invoke(registrar, [*made, "--observer", "board"]).exit_code == 0
    assert run.invoke(registrar, ["add-observer", str(folder), "teacher"]).exit_code == 0
    observers = read_own_roster(folder / "registrar").observers
    assert [(each.name, each.number) for each in observers] == [("board", 1), ("teacher", 2)]
    assert read_card(folder / "board").role is Role.OBSERVER
    assert load_identity(folder / "teacher", None, Role.OBSERVER).name == "teacher"
    again = run.invoke(registrar, [*made, "--if-missing", "--observer", "stranger"])
    assert (again.exit_code, "expected an observer named stranger" in again.output) == (1, True)
    assert run.invoke(registrar, [*made, "--if-missing", "--observer", "board"]).exit_code == 0


def test_a_folder_of_runs_that_is_not_there_yet_is_named(tmp_path: Path) -> None:
    """It is said after the address, and not where there is one."""
    for runs, said in (
        (tmp_path / "later", f"there is no folder {tmp_path / 'later'} yet; its runs are shown as"),
        (tmp_path, ""),
    ):
        dashboard = Dashboard(runs)
        dashboard.process.send_signal(signal.SIGINT)
        assert dashboard.process.stdout is not None
        more = dashboard.process.stdout.read().removesuffix("stopped\n")
        dashboard.process.wait(20)
        dashboard.process.stdout.close()
        assert more.startswith(said)
        assert bool(more) == bool(said)
