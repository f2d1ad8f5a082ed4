"""Who together can read one client's update: computed from how keys are shared and how large a sum must be.

Said in the same words in the terminal, in report.md, in WHO-GETS-WHAT.txt and in the README. Each statement is held
against what the attacks of `python -m experiments cheating-server` get (tests/test_who_reads.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from core.wording import counted

DEFAULT_HOLDERS, DEFAULT_THRESHOLD = 4, 3
"""With one dishonest holder of four, any two groups of three still have an honest one in common."""
DEFAULT_MIN_COHORT, DEFAULT_COLLUDERS = 5, 1


def least_contributors(min_cohort: int, max_colluders: int) -> int:
    """Return how many contributors a sum needs, so that at least two are left that `max_colluders` cannot tell apart.

    A minimum cohort of one asks for no protection, and gets none.
    """
    return min_cohort if min_cohort < 2 else max(min_cohort, 2 + max_colluders)


@dataclass(frozen=True)
class WhoReads:
    """What sharing keys `threshold` of `holders`, and sums of at least `contributors`, leave possible.

    Attributes:
        noise: the noise multiplier of a private run; 0 without.
        groups: how many sums each round opens.
    """

    threshold: int
    holders: int
    contributors: int
    noise: float = 0.0
    groups: int = 1

    @property
    def colluders(self) -> int:
        """How many contributors of the smallest sum, with the aggregator, read the last one's update."""
        return self.contributors - 1

    @property
    def openers(self) -> int:
        """How many key holders, alone or with the aggregator, read everything."""
        return self.threshold

    @property
    def twice(self) -> int:
        """How many key holders, with the aggregator and a client, can have two sums of one round opened.

        Any two groups of t holders share 2 t - n. If all of these are dishonest, no honest holder sees both.
        """
        return 2 * self.threshold - self.holders

    @property
    def sentence(self) -> str:
        """Who together reads what, for people."""
        return " ".join([self._contributors, self._holders, *([self._noise] if self.noise else [])])

    @property
    def _contributors(self) -> str:
        who = "Whoever controls the aggregator and all but one contributor of a sum reads that one's update"
        if self.contributors < 2:
            return "A sum of one contributor is that one's update: whoever sees the opened sum reads it."
        sums, each = "sums have", ""
        if self.groups > 1:
            sums, each = f"each round opens the sums of {self.groups} groups, which have", " each"
        return f"{who}; {sums} at least {self.contributors} contributors{each}, so that takes {self.colluders} of them."

    @property
    def _holders(self) -> str:
        if self.threshold == 1:
            return "The key holder reads everything." if self.holders == 1 else "Each key holder reads everything."
        everything = f"{self.openers} of the {self.holders} key holders together read everything."
        if self.twice >= self.threshold:
            return everything
        few, cannot = counted(self.twice, "dishonest key holder"), self.twice - 1
        fewer = f"; {cannot} cannot" if cannot else ""
        return (
            f"{everything} With the aggregator and a client, {few} can have two sums of one round opened, and so "
            f"read a single update{fewer}."
        )

    @property
    def _noise(self) -> str:
        return (
            f"All that is read this way carries noise: a sum that of the whole cohort ({self.noise:g} times the clip "
            "norm), a single update only its own share of it."
        )
