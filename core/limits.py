"""Limits that modules with nothing else in common must agree on."""

from __future__ import annotations

import re

from core.errors import Reason, Refused

MOST_HOLDERS = 10
"""Key holders of a federation. The masks of key shares are sized for this number (core.secagg.sharing)."""
PARTY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A party's name; it is a folder's name too."""


def check_client_name(name: str) -> None:
    """Raise Refused(MALFORMED) unless this can be a party's name."""
    if not PARTY_NAME.fullmatch(name):
        raise Refused(
            Reason.MALFORMED,
            f"the client's name is {name[:80]!r}; expected 1 to 64 letters, digits, dots, dashes or underscores, "
            "the first a letter or digit",
        )
