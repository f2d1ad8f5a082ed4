"""What a client does to its update before it is encrypted: clip, round, add noise. In whole numbers, and exactly.

    clip         shorten the update to the L2 norm C, if it is longer
    scale        multiply by 2^fraction_bits and round; shorten again until the norm of the integers, too, is at most
                 D = floor(C 2^fraction_bits). D is the sensitivity: the most that one client can move the sum.
    add noise    a discrete Gaussian of variance ceil((z D)^2 / (n_min - k_max)) to every value

The noise is divided among the clients (Kairouz, Liu and Steinke, ICML 2021): n_min - k_max of them together add z D, so
no party has to be trusted with it, and the aggregator and the key holders never see a sum that is not noisy. k_max
contributors may be against the others and add none, or take their own away again.

With a clip that adapts (Andrew et al., NeurIPS 2021) each client sends one more number, which says whether its update
was no longer than C: a bit of +h or -h steps, with the same noise. One client then moves the sum by at most
sqrt(D^2 + h^2), so that to promise z in all, the noise is z_u D with

    z_u = (z^-2 - (2 z_b)^-2)^(-1/2),     h = floor(z_u D / (2 z_b))

where z_b (`count_noise`) is the standard deviation of the noise on the number of such clients: the paper's theorem 1.

Rounding does not touch the argument: whatever came before, the integers' norm is compared with D in whole numbers.

The noisy integer has to fit the slot of the encoding. The scale is chosen so that D and 12 standard deviations of one
client's noise fit. Beyond them lie at most 2 exp(-72) < 10^-30 of the draws (the discrete Gaussian is sub-Gaussian, as
CKS 2020 show), for 2^26 weights in a million rounds less than 10^-16: four orders below the smallest delta allowed
here. Such a draw would be refused, not clipped.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor, isfinite, isqrt, sqrt
from typing import Annotated

import numpy as np
import numpy.typing as npt

from core.errors import GrokfedError, SettingsError
from core.privacy.discrete_gaussian import LARGEST_VARIANCE, RandomBytes, draw
from core.secagg.encoding import LARGEST_CHANGE
from core.settings.setting import Bounds, Setting, Settings

HEADROOM = 12
"""Standard deviations of one client's noise that fit into a slot with its update."""
SMALLEST_SIGMA = 2
"""In integer steps. From here on, sums of discrete Gaussians are as good as one (see server/accountant.py)."""
LARGEST_CLIP, SMALLEST_CLIP = 2.0**15, 2.0**-30
LARGEST_NOISE, SMALLEST_NOISE = 1e3, 1e-3
SMALLEST_DELTA, LARGEST_DELTA = 1e-12, 0.1
MOST_COLLUDERS = 1_000_000
LARGEST_BUDGET = 1_000_000

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Privacy(Settings):
    """What a run promises to every client: C, z, delta and k_max of the formulas above, and when to end.

    Raises SettingsError when made with values that cannot work.
    """

    clip_norm: Annotated[
        float,
        Setting(
            "With privacy: the largest L2 norm of a client's update; longer ones are shortened.",
            bounds=Bounds(at_least=SMALLEST_CLIP, at_most=LARGEST_CLIP),
        ),
    ]
    noise_multiplier: Annotated[
        float,
        Setting(
            "With privacy: standard deviation of the noise on a whole cohort's sum.",
            "times the clip norm",
            Bounds(at_least=SMALLEST_NOISE, at_most=LARGEST_NOISE),
        ),
    ]
    delta: Annotated[
        float,
        Setting(
            "With privacy: the probability with which the promise may fail.",
            bounds=Bounds(at_least=SMALLEST_DELTA, at_most=LARGEST_DELTA),
        ),
    ] = 1e-5
    max_colluders: Annotated[
        int,
        Setting(
            "With privacy: contributors whose noise is not counted on.",
            "clients",
            Bounds(at_least=0, at_most=MOST_COLLUDERS),
        ),
    ] = 0
    epsilon_budget: Annotated[
        float | None,
        Setting(
            "With privacy: end before training has cost more than this; without it there is no limit.",
            bounds=Bounds(above=0, at_most=LARGEST_BUDGET),
        ),
    ] = None
    count_noise: Annotated[
        float | None,
        Setting(
            "With --clip-quantile: standard deviation of the noise on how many updates were short enough; default a "
            "twentieth of --min-cohort, and at least the noise multiplier.",
            "clients",
            Bounds(at_least=SMALLEST_NOISE, at_most=LARGEST_NOISE),
            option="clip-count-noise",
        ),
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count_noise is not None and self.count_noise < self.noise_multiplier / sqrt(2):
            raise SettingsError(
                f"--clip-count-noise is {self.count_noise:g}; with a noise multiplier of {self.noise_multiplier:g} it "
                f"must be at least {self.noise_multiplier / sqrt(2):.3g}"
            )

    @property
    def update_noise(self) -> Fraction:
        """The square of the noise multiplier of the updates alone: z squared, or more if the clip adapts."""
        square = Fraction(self.noise_multiplier) ** 2
        return square if self.count_noise is None else 1 / (1 / square - 1 / (2 * Fraction(self.count_noise)) ** 2)

    @classmethod
    def if_asked(
        cls,
        clip_norm: float | None,
        noise_multiplier: float | None,
        delta: float,
        max_colluders: int,
        epsilon_budget: float | None,
        count_noise: float | None = None,
    ) -> Privacy | None:
        """Return what the options amount to; None if they ask for no privacy.

        Raises SettingsError if only a part of what it takes is given, or it cannot work.
        """
        if clip_norm is None and noise_multiplier is None:
            if epsilon_budget is not None or max_colluders or count_noise is not None:
                raise SettingsError(
                    "--epsilon-budget, --max-colluders and --clip-count-noise need --clip-norm and --noise-multiplier"
                )
            return None
        if clip_norm is None or noise_multiplier is None:
            missing = "--clip-norm" if clip_norm is None else "--noise-multiplier"
            raise SettingsError(f"privacy takes both --clip-norm and --noise-multiplier; {missing} is missing")
        return cls(clip_norm, noise_multiplier, delta, max_colluders, epsilon_budget, count_noise)


@dataclass(frozen=True)
class Mechanism:
    """The same in integers, for one size of cohort and of slot; made by mechanism_for().

    Attributes:
        clip_norm: C.
        fraction_bits: a change x of a weight becomes the integer near x * 2^fraction_bits.
        sensitivity: D, the largest L2 norm of a client's integers.
        variance: of one client's noise, in steps squared.
        limit: the largest absolute value that a slot can carry.
        half_bit: h, if the clip adapts; else 0.
    """

    clip_norm: float
    fraction_bits: int
    sensitivity: int
    variance: int
    limit: int
    half_bit: int = 0

    @property
    def share_sigma(self) -> float:
        """Standard deviation of one client's noise, in steps."""
        return sqrt(self.variance)

    @property
    def moved(self) -> int:
        """The most that one client can move the sum (L2 norm), in steps, rounded up: D, and with a bit more."""
        return self.sensitivity if not self.half_bit else isqrt(self.sensitivity**2 + self.half_bit**2 - 1) + 1

    def protect(self, delta: FloatArray, random_bytes: RandomBytes = os.urandom, clip_factor: float = 1.0) -> IntArray:
        """Return the integers that a client encrypts instead of its update, shape (values,); one more with a bit.

        Args:
            clip_factor: by what the clip of this round is C; the integers are those of the update divided by it.

        Raises ValueError if the update has values that are not finite, GrokfedError for noise that does not fit.
        """
        delta = delta / clip_factor if self.half_bit else delta
        clipped = clip(delta, self.clip_norm)
        integers = to_integers(clipped, self.fraction_bits, self.sensitivity)
        if self.half_bit:
            bit = self.half_bit if clipped is delta else -self.half_bit
            integers = np.append(integers, np.int64(bit))
        return add_noise(integers, self.variance, self.limit, random_bytes)

    def share_within(self, mean_bit: float) -> float:
        """Return the share of updates that were no longer than the clip, with its noise, of the mean last number."""
        return 0.5 + mean_bit * 2.0**self.fraction_bits / (2 * self.half_bit)


def mechanism_for(privacy: Privacy, min_cohort: int, value_bits: int) -> Mechanism:
    """Return the mechanism for sums of at least `min_cohort` clients in values of `value_bits` bits.

    It uses the finest scale that fits.

    Every party computes it from the round's description, in whole numbers, and so finds the same. Raises SettingsError.
    """
    honest = min_cohort - privacy.max_colluders
    if honest < 1:
        raise SettingsError(
            f"of a minimum cohort of {min_cohort}, {privacy.max_colluders} may collude, so no client's noise can be "
            "counted on; expected fewer colluders or a larger minimum cohort"
        )
    limit = LARGEST_CHANGE if value_bits == 16 else (1 << (value_bits - 1)) - 1
    scales = (_on_scale(privacy, honest, limit, fraction_bits) for fraction_bits in range(63, -1, -1))
    made = next(filter(_fits, scales), None)
    if made is None:
        raise SettingsError(_does_not_fit(privacy, honest, limit))
    if made.variance < SMALLEST_SIGMA**2:
        least = SMALLEST_SIGMA * sqrt(honest) / made.sensitivity
        raise SettingsError(
            f"with a noise multiplier of {privacy.noise_multiplier} one client's noise is {made.share_sigma:.2g} steps "
            f"wide; it must be at least {SMALLEST_SIGMA}, which takes a noise multiplier of about {least:.2g}"
        )
    return made


def _on_scale(privacy: Privacy, honest: int, limit: int, fraction_bits: int) -> Mechanism:
    sensitivity = floor(Fraction(privacy.clip_norm) * (1 << fraction_bits))
    noise = privacy.update_noise * sensitivity**2
    half_bit = 0 if privacy.count_noise is None else isqrt(floor(noise / (2 * Fraction(privacy.count_noise)) ** 2))
    return Mechanism(privacy.clip_norm, fraction_bits, sensitivity, ceil(noise / honest), limit, half_bit)


def _fits(made: Mechanism) -> bool:
    room = made.limit - made.sensitivity
    fits = room >= 0 and HEADROOM**2 * made.variance <= room**2
    return fits and made.sensitivity >= 1 and made.variance <= LARGEST_VARIANCE


def _does_not_fit(privacy: Privacy, honest: int, limit: int) -> str:
    """Why no scale fits: the clip norm alone is too long, or else the noise is too strong for the smallest D, 1."""
    largest = (limit - 1) * sqrt(honest) / HEADROOM
    if privacy.noise_multiplier > largest:
        return (
            f"a noise multiplier of {privacy.noise_multiplier} does not fit the slots: {HEADROOM} standard deviations "
            f"of one client's noise must; the largest that fits is {largest:.4g}"
        )
    longest = limit / (1 + HEADROOM * privacy.noise_multiplier / sqrt(honest))
    return (
        f"a clip norm of {privacy.clip_norm} with a noise multiplier of {privacy.noise_multiplier} does not fit the "
        f"slots; the longest that fits is about {longest:.4g}"
    )


# ------------------------------------------------------------------------------------------------ the three steps


def clip(delta: FloatArray, norm: float) -> FloatArray:
    """Return the update, shortened to the L2 norm `norm` if it is longer (up to rounding errors of floats).

    Raises ValueError if it has values that are not finite.
    """
    if not np.isfinite(delta).all():
        raise ValueError("the delta has values that are not finite; the training diverged")
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(delta))
    return delta if length <= norm else delta * (norm / length if isfinite(length) else 0.0)


