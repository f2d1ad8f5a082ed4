"""Small files, whole or not at all: written next to their place, made durable, then renamed into it."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from core.errors import DataError, StorageError

SECRET = 0o600
PUBLIC = 0o644


def write_file(path: Path, content: bytes, mode: int) -> None:
    """Put `content` at `path` atomically and durably. Raises StorageError.

    The file never has more permissions than `mode`, not even while it is empty.
    """
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(path.parent)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror}") from error


def read_file(path: Path, largest: int) -> bytes:
    """Return the content of a file of at most `largest` bytes.

    Raises DataError if it is missing, unreadable or longer.
    """
    try:
        with path.open("rb") as file:
            content = file.read(largest + 1)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > largest:
        raise DataError(f"{path} has more than {largest} bytes, which is more than such a file can have")
    return content


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
