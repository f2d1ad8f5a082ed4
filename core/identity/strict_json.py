"""JSON that is exactly what is expected: no field unknown, missing, twice, or of another type; no fractions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from core.errors import DataError

_HEX = re.compile(r"(?:[0-9a-f]{2})*")


def parse(raw: bytes, what: str) -> Any:
    """Return the value of UTF-8 JSON text.

    Raises DataError, which names `what`, for anything else and for doubled fields.
    """
    try:
        return json.loads(
            raw.decode(), object_pairs_hook=_without_doubles, parse_float=_no_number, parse_constant=_no_number
        )
    except RecursionError:
        raise DataError(f"{what} is not JSON as expected: it is nested too deeply") from None
    except ValueError as error:
        raise DataError(f"{what} is not JSON as expected: {error}") from None


def canonical(value: Any) -> bytes:
    """Return the one form of a value that is signed: ASCII, sorted names, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def fields(value: Any, what: str, types: Mapping[str, type]) -> dict[str, Any]:
    """Return the object `value`, if it has exactly these fields with exactly these types. Raises DataError."""
    if type(value) is not dict:
        raise DataError(f"{what} is not a JSON object")
    if odd := sorted(set(value) ^ set(types)):
        raise DataError(f"{what} has not exactly the fields {', '.join(types)}: {', '.join(odd)[:80]!r} does not fit")
    for name, expected in types.items():
        if type(value[name]) is not expected:
            raise DataError(f"{name} in {what} is {type(value[name]).__name__}; expected {expected.__name__}")
    return value


def from_hex(text: str, what: str) -> bytes:
    """Return the bytes that lower-case hexadecimal digits stand for. Raises DataError."""
    if not _HEX.fullmatch(text):
        raise DataError(f"{what} is not written in lower-case hexadecimal digits")
    return bytes.fromhex(text)


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a field stands there twice")
    return made


def _no_number(text: str) -> Any:
    raise ValueError(f"{text[:20]} is not a whole number")
