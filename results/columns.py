"""Values and columns as text for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def said(value: Any) -> str:
    """Return a setting's or an outcome's value for people."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def aligned(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return lines of columns as wide as their widest cell, columns of numbers to the right; no empty heading."""
    lines = [*([list(headings)] if any(headings) else []), *map(list, cells)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headings))]
    right = [all(_is_number(line[place]) for line in cells) for place in range(len(headings))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in lines
    )


def _is_number(text: str) -> bool:
    return text == "-" or text.removeprefix("-")[:1].isdigit()
