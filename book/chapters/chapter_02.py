"""Chapter 2: learning by counting, and finding unnamed groups."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from book.chapters.small_networks import exact_all
from book.data.toys import FloatArray, crowds, streetlights
from book.finding import Finding, at_most, shown
from book.grouping import IntArray, k_means, scale_features, share_of_yes, soft_groups
from book.run import Chapter, Run

BoolArray = npt.NDArray[np.bool_]

GROUPS = 3
DRAWN, HOME, AWAY, SPREAD = 2_000, 100_000, 50_000, 20_000
UNSURE = 0.8  # below this the other group has a good chance


def run(run: Run) -> Iterator[Finding]:
    yield from count_walkers()
    yield from group_crowds(run)
    yield from home_or_away(run)


def count_walkers() -> Iterator[Finding]:
    """Which lamp tells whether people walk? Count how often they do when it is lit."""
    lamps, walk = streetlights()
    yield from exact_all("share who walk when the lamp is lit", share_of_yes(lamps, walk[:, 0]), [1 / 3, 1, 1 / 2])


def group_crowds(run: Run) -> Iterator[Finding]:
    """Do seven matches fall into groups by themselves, and how firmly?"""
    matches = crowds()
    scaled = scale_features(matches)
    members = k_means(scaled, GROUPS, run.rng(0)).members
    for number in dict.fromkeys(members.tolist()):
        yield shown("matches found together", describe(matches[members == number]))
    alike = sum(_same(members, k_means(scaled, GROUPS, run.rng(1, start)).members) for start in range(100))
    yield shown("the same groups from 100 other starts", alike, "d")
    unscaled = k_means(matches, GROUPS, run.rng(2)).members
    yield shown("the same groups if fans are not scaled to the size of home and away", str(_same(members, unscaled)))
    surest = soft_groups(scaled, GROUPS, run.rng(0)).shares.max(axis=1)
    yield shown("softly, too: so far apart, the least sure match belongs to its group by", float(surest.min()), ".1%")
    draw_crowds(run, matches, members)


def home_or_away(run: Run) -> Iterator[Finding]:
    """Can the size of the crowd alone tell a home match from an away match, where crowds vary and overlap?

    Matches are drawn around two of the crowds above. What soft groups say is held against the truth they never saw:
    of all matches said to be home to 70 %, 70 % should be.
    """
    home = np.arange(DRAWN) % 2 == 0
    fans = np.maximum(run.rng(3).normal(np.where(home, HOME, AWAY), SPREAD), 0)
    groups = soft_groups(scale_features(fans[:, None]), 2, run.rng(4))
    shares = groups.shares[:, groups.centres[:, 0].argmax()]
    right, surest = (shares > 0.5) == home, np.maximum(shares, 1 - shares)
    yield shown(f"{DRAWN:,} crowds drawn, about 100k at home and 50k away: grouped right", float(right.mean()), ".1%")
    yield at_most(
        "  gap to how sure soft groups are, on average", abs(surest.mean() - right.mean()), 0.03, ".1%", anywhere=True
    )
    unsure = surest < UNSURE
    yield shown(f"  matches that belong to both groups by more than {1 - UNSURE:.0%}", float(unsure.mean()), ".1%")
    yield shown("  how sure soft groups are of these", float(surest[unsure].mean()), ".1%")
    yield shown("  share of these that are right", float(right[unsure].mean()), ".1%")
    draw_overlap(run, fans, home, shares)


def describe(matches: FloatArray) -> str:
    """Write matches of shape (n, 2) as words."""
    return ", ".join(f"{'home' if home else 'away'} {came / 1000:.0f}k" for home, came in matches)


def _same(one: IntArray, other: IntArray) -> bool:
    """Tell whether two groupings are the same up to a renumbering."""
    return bool(np.array_equal(one[:, None] == one, other[:, None] == other))


def draw_crowds(run: Run, matches: FloatArray, members: IntArray) -> None:
    """Draw the seven matches, equal ones above each other."""
    from book.pictures.style import COLOURS, MARKERS, new_figure, style  # only here: matplotlib takes long to import

    with style():
        figure = new_figure(6.4, 3.2, "Seven matches in three groups")
        axes = figure.subplots()
        nearby = [
            sum(bool(np.allclose(earlier, match, atol=2_000)) for earlier in matches[:number])
            for number, match in enumerate(matches)
        ]
        heights = matches[:, 0] + 0.13 * np.array(nearby)
        for number, group in enumerate(dict.fromkeys(members.tolist())):
            inside = members == group
            axes.scatter(
                matches[inside, 1] / 1000,
                heights[inside],
                s=70,
                color=COLOURS[number],
                marker=MARKERS[number],
                label=f"group {number + 1}",
            )
        axes.set(xlabel="fans who came (thousands)", xlim=(0, 110), ylim=(-0.4, 1.6))
        axes.set_yticks([0, 1], ["away", "home"])
        axes.legend(loc="lower right")
    run.save("crowds", figure)


def draw_overlap(run: Run, fans: FloatArray, home: BoolArray, shares: FloatArray) -> None:
    """Draw the crowds at home and away, and how far a crowd of each size belongs to the group of large ones."""
    from book.pictures.style import COLOURS, DASHES, new_figure, style

    with style():
        figure = new_figure(6.4, 4.8, "Home or away, by the crowd alone")
        counts, belonging = figure.subplots(2, 1, sharex=True)
        bins = np.arange(fans.min(), fans.max() + 5_000, 5_000) / 1000
        for number, (name, chosen) in enumerate((("away", ~home), ("home", home))):
            counts.hist(
                fans[chosen] / 1000,
                bins,
                histtype="step",
                linewidth=1.8,
                color=COLOURS[number],
                linestyle=DASHES[number],
                label=name,
            )
        counts.set_ylabel("matches per 5,000 fans")
        counts.legend(loc="upper right")
        order = fans.argsort()
        belonging.plot(fans[order] / 1000, shares[order], color=COLOURS[2], label="soft groups")
        belonging.step(
            fans[order] / 1000,
            shares[order] > 0.5,
            color=COLOURS[6],
            linestyle=DASHES[1],
            linewidth=1.2,
            label="one group or the other",
        )
        belonging.set(xlabel="fans who came (thousands)", ylabel="belongs to the\ngroup of large crowds")
        belonging.legend(loc="center right")
        figure.align_ylabels()
    run.save("soft-groups", figure)


CHAPTER = Chapter(2, "counting, and unnamed groups", run)
