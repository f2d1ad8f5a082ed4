"""Characters that a console does not know, written with those that every console knows."""

from __future__ import annotations

import codecs
import sys
import unicodedata

WRITTEN = {
    "ε": "epsilon", "δ": "delta", "σ": "sigma", "ρ": "rho", "μ": "mu",
    "±": "+-", "×": "x", "·": ".", "−": "-", "–": "-",
    "—": "-", "≥": ">=", "≤": "<=", "≈": "~", "→": "->", "←": "<-", "²": "2", "³": "3", "…": "...", "“": '"', "”": '"',
    "„": '"', "’": "'", "‘": "'", "─": "-", "━": "-", "│": "|", "✓": "+", "•": "*", "∑": "sum", "√": "root", "°": "deg",
}  # fmt: skip
NAME = "written-plainly"


def write_plainly(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what cannot be encoded: by its letters without accents, by a word for it, or by a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(character: str) -> str:
    letters = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode("ascii")
    return WRITTEN.get(character) or letters or "?"


def print_on_any_console() -> None:
    """Let standard output and error take every character from now on; elsewhere than on a console nothing changes."""
    codecs.register_error(NAME, write_plainly)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure") and "utf" not in (stream.encoding or "").lower():
            stream.reconfigure(errors=NAME)
