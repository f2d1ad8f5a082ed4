"""The hash of several parts: what proofs and statements are bound to."""

from __future__ import annotations

import hashlib


def hash_parts(*parts: bytes) -> bytes:
    """Return SHA-256 of parts, each after its length, so that no two lists of parts look alike."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()
