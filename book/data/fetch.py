"""Fetch public datasets from where their authors, or those who teach with them, publish them.

python -m book.data.fetch mnist --to data
python -m book.data.fetch all --to data

Whatever comes is checked against a known checksum before it gets its name. `aclimdb` comes only when asked for by name:
it is 84 MB in 50,000 files, and `reviews` has its training half in one. The Enron-Spam mails are not here, as no
checksum is published for them: get them by hand, and read them with `core.data.mail`.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import shutil
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import pooch  # type: ignore[import-untyped]
import typer
from rich.progress import Progress

from book.data.archives import read_members
from book.data.published import FILES, Member, Public, PublicFile, PublicFolder, PublicMembers, choose
from core.console import reporting_errors
from core.errors import DataError, StorageError

PIECE = 1 << 16
SECONDS = 30.0


def bring(item: Public, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Bring what is published as one item into a folder, unless it is there already; return where it is.

    Raises DataError or StorageError, as `fetch`, `fetch_members` and `fetch_folder`.
    """
    if isinstance(item, PublicMembers):
        return fetch_members(item, folder, progress)
    if isinstance(item, PublicFolder):
        return [fetch_folder(item, folder, progress)]
    return [fetch(item, folder, progress)]


def fetch(file: PublicFile, folder: Path, progress: Progress | None = None) -> Path:
    """Bring a file into a folder, unless it is there already; go on with one that was cut off.

    Raises:
        DataError: it cannot be reached, or has another checksum than the one known here.
        StorageError: the folder cannot be written.
    """
    if file.unpacked and _holds(folder / file.name, file.unpacked):
        return folder / file.name
    found = _retrieve(file, folder, progress)
    if file.unpacked and not _holds(found, file.unpacked):
        found.unlink(missing_ok=True)
        raise DataError(f"{file.url} does not hold what has the checksum {file.unpacked}: it was changed or damaged")
    return found


def fetch_members(wanted: PublicMembers, folder: Path, progress: Progress | None = None) -> list[Path]:
    """Bring the chosen files of an archive into a folder, unless all are there; the archive itself does not stay.

    Raises:
        DataError: as `fetch`; or it is no archive, lacks a file, or one has another checksum than the one known here.
        StorageError: the folder cannot be written.
    """
    places = {member.path: folder / member.name for member in wanted.members}
    if all(_is(places[member.path], member.checksum) for member in wanted.members):
        return list(places.values())
    archive = fetch(wanted.archive, folder, progress)
    with _unpacking(archive):
        contents = dict(read_members(archive, places.__contains__))
        for member in wanted.members:
            _check_member(member, contents, wanted.archive.url)
        for path, content in contents.items():
            partial = places[path].with_name(f"{places[path].name}.partial")
            partial.write_bytes(content)
            partial.replace(places[path])
    return list(places.values())


def fetch_folder(wanted: PublicFolder, folder: Path, progress: Progress | None = None) -> Path:
    """Bring a folder of an archive into a folder, unless it is there, whole or not at all; the archive does not stay.

    Raises:
        DataError: as `fetch`; or it is no archive, or has not as many files as it should have; or the folder is there
            already and has not. Nothing there is ever removed.
        StorageError: the folder cannot be written.
    """
    target = folder / wanted.name
    if target.exists():
        found = sum(wanted.pattern.fullmatch(path.relative_to(folder).as_posix()) is not None for path in _in(target))
        if found != wanted.files:
            raise DataError(f"{target} holds {found} of {wanted.files} files; remove it to fetch it anew")
        return target
    archive = fetch(wanted.archive, folder, progress)
    partial = folder / f"{wanted.name}.partial"
    with _unpacking(archive):
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        try:
            found = _unpack_folder(archive, wanted, partial)
            if found != wanted.files:
                raise DataError(f"{wanted.archive.url} holds {found} files for {target}; {wanted.files} are expected")
            partial.replace(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return target


def _unpack_folder(archive: Path, wanted: PublicFolder, place: Path) -> int:
    """Unpack the files of a folder to a place; return how many there are."""
    names = set()
    for name, content in read_members(archive, lambda name: wanted.pattern.fullmatch(name) is not None):
        path = place / Path(name).relative_to(wanted.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        names.add(name)
    return len(names)


@contextmanager
def _unpacking(archive: Path) -> Iterator[None]:
    """Remove the archive when it has served its purpose, or cannot; keep it if only the disk is at fault."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"{archive.parent} cannot be written: {error}") from error
    except DataError:
        archive.unlink(missing_ok=True)
        raise
    archive.unlink(missing_ok=True)


def _in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*.txt") if path.is_file())


def _check_member(member: Member, contents: dict[str, bytes], url: str) -> None:
    if member.path not in contents:
        raise DataError(f"{url} holds no file {member.path}")
    algorithm, _, expected = member.checksum.partition(":")
    if hashlib.new(algorithm, contents[member.path]).hexdigest() != expected:
        raise DataError(
            f"{member.path} in {url} has another checksum than {member.checksum}: it was changed or damaged"
        )


def _is(path: Path, checksum: str) -> bool:
    """Tell whether there is a file with this checksum."""
    algorithm, _, expected = checksum.partition(":")
    return path.is_file() and pooch.file_hash(str(path), algorithm) == expected


def _holds(path: Path, checksum: str) -> bool:
    """Tell whether there is a gzip file whose unpacked content has this checksum."""
    algorithm, _, expected = checksum.partition(":")
    try:
        with gzip.open(path) as content:
            return hashlib.file_digest(content, algorithm).hexdigest() == expected
    except (OSError, EOFError, zlib.error):
        return False


def _retrieve(file: PublicFile, folder: Path, progress: Progress | None) -> Path:
    pooch.get_logger().setLevel("WARNING")
    partial = folder / f"{file.name}.partial"

    def download(url: str, output: str, _pooch: object) -> None:
        _download(url, partial, progress, file.name)
        shutil.move(partial, output)

    try:
        folder.mkdir(parents=True, exist_ok=True)
        found = pooch.retrieve(file.url, file.checksum, fname=file.name, path=folder, downloader=download)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{file.url} cannot be fetched: {reason}; is there a network?"
            + (" What came is kept, try again later" if partial.exists() else "")
        ) from error
    except ValueError as error:  # pooch's word for it
        raise DataError(f"{file.url} has another checksum than {file.checksum}: it was changed or damaged") from error
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}") from error
    return Path(found)


def _download(url: str, partial: Path, progress: Progress | None, name: str) -> None:
    """Append to `partial` what it lacks."""
    done = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={done}-"} if done else {})  # noqa: S310  ours
    try:
        answer = urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        return  # nothing is lacking; the checksum decides whether that is so
    with answer:
        resumed = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        expected = int(answer.headers.get("Content-Length") or 0)
        bar = progress.add_task(name, total=expected or None) if progress else None
        received = 0
        with partial.open("ab" if resumed else "wb") as file:
            while piece := answer.read(PIECE):
                file.write(piece)
                received += len(piece)
                if progress is not None and bar is not None:
                    progress.update(bar, advance=len(piece))
    if received < expected:
        raise http.client.IncompleteRead(b"", expected - received)


def main(
    name: Annotated[str, typer.Argument(help=f"all, or one of {', '.join(FILES)}.")],
    to: Annotated[Path, typer.Option(help="The folder to put the files in.")] = Path("data"),
) -> None:
    """Fetch public datasets, with checksums; files that are there already stay."""
    with reporting_errors(), Progress() as progress:
        for item in choose(name):
            for path in bring(item, to, progress):
                progress.console.print(f"{path} is there")


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(main)
    app()