def to_integers(delta: FloatArray, fraction_bits: int, sensitivity: int) -> IntArray:
    """Return the integers nearest to delta * 2^fraction_bits.

    Shape (values,), with an L2 norm of at most `sensitivity`.

    Rounding to the nearest may make them a little too long. Then the delta is shortened further and rounded again,
    until the integers, whose squares are added up exactly, are short enough.
    """
    scaled = delta * 2.0**fraction_bits
    while True:
        integers = np.rint(scaled).astype(np.int64)
        square = int((integers * integers).sum())  # below 2^63: at most 2^26 values, each at most 2^16 after clip()
        if square <= sensitivity**2:
            return integers
        scaled *= min(sensitivity / sqrt(square), 1 - 2.0**-10)


def add_noise(integers: IntArray, variance: int, limit: int, random_bytes: RandomBytes = os.urandom) -> IntArray:
    """Return the integers with discrete Gaussian noise on each, shape (values,).

    Raises GrokfedError if one does not fit its slot; see the head of this file for how unlikely that is.
    """
    noisy = integers + draw(variance, len(integers), random_bytes)
    if np.abs(noisy).max(initial=0) > limit:
        raise GrokfedError("the noise does not fit its slot, as happens once in 10^16 runs; nothing was sent")
    return noisy


# ------------------------------------------------------------------------------------------------ to compare with


def central_sum(integers: IntArray, privacy: Privacy, sensitivity: int, random_bytes: RandomBytes) -> IntArray:
    """Return what a trusted party would do: add up clipped integers, and put noise on the sum, once.

    The integers have shape (clients, values).

    For experiments only: no party of this protocol is trusted so. The noise is that of the promise, z D, to the next
    whole number; distributed noise is at least as strong. Raises ValueError for noise that cannot be drawn.
    """
    wanted = (Fraction(privacy.noise_multiplier) * sensitivity) ** 2
    # A sum of independent parts, each of a variance that can be drawn.
    parts = max(1, -(-ceil(wanted) // LARGEST_VARIANCE))
    noise = sum(draw(ceil(wanted / parts), integers.shape[1], random_bytes) for _ in range(parts))
    total: IntArray = integers.sum(axis=0) + noise
    return total


assert isqrt(LARGEST_VARIANCE) * HEADROOM >= (1 << 15)  # every sigma that fits values of 16 bits can be drawn
