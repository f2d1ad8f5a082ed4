"""The studies: one question each about what leaks, to whom, and what a defence buys. Imported when asked for.

A study named word-leakage is the constant STUDY of word_leakage.py in this folder.
"""

from __future__ import annotations

from importlib import import_module

from core.errors import SettingsError
from experiments.study import Study

NAMES = (
    "word-leakage",
    "ciphertext-exponents",
    "sum-leakage",
    "differencing",
    "cheating-server",
    "cheating-client",
    "model-check",
    "image-inversion",
    "label-leakage",
    "membership",
    "property-inference",
    "backdoor",
    "text-memorisation",
    "weak-key",
    "randomised-response",
    "privacy-utility",
    "dp-audit",
    "matrix",
)
"""In the order in which they are best read: what one update says, what sums say, who cheats, what noise buys."""


def get_study(name: str) -> Study:
    """Return the study of this name; raise SettingsError if there is none."""
    if name not in NAMES:
        raise SettingsError(f"there is no experiment {name!r}; there are {', '.join(NAMES)}")
    study: Study = import_module(f"{__name__}.{name.replace('-', '_')}").STUDY
    return study
