"""What an experiment found: a number, the book's, and whether the goal is reached."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import isclose

EXACT = 1e-6  # relative: figures that depend on no random numbers agree to this


class Kind(StrEnum):
    """How a number is held against its goal."""

    EQUAL = "="
    AT_LEAST = "≥"
    AT_MOST = "≤"


class Verdict(StrEnum):
    """What came of a goal."""

    REACHED = "reached"
    MISSED = "missed"
    NOT_COMPARED = "not compared"
    NONE = ""


@dataclass(frozen=True)
class Finding:
    """One line of an experiment's table.

    Attributes:
        what: what was measured.
        value: what came out; a text for what is no number.
        form: how numbers are written, as in a format string.
        book: what the book prints, for the reader to compare; empty where it prints nothing.
        kind: how the value is held against the goal; None if there is no goal.
        goal: the number to meet.
        anywhere: whether the goal holds on any data, and in the quick form too.
        digits: how many significant digits of an exact figure are known; None if it must agree to a millionth.
    """

    what: str
    value: float | str
    form: str = ".4g"
    book: str = ""
    kind: Kind | None = None
    goal: float = 0.0
    anywhere: bool = False
    digits: int | None = None

    @property
    def written(self) -> str:
        return self.value if isinstance(self.value, str) else format(self.value, self.form)

    @property
    def written_goal(self) -> str:
        if self.kind is None:
            return ""
        return "the same" if self.kind is Kind.EQUAL else f"{self.kind} {format(self.goal, self.form)}"

    def verdict(self, comparable: bool) -> Verdict:
        """Hold the value against the goal.

        Args:
            comparable: whether this was the full form on the book's data. Goals that hold anywhere are compared always.
        """
        if self.kind is None or isinstance(self.value, str):
            return Verdict.NONE
        if self.kind is Kind.EQUAL:
            return _verdict(_same(self.value, self.goal, self.digits))
        if not (comparable or self.anywhere):
            return Verdict.NOT_COMPARED
        return _verdict(self.value >= self.goal if self.kind is Kind.AT_LEAST else self.value <= self.goal)


def exact(what: str, value: float, book: float, form: str = "", *, digits: int | None = None) -> Finding:
    """Record a figure of the book that depends on no random numbers: it must agree to a millionth.

    Args:
        form: left out, it shows the digits that are compared, ten at most.
        digits: significant digits that the book prints, where they are fewer: rounded to as many, both are the same.
    """
    form = form or f".{digits or 10}g"
    return Finding(what, value, form, format(book, form), Kind.EQUAL, book, anywhere=True, digits=digits)


def at_least(
    what: str, value: float, goal: float, form: str = ".2%", book: str = "", *, anywhere: bool = False
) -> Finding:
    """Record a figure that should not be less than the goal (an accuracy, say)."""
    return Finding(what, value, form, book, Kind.AT_LEAST, goal, anywhere)


def at_most(
    what: str, value: float, goal: float, form: str = ".2f", book: str = "", *, anywhere: bool = False
) -> Finding:
    """Record a figure that should not be more than the goal (a perplexity, say)."""
    return Finding(what, value, form, book, Kind.AT_MOST, goal, anywhere)


def shown(what: str, value: float | str, form: str = ".4g", book: str = "") -> Finding:
    """Record something worth seeing that has no goal."""
    return Finding(what, value, form, book)


def _same(value: float, goal: float, digits: int | None) -> bool:
    if digits is not None:
        return format(value, f".{digits - 1}e") == format(goal, f".{digits - 1}e")
    # Rounding errors may keep a number from being 0; of any other, however small, 0 is no approximation.
    return isclose(value, goal, rel_tol=EXACT, abs_tol=0.0 if goal else 1e-12)


def _verdict(met: bool) -> Verdict:
    return Verdict.REACHED if met else Verdict.MISSED
