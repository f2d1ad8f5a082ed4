"""Mails and mailboxes for tests, small enough to read."""

from __future__ import annotations

from pathlib import Path

SEPARATOR = b"From ann@example.org Thu Jan  1 00:00:00 2026\n"


def mail(body: str = "At noon?", headers: str = "", subject: str = "Lunch") -> bytes:
    """Return the source of a mail."""
    return f"From: ann@example.org\nTo: bob@example.org\nSubject: {subject}\n{headers}\n{body}\n".encode()


def write_mbox(path: Path, *mails: bytes, separator: bytes = SEPARATOR) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(separator + raw + b"\n" for raw in mails))
    return path


def write_file(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def make_maildir(path: Path, **files: bytes) -> Path:
    """Make a Maildir. The names of files in `cur` are given as `cur_NAME`, with their flags."""
    for name in ("cur", "new", "tmp"):
        (path / name).mkdir(parents=True, exist_ok=True)
    for name, raw in files.items():
        write_file(path / name.replace("_", "/", 1), raw)
    return path


def multipart(kind: str, *parts: str, boundary: str = "x") -> bytes:
    """Return a mail of parts, each with its headers, an empty line and a body."""
    body = "".join(f"--{boundary}\n{part}\n" for part in parts)
    return mail(f"{body}--{boundary}--", f'MIME-Version: 1.0\nContent-Type: multipart/{kind}; boundary="{boundary}"\n')


PLAIN = "Content-Type: text/plain\n\n"
HTML = "Content-Type: text/html\n\n"
