"""Learning without gradients (chapter 2): counting, and finding groups among points.

    >>> import numpy as np
    >>> from book.grouping import k_means
    >>> groups = k_means(np.array([[0.0], [1.0], [10.0], [11.0]]), 2, np.random.default_rng(1))
    >>> sorted(groups.centres[:, 0].tolist())
    [0.5, 10.5]

Which group has which number is chance: compare groupings up to a renumbering.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.ops import Array
from core.randomness import Rng, generator

IntArray = npt.NDArray[np.int64]


def share_of_yes(inputs: npt.ArrayLike, answers: npt.ArrayLike, *, smoothing: float = 0.0) -> Array:
    """Count how often the answer is yes among the rows where each input is on.

    Args:
        inputs: 0 or 1, shape (rows, inputs).
        answers: 0 or 1, shape (rows,).
        smoothing: added to the count of yes and to that of no. With 1, add-one smoothing, what was seen only once is
            not taken for certain, and an input that is never on has the share one half.

    Returns:
        One share an input, shape (inputs,); NaN, without smoothing, for an input that is never on.
    """
    if not smoothing >= 0:
        raise ValueError(f"smoothing must be at least 0, not {smoothing}")
    on, yes = np.asarray(inputs, float), np.asarray(answers, float)
    if on.ndim != 2 or yes.shape != on.shape[:1]:
        raise ValueError(f"answers of shape {yes.shape} do not fit inputs of shape {on.shape}")
    times_on = on.sum(axis=0) + 2 * smoothing
    shares: Array = np.divide(yes @ on + smoothing, times_on, out=np.full(len(times_on), np.nan), where=times_on > 0)
    return shares


def scale_features(points: npt.ArrayLike) -> Array:
    """Bring each column to mean 0 and spread 1, so that no unit of measure outweighs the others.

    A column of equal numbers becomes 0.
    """
    points = np.asarray(points, float)
    spread = points.std(axis=0)
    scaled: Array = (points - points.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scaled


@dataclass(frozen=True)
class Groups:
    """Points in groups.

    Attributes:
        centres: shape (groups, features).
        members: the number of each point's group, shape (points,).
    """

    centres: Array
    members: IntArray


def k_means(points: npt.ArrayLike, groups: int, rng: Rng, steps: int = 100) -> Groups:
    """Find groups: put each point with the nearest centre, move each centre to the middle of its points, repeat.

    Centres start at points far from each other (k-means++; Arthur and Vassilvitskii, 2007). A group that loses all
    its points starts again at the point farthest from its centre.

    Args:
        points: shape (points, features). Scale them first if their units differ.

    Raises:
        ValueError: there are fewer distinct points than groups.
    """
    points = _checked(points, groups)
    centres = _spread_out(points, groups, generator(rng))
    for _ in range(steps):
        distances = _squared_distances(points, centres)
        members = distances.argmin(axis=1)
        _fill_empty(members, distances)
        moved = np.stack([points[members == group].mean(axis=0) for group in range(groups)])
        if np.array_equal(moved, centres):
            break
        centres = moved
    return Groups(centres, members)


@dataclass(frozen=True)
class SoftGroups:
    """Points that belong to every group, more to one than to others.

    Attributes:
        centres: shape (groups, features).
        shares: how much each point belongs to each group, shape (points, groups); each row sums to 1.
    """

    centres: Array
    shares: Array


def soft_groups(points: npt.ArrayLike, groups: int, rng: Rng, steps: int = 100) -> SoftGroups:
    """Fit a mixture of round Gaussians of one width by expectation and maximisation, started from `k_means`.

    Args:
        points: shape (points, features). Scale them first if their units differ.

    Raises:
        ValueError: there are fewer distinct points than groups.
    """
    points = _checked(points, groups)
    shares = np.eye(groups)[k_means(points, groups, rng).members]
    least = 1e-6 * points.var()  # groups of equal points would have no width to divide by
    for _ in range(steps):
        weights = shares.sum(axis=0)
        centres = shares.T @ points / weights[:, None]
        squares = _squared_distances(points, centres)
        variance = (shares * squares).sum() / points.size + least
        logs = np.log(weights) - squares / (2 * variance)
        likelihoods = np.exp(logs - logs.max(axis=1, keepdims=True))
        shares = likelihoods / likelihoods.sum(axis=1, keepdims=True)
        shares = np.maximum(shares, np.finfo(float).tiny)  # a group never loses its last point wholly
    return SoftGroups(centres, shares)


def _checked(points: npt.ArrayLike, groups: int) -> Array:
    points = np.asarray(points, float)
    if points.ndim != 2 or not np.isfinite(points).all():
        raise ValueError(f"points must be finite numbers of shape (points, features), not of shape {points.shape}")
    distinct = len(np.unique(points, axis=0))
    if not 1 <= groups <= distinct:
        raise ValueError(f"{groups} groups cannot be found among {distinct} distinct points")
    return points


def _spread_out(points: Array, groups: int, rng: np.random.Generator) -> Array:
    """Choose points as first centres, each the likelier the farther it is from those chosen before."""
    chosen = [points[rng.integers(len(points))]]
    while len(chosen) < groups:
        nearest = _squared_distances(points, np.stack(chosen)).min(axis=1)
        chosen.append(points[rng.choice(len(points), p=nearest / nearest.sum())])
    return np.stack(chosen)


def _fill_empty(members: IntArray, distances: Array) -> None:
    """Give each group without points the point farthest from its centre, of those that do not leave a group empty."""
    for empty in set(range(distances.shape[1])) - set(members.tolist()):
        alone = np.bincount(members)[members] == 1
        from_centre = np.where(alone, -1, distances[np.arange(len(members)), members])
        members[from_centre.argmax()] = empty


def _squared_distances(points: Array, centres: Array) -> Array:
    """Return shape (points, centres)."""
    squares: Array = ((points[:, None] - centres) ** 2).sum(axis=2)
    return squares
