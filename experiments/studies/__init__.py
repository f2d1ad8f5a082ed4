"""The studies: one question each about what leaks, to whom, and what a defence buys. Imported when asked for.

A study named word-leakage is the constant STUDY of word_leakage.py in this folder.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from core.errors import SettingsError
from experiments.study import Study


def names() -> list[str]:
    """Return the names of all studies, in alphabetical order."""
    return sorted(found.name.replace("_", "-") for found in iter_modules(__path__) if not found.name.startswith("_"))


def get_study(name: str) -> Study:
    """Return the study of this name; raise SettingsError if there is none."""
    if name not in names():
        raise SettingsError(f"there is no experiment {name!r}; there are {', '.join(names())}")
    study: Study = import_module(f"{__name__}.{name.replace('-', '_')}").STUDY
    return study
