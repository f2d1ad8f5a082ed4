"""Files as they lie there: plain, or packed by gzip, bzip2 or xz, whatever they are called."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Literal, cast

PACKED: dict[bytes, Callable[[Path, Literal["rb"]], object]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
PACKED_ENDINGS = (".gz", ".bz2", ".xz")
TROUBLE = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a file can raise: that it cannot be read, is damaged, or is cut short."""


def open_unpacked(path: Path) -> BinaryIO:
    """Open a file for reading bytes; one that is packed, or named so, is unpacked on the way.

    Raises OSError (gzip.BadGzipFile for a file that is only named so); reading can raise any of `TROUBLE`.
    """
    with path.open("rb") as file:
        start = file.read(6)
    for magic, opener in PACKED.items():
        if start.startswith(magic):
            return cast(BinaryIO, opener(path, "rb"))
    if path.suffix == ".gz" and start:
        raise gzip.BadGzipFile("it does not begin as gzip does")
    return path.open("rb")


def read_start(path: Path, length: int) -> bytes:
    """Return the first bytes of a file, unpacked."""
    with open_unpacked(path) as file:
        return file.read(length)


def plain_name(path: Path) -> str:
    """Return the name of a file without what its packing adds."""
    return path.stem if path.suffix.lower() in PACKED_ENDINGS else path.name
