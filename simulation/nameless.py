"""Files for the parts of real data that clients are dealt: without a name on the disk, so that nothing can stay there.

The system frees such a file when the process that made it is gone, however that came about. Until then a link leads to
it, under another name, which other processes of this user can open. Where the system has no such files, they are
ordinary ones, and removed at the end.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from core.errors import StorageError


class NamelessFolder:
    """A folder of links to nameless files: `folder / name` makes one, to be written and read by its path."""

    def __init__(self) -> None:
        self._folder = Path()
        self._open: list[int] = []

    def __enter__(self) -> NamelessFolder:
        try:
            self._folder = Path(tempfile.mkdtemp(prefix="grokfed-"))
        except OSError as error:
            raise StorageError(f"no folder can be made for what clients are dealt: {error.strerror}") from error
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open:
            os.close(descriptor)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __truediv__(self, name: str) -> Path:
        path = self._folder / name
        held = Path(f"/proc/{os.getpid()}/fd")
        try:
            _allow_one_more(len(self._open))
            descriptor = os.open(self._folder, os.O_TMPFILE | os.O_RDWR, 0o600)
        except (OSError, AttributeError):  # a system, or a disk, that has none
            return path
        self._open.append(descriptor)
        path.symlink_to(held / str(descriptor))
        return path


def _allow_one_more(number: int) -> None:
    """Let this process have as many files open as the system allows it, before it comes to what it has now."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if number + 100 > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
