"""Limits that modules with nothing else in common must agree on."""

from __future__ import annotations

import re

MOST_HOLDERS = 10
"""Key holders of a federation. The masks of key shares are sized for this number (core.secagg.sharing)."""
PARTY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A party's name; it is a folder's name too."""
