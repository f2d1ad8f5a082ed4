"""The experiments of each chapter, by its number. A chapter's module is imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from book.run import Chapter
from core.errors import SettingsError

PREFIX = "chapter_"


def numbers() -> list[int]:
    """Return the chapters that have experiments, in order."""
    names = [found.name for found in iter_modules(__path__)]
    return sorted(int(name.removeprefix(PREFIX)) for name in names if name.startswith(PREFIX))


def get_chapter(number: int) -> Chapter:
    """Return one chapter's experiments; raise SettingsError if it has none."""
    if number not in numbers():
        raise SettingsError(f"chapter {number} has no experiments; there are {', '.join(map(str, numbers()))}")
    chapter: Chapter = import_module(f"{__name__}.{PREFIX}{number:02}").CHAPTER
    return chapter
