"""Fetching files, from a server on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from book.data import archives
from book.data.fetch import bring, fetch, fetch_folder, fetch_members
from book.data.published import FILES, ONLY_BY_NAME, Member, PublicFile, PublicFolder, PublicMembers, choose
from core.data.reviews import read_reviews
from core.errors import DataError, SettingsError, StorageError

CONTENT = bytes(range(256)) * 1000
STORIES = {"en/one.txt": b"Mary went home.\n", "en/two.txt": b"John went out.\n"}


class Handler(BaseHTTPRequestHandler):
    """Serves `content`; /cut breaks off half-way the first time."""

    ranges: list[str | None]
    content = CONTENT

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(self.content) - start))
        self.end_headers()
        stop = 100_000 if self.path == "/cut" and not asked else len(self.content)
        self.wfile.write(self.content[start:stop])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    Handler.ranges, Handler.content = [], CONTENT
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def public_file(url: str, content: bytes = CONTENT) -> PublicFile:
    return PublicFile("it.bin", url, checksum(content))


def checksum(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, target in (links or {}).items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            archive.addfile(link)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def pack_zip(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def stories(address: str, served: bytes, archive_checksum: str | None = None) -> PublicMembers:
    """The two stories of STORIES, in an archive that the server is to hand out."""
    Handler.content = served
    members = tuple(Member(path, Path(path).name, checksum(content)) for path, content in STORIES.items())
    return PublicMembers(PublicFile("it.tar.gz", f"{address}/whole", archive_checksum), members)


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
    with pytest.raises(DataError, match="is there a network\\?$"):
        fetch(public_file("http://127.0.0.1:9/it"), tmp_path)


def test_nothing_at_the_address_is_one_sentence(tmp_path: Path, address: str) -> None:
    class Missing(Handler):
        def do_GET(self) -> None:
            self.send_error(404, "Not Found")

    with ThreadingHTTPServer(("127.0.0.1", 0), Missing) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(DataError, match="cannot be fetched: Not Found"):
                fetch(public_file(f"http://127.0.0.1:{server.server_port}/it"), tmp_path)
        finally:
            server.shutdown()
            thread.join()


# --- A gzip file known by what it holds ---


def pixels(address: str, served: bytes, holds: bytes = CONTENT) -> PublicFile:
    Handler.content = served
    return PublicFile("it.gz", f"{address}/whole", checksum(served), checksum(holds))


def test_a_gzip_file_is_checked_unpacked_too(address: str, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT, mtime=1)
    assert fetch(pixels(address, packed), tmp_path).read_bytes() == packed
    with pytest.raises(DataError, match="does not hold what has the checksum"):
        fetch(pixels(address, packed, holds=b"other"), tmp_path)
    assert names_in(tmp_path) == []


def test_the_same_content_compressed_at_another_time_stays(address: str, tmp_path: Path) -> None:
    (tmp_path / "it.gz").write_bytes(gzip.compress(CONTENT, mtime=2))
    file = pixels(address, gzip.compress(CONTENT, mtime=1))
    assert fetch(file, tmp_path).read_bytes() == gzip.compress(CONTENT, mtime=2)
    assert Handler.ranges == []


def test_a_gzip_file_cut_short_is_fetched_again(address: str, tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT, mtime=1)
    (tmp_path / "it.gz").write_bytes(packed[:-20])
    assert fetch(pixels(address, packed), tmp_path).read_bytes() == packed


def test_every_mnist_file_is_known_by_what_it_holds() -> None:
    files = [item for item in FILES["mnist"] if isinstance(item, PublicFile)]
    assert {file.name: file.unpacked for file in files} == {
        "train-images-idx3-ubyte.gz": "md5:6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte.gz": "md5:a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte.gz": "md5:2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte.gz": "md5:27ae3e4e09519cfbb04c329615203637",
    }


# --- Files in archives ---


@pytest.mark.parametrize("pack", [tar, pack_zip], ids=["tar.gz", "zip"])
def test_the_chosen_files_of_an_archive_are_fetched_once(
    pack: Callable[[dict[str, bytes]], bytes], address: str, tmp_path: Path
) -> None:
    wanted = stories(address, pack({"readme": b"not wanted", **STORIES}))
    for _ in range(2):
        places = fetch_members(wanted, tmp_path)
        assert [place.read_bytes() for place in places] == list(STORIES.values())
    assert names_in(tmp_path) == ["one.txt", "two.txt"]
    assert Handler.ranges == [None]


def test_an_archive_that_was_cut_off_is_continued(address: str, tmp_path: Path) -> None:
    noise = hashlib.shake_128(b"it").digest(200_000)  # does not compress, so that 100,000 bytes are half of it
    wanted = stories(address, tar({**STORIES, "noise": noise}))
    cut = PublicMembers(PublicFile("it.tar.gz", f"{address}/cut", None), wanted.members)
    with pytest.raises(DataError, match="cannot be fetched"):
        bring(cut, tmp_path)
    assert len(bring(cut, tmp_path)) == 2
    assert Handler.ranges == [None, "bytes=100000-"]


def test_a_member_that_is_damaged_outside_is_fetched_again(address: str, tmp_path: Path) -> None:
    wanted = stories(address, tar(STORIES))
    fetch_members(wanted, tmp_path)
    (tmp_path / "two.txt").write_bytes(b"cut sh")
    fetch_members(wanted, tmp_path)
    assert (tmp_path / "two.txt").read_bytes() == STORIES["en/two.txt"]


@pytest.mark.parametrize(
    ("served", "sentence"),
    [
        (tar({**STORIES, "en/two.txt": b"John stayed.\n"}), "en/two.txt in .* has another checksum"),
        (tar({"en/one.txt": STORIES["en/one.txt"]}), "holds no file en/two.txt"),
        (tar({"en/one.txt": STORIES["en/one.txt"]}, {"en/two.txt": "/etc/hostname"}), "holds no file en/two.txt"),
        (tar(STORIES)[:-30], "cannot be unpacked"),
        (pack_zip(STORIES)[:-30], "cannot be unpacked"),
        (pack_zip(STORIES).replace(b"one.txt", b"ONE.TXT", 1), "cannot be unpacked: File name in directory"),
        (CONTENT, "cannot be unpacked"),
        (b"", "cannot be unpacked"),
    ],
    ids=["changed", "missing", "a link", "cut tar", "cut zip", "torn zip", "no archive", "empty"],
)
def test_an_archive_that_cannot_be_right_is_one_sentence_and_leaves_nothing(
    served: bytes, sentence: str, address: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=sentence):
        fetch_members(stories(address, served), tmp_path)
    assert names_in(tmp_path) == []


def test_an_archive_with_another_checksum_is_not_even_opened(address: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/whole has another checksum than sha256"):
        fetch_members(stories(address, tar(STORIES), checksum(b"other")), tmp_path)
    assert names_in(tmp_path) == []


def test_what_else_an_archive_holds_goes_nowhere(address: str, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    served = tar({"../outside.txt": b"x", "/tmp/outside.txt": b"x", "en/../one.txt": b"x", **STORIES})
    fetch_members(stories(address, served), folder)
    assert names_in(tmp_path) == ["data"]
    assert names_in(folder) == ["one.txt", "two.txt"]


@pytest.mark.parametrize("pack", [tar, pack_zip], ids=["tar.gz", "zip"])
def test_a_file_larger_than_any_of_ours_is_not_unpacked(
    pack: Callable[[dict[str, bytes]], bytes], address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "LARGEST", 15)
    with pytest.raises(DataError, match="en/one.txt of 16 bytes; at most 15 are expected"):
        fetch_members(stories(address, pack(STORIES)), tmp_path)


def test_a_folder_that_cannot_be_written_is_a_storage_error_and_keeps_the_archive(address: str, tmp_path: Path) -> None:
    (tmp_path / "one.txt.partial").mkdir()
    with pytest.raises(StorageError, match="cannot be written"):
        fetch_members(stories(address, tar(STORIES)), tmp_path)
    assert names_in(tmp_path) == ["it.tar.gz", "one.txt.partial"]


# --- A whole folder of an archive ---

REVIEWS = {
    f"aclImdb/{half}/{kind}/0_9.txt": f"{half} {kind}".encode() for half in ("train", "test") for kind in ("pos", "neg")
}


def reviews(address: str, served: bytes, files: int = 4) -> PublicFolder:
    Handler.content = served
    (published,) = FILES["aclimdb"]
    assert isinstance(published, PublicFolder)
    archive = PublicFile("it.tar.gz", f"{address}/whole", checksum(served))
    return PublicFolder(archive, published.name, published.pattern, files)


def test_the_film_reviews_are_unpacked_as_their_loader_reads_them(address: str, tmp_path: Path) -> None:
    useless = {"aclImdb/README": b"x", "aclImdb/train/unsup/0_0.txt": b"x", "aclImdb/test/pos/../../../0_9.txt": b"x"}
    wanted = reviews(address, tar({**useless, **REVIEWS}))
    for _ in range(2):
        assert fetch_folder(wanted, tmp_path) == tmp_path / "aclImdb"
    assert read_reviews(tmp_path, "test").texts == ["test pos", "test neg"]
    assert names_in(tmp_path) == ["aclImdb"]
    assert names_in(tmp_path / "aclImdb" / "train") == ["neg", "pos"]
    assert Handler.ranges == [None]


def test_a_folder_comes_whole_or_not_at_all(address: str, tmp_path: Path) -> None:
    (tmp_path / "aclImdb.partial").mkdir()  # of a run that was killed
    with pytest.raises(DataError, match="holds 4 files for .*aclImdb; 5 are expected"):
        fetch_folder(reviews(address, tar(REVIEWS), files=5), tmp_path)
    assert names_in(tmp_path) == []


def test_a_folder_that_is_there_in_part_is_not_touched(address: str, tmp_path: Path) -> None:
    (tmp_path / "aclImdb" / "train" / "pos").mkdir(parents=True)
    (tmp_path / "aclImdb" / "train" / "pos" / "0_9.txt").write_text("mine")
    with pytest.raises(DataError, match="holds 1 of 4 files; remove it"):
        fetch_folder(reviews(address, tar(REVIEWS)), tmp_path)
    assert (tmp_path / "aclImdb" / "train" / "pos" / "0_9.txt").read_text() == "mine"
    assert Handler.ranges == []


def test_data_sets_are_chosen_by_name() -> None:
    assert len(choose("mnist")) == 4
    assert set(choose("all")) == {item for name, items in FILES.items() if name not in ONLY_BY_NAME for item in items}
    assert choose("aclimdb")[0] not in choose("all")
    with pytest.raises(SettingsError, match="no dataset 'cifar'"):
        choose("cifar")
