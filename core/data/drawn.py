"""Digits that the project draws itself: MADE UP, for trying things with nothing downloaded. They are not MNIST.

Each digit is a line or two through a few points, as a hand would write it. Every picture moves the points a little,
turns, slants, stretches and shifts the whole, takes a pen of another width and pressure, and adds noise and often a
stray stroke. The same seed gives the same pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import numpy.typing as npt

from core.data.mnist import DIGITS, SIDE, Images
from core.errors import SettingsError

Points = npt.NDArray[np.float64]

# How each digit may be written: strokes (set apart by /) through points x,y in percent, x to the right and y down.
WAYS = (
    ("50,10 25,20 15,50 25,80 50,90 75,80 85,50 75,20 50,10",),
    ("50,10 50,90", "30,28 52,10 52,90", "30,28 52,10 52,90 / 30,90 74,90"),
    ("20,28 35,12 60,10 78,25 72,45 20,90 80,90", "22,25 50,10 76,28 60,55 25,82 40,74 55,88 80,84"),
    ("22,18 50,10 75,22 70,40 45,48 75,58 78,78 50,90 20,80", "22,12 75,12 45,42 74,56 74,80 45,90 20,80"),
    ("62,90 62,10 15,62 85,62", "25,10 22,50 78,50 / 72,12 70,90"),
    ("75,10 30,10 25,45 55,42 78,60 70,82 45,90 20,80", "32,10 28,44 60,44 76,66 55,90 22,84 / 32,10 76,10"),
    ("68,10 38,30 22,62 35,88 62,88 76,68 60,50 38,54 24,66",),
    ("18,12 80,12 45,90", "18,12 80,12 45,90 / 35,50 72,50"),
    ("50,48 25,30 40,11 62,11 76,28 50,48 22,68 36,89 64,89 80,70 50,48",),
    ("74,36 52,52 28,38 34,14 60,10 74,30 70,60 55,90", "74,34 50,50 27,34 45,11 72,16 74,34 74,90"),
)
JITTER = 0.035  # how far a point strays, as a share of the digit's height
STRAY_STROKES = 0.3  # how many of the pictures have one
HEIGHT = 20  # of a digit in pixels, as in MNIST
COLUMNS = np.arange(SIDE, dtype=np.float64)
ROWS = COLUMNS[:, None]


def drawn_digits(count: int, seed: int | Sequence[int], shares: npt.ArrayLike | None = None) -> Images:
    """Draw digits. They are made up: results on them say whether learning works, not how well it would on MNIST.

    Args:
        shares: how likely each of the ten digits is, adding up to 1; left out, all alike.

    Raises:
        SettingsError: fewer than one picture is asked for, or a seed is negative.
    """
    if count < 1:
        raise SettingsError(f"the number of drawn digits is {count}; it must be at least 1")
    if np.min(seed) < 0:
        raise SettingsError(f"the seed is {seed}; it must not be negative")
    rng = np.random.default_rng(seed)
    labels = rng.choice(DIGITS, count, p=None if shares is None else np.asarray(shares, np.float64))
    return Images(np.stack([_draw(int(label), rng) for label in labels]), labels.astype(np.int64))


def _draw(digit: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    way = WAYS[digit][rng.integers(len(WAYS[digit]))]
    starts, ends = _segments(way, rng)
    ink = _ink(starts, ends, width=rng.uniform(0.7, 1.5)) * rng.uniform(0.75, 1.0)
    if rng.random() < STRAY_STROKES:
        start = rng.uniform(2, SIDE - 2, (1, 2))
        ink = np.maximum(ink, 0.7 * _ink(start, start + rng.normal(0, 4, (1, 2)), width=0.7))
    noisy = ink + rng.normal(0, 0.08, ink.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


def _segments(way: str, rng: np.random.Generator) -> tuple[Points, Points]:
    """Return where the straight pieces of all strokes start and end, in pixels, each of shape (pieces, 2)."""
    strokes = _strokes(way)
    angle, slant = rng.normal(0, 0.12), rng.normal(0, 0.15)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    lean = np.array([[1.0, 0.0], [slant, 1.0]])
    matrix = lean @ turn * rng.uniform(0.8, 1.1, 2) * HEIGHT
    centre = SIDE / 2 - 0.5 + rng.uniform(-2.5, 2.5, 2)
    placed = [(stroke / 100 - 0.5 + rng.normal(0, JITTER, stroke.shape)) @ matrix + centre for stroke in strokes]
    return np.concatenate([points[:-1] for points in placed]), np.concatenate([points[1:] for points in placed])


@cache
def _strokes(way: str) -> list[Points]:
    return [np.array([point.split(",") for point in stroke.split()], np.float64) for stroke in way.split("/")]


def _ink(starts: Points, ends: Points, width: float) -> Points:
    """Darkness of each pixel, shape (28, 28): 1 within `width` of a line, falling to 0 over one pixel."""
    # x and y of each piece in an array of its own, shape (pieces, 1, 1), so that NumPy's loops are long ones.
    start_x, start_y = starts.T[:, :, None, None]
    along_x, along_y = (ends - starts).T[:, :, None, None]
    length = np.maximum(along_x**2 + along_y**2, 1e-9)
    share = (COLUMNS - start_x) * along_x + (ROWS - start_y) * along_y  # (pieces, 28, 28)
    share /= length
    np.clip(share, 0, 1, out=share)
    across_x, across_y = start_x + share * along_x, start_y + share * along_y
    across_x -= COLUMNS
    across_y -= ROWS
    across_x *= across_x
    across_y *= across_y
    distance = np.sqrt((across_x + across_y).min(axis=0))
    ink: Points = np.clip(width + 1 - distance, 0, 1)
    return ink
