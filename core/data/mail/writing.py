"""Write mails in the simplest format: a line each."""

from __future__ import annotations

import gzip
from collections.abc import Iterable
from pathlib import Path

from core.data.mail.kinds import Mail
from core.errors import StorageError


def write_tsv(path: Path | str, mails: Iterable[Mail]) -> None:
    """Write mails as lines `label<TAB>text`, compressed if the name ends in .gz; the same mails give the same bytes.

    Line ends and other spaces in a text become single spaces: the model sees the same words.
    Raises StorageError if the file cannot be written.
    """
    path = Path(path)
    lines = (f"{'spam' if mail.spam else 'ham'}\t{' '.join(mail.text.split())}\n" for mail in mails)
    content = "".join(lines).encode("utf-8", "replace")
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)
    try:
        path.write_bytes(content)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error
