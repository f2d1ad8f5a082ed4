"""Write mails in the simplest format: a line each."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

from core.data.mail.kinds import Mail
from core.errors import StorageError


def write_tsv(path: Path | str, mails: Iterable[Mail]) -> None:
    """Write mails as lines `label<TAB>text`, compressed if the name ends in .gz; the same mails give the same bytes.

    Line ends and other spaces in a text become single spaces: the model sees the same words.
    Raises StorageError if the file cannot be written.
    """
    path = Path(path)
    try:
        with path.open("wb") as file:
            if path.suffix != ".gz":
                file.writelines(_lines(mails))
                return
            with gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
                packed.writelines(_lines(mails))
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _lines(mails: Iterable[Mail]) -> Iterator[bytes]:
    for mail in mails:
        yield f"{'spam' if mail.spam else 'ham'}\t{' '.join(mail.text.split())}\n".encode("utf-8", "replace")
