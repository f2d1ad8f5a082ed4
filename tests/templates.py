"""Federations that are made once in a test process, and then copied: keys and certificates take a second."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from registrar.federation import make_federation
from simulation.registered import deal_keys

TEMPLATES: list[Path] = []
"""The folder they lie in, as soon as the tests begin."""


@dataclass(frozen=True)
class Shape:
    """A federation as a test wants it, with round keys dealt ahead."""

    clients: int = 3
    holders: int = 3
    threshold: int = 2
    scheme: str = "paillier"
    bits: int = 256
    keys: int = 8


def copy_federation(shape: Shape, to: Path) -> Path:
    """Copy a federation of this shape to a new folder, and return that."""
    return Path(shutil.copytree(_made(shape), to))


def deal(federation: Path, shape: Shape, day: int | None = None) -> None:
    """Deal the shape's keys in this process, as if `day` (days since 1970-01-01) were today."""
    deal_keys(federation, shape.keys, shape.scheme, shape.bits, day)


@cache
def _made(shape: Shape) -> Path:
    folder = TEMPLATES[-1] / secrets.token_hex(8)
    if shape.keys:
        copy_federation(replace(shape, scheme="", bits=0, keys=0), folder)
        deal(folder, shape)
    else:
        members = {"clients": shape.clients, "holders": shape.holders, "threshold": shape.threshold}
        make_federation(folder, **members, now=datetime.now(UTC))
    return folder
