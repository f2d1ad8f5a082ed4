"""What is wrong with the value of an option, in plain words in place of those of the library that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

_NOT = {
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "int_type": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "bool_parsing": "is neither on nor off",
}
LONGEST = 80


@contextmanager
def said_plainly() -> Iterator[None]:
    """Put plain words into a BadParameter that passes through."""
    try:
        yield
    except typer.BadParameter as error:
        found: list[Any] = getattr(error.__cause__, "errors", list)()
        if found and found[0]["type"] in _NOT:
            error.message = f"{str(found[0]['input'])[:LONGEST]!r} {_NOT[found[0]['type']]}"
        error.message = error.message.removeprefix("Value error, ").removesuffix(".")
        raise
