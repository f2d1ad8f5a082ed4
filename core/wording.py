"""Numbers and names in sentences."""

from __future__ import annotations

from collections.abc import Sequence


def counted(number: int, thing: str, things: str = "") -> str:
    """Return a number and what it counts: `1 round`, `2 rounds`, and with an irregular plural `2 passes`."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def listing(names: Sequence[str]) -> str:
    """Join names as one writes them: `a, b and c`."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
