"""Take chosen files out of a published archive (zip, tar, tar.gz) without trusting what else it holds.

Names inside an archive never become paths: the caller names the files it wants, and where they go. Links, devices and
files larger than any of ours are not read.
"""

from __future__ import annotations

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import DataError

LARGEST = 1 << 24
"""Bytes; the largest file that is taken out of an archive."""

Wanted = Callable[[str], bool]


def read_members(archive: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of each plain file in an archive whose name is wanted, in the archive's order.

    Raises DataError if it is no archive, is damaged or cut short, or a file that is wanted is too large.
    """
    with _one_sentence(archive):
        reader = _read_zip if zipfile.is_zipfile(archive) else _read_tar
        yield from reader(archive, wanted)


def _read_zip(archive: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            if wanted(entry.filename) and not entry.is_dir():
                _check_size(archive, entry.filename, entry.file_size)
                yield entry.filename, opened.read(entry)


def _read_tar(archive: Path, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive, "r|*") as opened:  # one pass; going back and forth would unpack again and again
        for entry in opened:
            name = entry.name.removeprefix("./")
            if wanted(name) and entry.isreg():
                _check_size(archive, name, entry.size)
                content = opened.extractfile(entry)
                assert content is not None  # None only if it is no plain file
                yield name, content.read()


def _check_size(archive: Path, name: str, size: int) -> None:
    if size > LARGEST:
        raise DataError(f"{archive} holds {name} of {size:,} bytes; at most {LARGEST:,} are expected")


@contextmanager
def _one_sentence(archive: Path) -> Iterator[None]:
    """Turn what the libraries for archives raise into DataError."""
    try:
        yield
    # RuntimeError is zipfile's word for entries that need a password or an unknown compression.
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, RuntimeError, OSError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}") from error
