"""Places for results: no earlier result is ever written over, and two programs never share a folder."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from core.errors import StorageError

TRIES, TRY_SECONDS = 3, 0.01
_claimed: dict[Path, int] = {}
"""Descriptors of the folders that this process has claimed, kept open so that their locks last as long as it does."""


def new_folder(wanted: Path) -> Path:
    """Make a new folder `wanted`, or `wanted`-2, `wanted`-3, ... if that is taken. An empty folder is not taken.

    Of several processes that want the same folder at once, each gets a different one. Raises StorageError.
    """
    try:
        return next(folder for folder in numbered(wanted) if _claim(folder))
    except OSError as error:
        raise StorageError(f"the results cannot be written to {wanted}: {error.strerror}") from error


def claim_again(folder: Path) -> bool:
    """Claim a folder with results for this process; False if another process has it, or it cannot be opened."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return False
    for _ in range(TRIES):  # a reader that looks whether it is claimed holds it for a moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(TRY_SECONDS)
        else:
            _claimed[folder] = descriptor
            return True
    os.close(descriptor)
    return False


def release(folder: Path) -> None:
    """Let other processes claim a folder that this one has claimed; nothing if it has not."""
    descriptor = _claimed.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)


def new_file(wanted: Path) -> Path:
    """Return `wanted`, or the first of NAME-2.SUFFIX, NAME-3.SUFFIX, ... that is not there. Nothing is made."""
    return next(path for path in numbered(wanted) if not path.exists())


def free_file(wanted: Path) -> Path:
    """Return `wanted` as it is where no file would be written over (a device is none), else as `new_file`."""
    return new_file(wanted) if wanted.is_file() else wanted


def numbered(path: Path) -> Iterator[Path]:
    """Yield the path, and then the same with -2, -3 and so on before its suffix."""
    yield path
    stem, suffix = (path.name, "") if path.is_dir() else (path.stem, path.suffix)
    number = 2
    while True:
        yield path.with_name(f"{stem}-{number}{suffix}")
        number += 1


def _claim(folder: Path) -> bool:
    """Make the folder, or take an empty one; return False if it holds something or another process has claimed it."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    with suppress(BlockingIOError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not any(folder.iterdir()):
            _claimed[folder] = descriptor
            return True
    os.close(descriptor)
    return False
