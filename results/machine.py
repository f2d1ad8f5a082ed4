"""What a model's bytes may depend on besides its settings: versions, the processor, data, the commit of the code."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from core.errors import DataError
from core.program import version

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("numpy", "gmpy2", "grpcio", "protobuf", "cryptography")
"""Packages whose versions are noted."""
CHUNK = 1 << 20


@cache
def versions() -> dict[str, str]:
    """Return the versions of Python, this program, the packages it computes with, and the platform."""
    import numpy as np

    found = {"python": platform.python_version(), "grokfed": version()}
    found |= {name: _version(name) for name in PACKAGES}
    found["platform"] = f"{sys.platform} {platform.machine()}"
    blas: Any = np.show_config(mode="dicts")
    blas = blas["Build Dependencies"]["blas"]
    found["blas"] = f"{blas.get('name', '?')} {blas.get('version', '')}".strip()
    return found


@cache
def processor() -> dict[str, Any]:
    """Return the processor's name, and how many of them this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"name": _processor_name(), "count": count}


@cache
def git_commit() -> str:
    """Return the commit of the code, with "-dirty" if files were changed since; empty where there is no git."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def data_digests(settings: Mapping[str, Any], without: Iterable[str] = ()) -> dict[str, dict[str, Any]]:
    """Return the digest of every file and folder that the settings name, by option.

    A value counts if it is the path of something that is there, or `PATH:NAME` with such a path.

    Args:
        without: options whose paths are not read, such as the folder of results.
    """
    skipped = set(without)
    paths = {option: path_in(value) for option, value in settings.items() if option not in skipped}
    return {option: _said_of(path) for option, path in paths.items() if path is not None}


def _said_of(path: Path) -> dict[str, Any]:
    """Return the digest of data, or why there is none: a file that no one can read ends no run."""
    try:
        return digest_of(path)
    except DataError as error:
        return {"path": str(path.resolve()), "sha256": None, "problem": str(error)}


def path_in(value: Any) -> Path | None:
    """Return the path of an existing file that a setting's value names, if it names one; a Path may be of a folder."""
    if isinstance(value, Path):
        return value.expanduser() if value.expanduser().exists() else None
    if not isinstance(value, str) or not value:
        return None
    for text in (value, value.rpartition(":")[0]):
        path = Path(text).expanduser()
        if text and ("/" in text or "." in text) and _is_file(path):
            return path
    return None


def digest_of(path: Path) -> dict[str, Any]:
    """Return path, bytes and SHA-256 of a file; of a folder, over the names and digests of all files in it.

    Raises DataError if it cannot be read.
    """
    try:
        if path.is_file():
            return {"path": str(path.resolve()), "bytes": path.stat().st_size, "sha256": _sha256(path)}
        files = sorted(each for each in path.rglob("*") if each.is_file())
        total = hashlib.sha256()
        for each in files:
            total.update(f"{each.relative_to(path)}\0{_sha256(each)}\n".encode(errors="surrogateescape"))
        size = sum(each.stat().st_size for each in files)
    except OSError as error:
        raise DataError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    return {"path": str(path.resolve()), "bytes": size, "files": len(files), "sha256": total.hexdigest()}


def _sha256(path: Path) -> str:
    found = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _processor_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor()
