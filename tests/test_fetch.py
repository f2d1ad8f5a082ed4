"""Fetching files, from a server on loopback."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from core.data.fetch import FILES, PublicFile, choose, fetch
from core.errors import DataError, SettingsError

CONTENT = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; /cut breaks off half-way the first time."""

    ranges: list[str | None]
    cut = True

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        stop = 100_000 if self.path == "/cut" and not asked else len(CONTENT)
        self.wfile.write(CONTENT[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Handler.ranges = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def public_file(url: str, content: bytes = CONTENT) -> PublicFile:
    return PublicFile("it.bin", url, f"sha256:{hashlib.sha256(content).hexdigest()}")


def test_a_file_is_fetched_once(address: str, tmp_path: Path) -> None:
    for _ in range(2):
        assert fetch(public_file(f"{address}/whole"), tmp_path).read_bytes() == CONTENT
    assert Handler.ranges == [None]


def test_a_file_that_was_cut_off_is_continued(address: str, tmp_path: Path) -> None:
    file = public_file(f"{address}/cut")
    with pytest.raises(DataError, match="cannot be fetched"):
        fetch(file, tmp_path)
    assert not (tmp_path / "it.bin").exists()
    assert fetch(file, tmp_path).read_bytes() == CONTENT
    assert Handler.ranges == [None, "bytes=100000-"]
    assert [path.name for path in tmp_path.iterdir()] == ["it.bin"]


def test_a_wrong_checksum_is_refused_and_nothing_is_left(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="another checksum"):
        fetch(public_file(f"{address}/whole", b"other"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_no_network_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is there a network"):
        fetch(public_file("http://127.0.0.1:9/it"), tmp_path)


def test_data_sets_are_chosen_by_name() -> None:
    assert len(choose("mnist")) == 4
    assert len(choose("all")) == sum(map(len, FILES.values()))
    with pytest.raises(SettingsError, match="no data set 'cifar'"):
        choose("cifar")
