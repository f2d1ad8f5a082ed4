"""Read a file of a data set whole, compressed or not; whatever is wrong with it is one sentence."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

from core.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"


def find_file(folder: Path | str, name: str) -> Path:
    """Return the path of a file in a folder, as it is or with .gz appended; raise DataError if there is neither."""
    folder = Path(folder)
    if not folder.exists():
        raise DataError(f"there is no folder {folder} with {name}")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file, not a folder with {name}")
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise DataError(f"{folder} holds neither {name} nor {name}.gz")


def read_bytes(path: Path | str) -> bytes:
    """Return the content of a file, unpacked if it is gzip; raise DataError if it cannot be read or is cut short."""
    path = Path(path)
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == GZIP_MAGIC else content
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def read_text(path: Path | str) -> str:
    r"""Return the text of a UTF-8 file, unpacked if it is gzip, with \n line ends.

    Raises DataError if it cannot be read, is not UTF-8, or holds nothing but spaces.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: byte {error.start} is {error.object[error.start]:#04x}") from error
    if not text.strip():
        raise DataError(f"{path} is empty; expected text")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path | str) -> list[str]:
    """Return the lines of a text file; raise DataError as `read_text` does."""
    return read_text(path).removesuffix("\n").split("\n")
