"""Does a client get the privacy that was promised? Attack the mechanism as well as one can, and compare.

A canary client contributes to a sum, and either sends the longest update it can, all in one direction that the attacker
knows, or has nothing to send and adds its noise only. From the sum the attacker guesses which it was. If it guesses
better than the promise allows, the promise is broken; that it does not is no proof that it is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import erfc, exp, log, sqrt
from statistics import NormalDist

import numpy as np

from book.run import Run
from core.federated import add_plaintexts, encode_update
from core.privacy.discrete_gaussian import RandomBytes
from core.privacy.mechanism import Mechanism, Privacy, mechanism_for
from core.secagg.encoding import Encoding, Update
from experiments.arrays import FloatArray
from experiments.clopper_pearson import clopper_pearson
from experiments.studies._columns import cell
from experiments.study import Row, Study
from results.intervals import over_seeds
from server.accountant import NoisySum, spent

VALUES = 8
"""Numbers in an update. One direction is all the attacker looks at, so more would only cost time."""
DELTA = 1e-5
CLIP_NORM = 1.0
CANARY_NORM = 3.0  # a canary does not clip itself
PLAINTEXT_BITS = 2047

Source = Callable[[np.random.Generator], RandomBytes]


@dataclass(frozen=True)
class Variant:
    """A mechanism as it is, or broken in one way.

    Attributes:
        change: what is done to the mechanism of the promise.
        source: where a client takes its randomness from, trial by trial.
    """

    name: str
    change: Callable[[Mechanism], Mechanism] = lambda mechanism: mechanism
    source: Source = lambda rng: rng.bytes


def halved(mechanism: Mechanism) -> Mechanism:
    return replace(mechanism, variance=max(1, mechanism.variance // 4))


def unclipped(mechanism: Mechanism) -> Mechanism:
    return replace(mechanism, clip_norm=100.0, sensitivity=100 * mechanism.sensitivity)


def same_every_time(_rng: np.random.Generator) -> RandomBytes:
    return np.random.default_rng(1).bytes


AS_IT_IS = Variant("as it is")
BROKEN = (
    Variant("half the noise", halved),
    Variant("no clipping", unclipped),
    Variant("the same noise in every round", source=same_every_time),
)


@dataclass(frozen=True)
class Scene:
    """Who is in the sum.

    Attributes:
        clients: contributors, the canary among them.
        colluders: of them, who tell the attacker everything, and so take away their noise.
        noise: the noise multiplier that is promised.
    """

    clients: int
    colluders: int
    noise: float

    @property
    def privacy(self) -> Privacy:
        return Privacy(CLIP_NORM, self.noise, DELTA, self.colluders)

    @property
    def mechanism(self) -> Mechanism:
        return mechanism_for(self.privacy, self.clients, 16)

    @property
    def claim(self) -> float:
        """The epsilon that is promised for one sum."""
        made = self.mechanism
        event = NoisySum(1, self.clients, self.colluders, made.sensitivity, made.variance, VALUES)
        return spent([event], DELTA).epsilon


@dataclass(frozen=True)
class Audit:
    """What the attacker made of it.

    Attributes:
        accuracy: share of its guesses that were right; half is chance.
        epsilon: no mechanism with less can be attacked so, with 95 % confidence, whatever it is.
        epsilon_gaussian: the same, if what is to be refuted is the promise of a Gaussian mechanism, whose errors of
            both kinds are promised too. Sharper.
    """

    accuracy: float
    epsilon: float
    epsilon_gaussian: float


# ------------------------------------------------------------------------------------------------ the attack


def audit(scene: Scene, variant: Variant, trials: int, rng: np.random.Generator) -> Audit:
    """Attack `trials` sums with the canary's update in them and as many without.

    The first half of them chooses the attacker's threshold, the second half judges it.
    """
    mechanism = variant.change(scene.mechanism)
    encoding = Encoding(VALUES, PLAINTEXT_BITS, scene.clients, 16, mechanism.fraction_bits)
    observe = partial(observed, scene, mechanism, encoding)
    sums = {present: [observe(present, variant.source(rng)) for _ in range(trials)] for present in (True, False)}
    inside, outside = np.array(sums[True]), np.array(sums[False])
    half = trials // 2
    first, second = (inside[:half], outside[:half]), (inside[half:], outside[half:])
    right, wrong = _shares(*second, middle(*first))
    return Audit(
        accuracy=accuracy(*second, middle(*first)),
        epsilon=_epsilon(*_shares(*second, best_threshold(*first))),
        epsilon_gaussian=gaussian_epsilon(_separation(right, wrong), DELTA),
    )


def observed(scene: Scene, mechanism: Mechanism, encoding: Encoding, present: bool, random_bytes: RandomBytes) -> float:
    """Return what the attacker sees of one sum: how far it lies in the canary's direction.

    The updates go through what a client does, and their sum through what the aggregator does, but for the encryption.
    """
    canary = np.zeros(VALUES)
    canary[0] = CANARY_NORM if present else 0.0
    updates = [canary, *[np.zeros(VALUES)] * (scene.clients - 1 - scene.colluders)]
    plaintexts = [encode_update(encoding, Update(delta, 1, 0.0, 0), mechanism, random_bytes) for delta in updates]
    plaintexts += [encoding.pack(encoding.slots_of_integers(np.zeros(VALUES, dtype=np.int64)))] * scene.colluders
    return float(add_plaintexts(encoding, plaintexts).delta_sum[0])


def middle(inside: FloatArray, outside: FloatArray) -> float:
    """Return the threshold that guesses right most often, if both cases are Gaussians of one width."""
    return float(np.median(inside) + np.median(outside)) / 2


def best_threshold(inside: FloatArray, outside: FloatArray) -> float:
    """Return the threshold that proves the largest epsilon: often far out, where false alarms are rarest."""
    candidates = np.unique(np.concatenate([inside, outside]))
    steps = candidates[:: max(1, len(candidates) // 50)]
    scores = [_epsilon(*_shares(inside, outside, step)) for step in steps]
    return float(steps[int(np.argmax(scores))])


def accuracy(inside: FloatArray, outside: FloatArray, threshold: float) -> float:
    """Return the share of right guesses when both cases are equally likely."""
    return float(((inside > threshold).mean() + (outside <= threshold).mean()) / 2)


def _shares(inside: FloatArray, outside: FloatArray, threshold: float) -> tuple[float, float]:
    """Return a lower bound of the share of right alarms and an upper bound of false ones, each at 95 %."""
    right, _ = clopper_pearson(int((inside > threshold).sum()), len(inside))
    _, wrong = clopper_pearson(int((outside > threshold).sum()), len(outside))
    return right, wrong


def _epsilon(right: float, wrong: float) -> float:
    """Return the least epsilon of any mechanism with these shares of right and false alarms."""
    return max(0.0, log((right - DELTA) / wrong)) if right > DELTA else 0.0


def _separation(right: float, wrong: float) -> float:
    """Return how many standard deviations two Gaussians lie apart that give these shares (Dong, Roth and Su 2022)."""
    if not (0 < right < 1 and 0 < wrong < 1):
        return 0.0
    normal = NormalDist()
    return max(0.0, normal.inv_cdf(right) - normal.inv_cdf(wrong))


def gaussian_epsilon(separation: float, delta: float) -> float:
    """Return the exact epsilon of a Gaussian mechanism with this separation (Balle and Wang 2018, theorem 8)."""
    if separation <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while _gaussian_delta(separation, high) > delta:
        high *= 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_delta(separation, middle) > delta else (low, middle)
    return high


def _gaussian_delta(separation: float, epsilon: float) -> float:
    def below(x: float) -> float:
        return erfc(-x / sqrt(2)) / 2

    first = below(separation / 2 - epsilon / separation)
    second = below(-separation / 2 - epsilon / separation)
    return first - exp(epsilon) * second if second > 0 and epsilon < 700 else first


# ------------------------------------------------------------------------------------------------ the experiment

VERDICT = "more proved than promised"


@dataclass(frozen=True)
class Case:
    """A scene, how the mechanism is, and what every repetition found."""

    scene: Scene
    variant: Variant
    found: Sequence[Audit]

    @property
    def exceeded(self) -> int:
        """Repetitions in which more was proved than was promised."""
        return sum(max(each.epsilon, each.epsilon_gaussian) > self.scene.claim for each in self.found)


def study(run: Run) -> Iterator[Row]:
    """Audit the mechanism as it is at several strengths, and broken in three ways to see that that would be noticed."""
    trials = run.pick(1000, 250)
    cases = []
    for case in _cases(run, trials):
        cases.append(case)
        yield _row(case, trials)
    _draw(run, cases)


def _cases(run: Run, trials: int) -> Iterator[Case]:
    alone = [Scene(2, 1, noise) for noise in (0.5, 1.0, 2.0)]
    plan = [(scene, AS_IT_IS, run.pick(20, 5)) for scene in alone]
    plan += [(Scene(4, 0, 1.0), AS_IT_IS, run.pick(5, 2))]
    plan += [(alone[1], variant, run.pick(5, 2)) for variant in BROKEN]
    for number, (scene, variant, repetitions) in enumerate(plan):
        run.progress(f"{variant.name}, noise multiplier {scene.noise:g}")
        rngs = [run.rng(14, number, repetition) for repetition in range(repetitions)]
        yield Case(scene, variant, [audit(scene, variant, trials, rng) for rng in rngs])


def _row(case: Case, trials: int) -> Row:
    scene = case.scene
    return {
        "mechanism": case.variant.name,
        "clients": scene.clients,
        "collude": scene.colluders,
        "noise": scene.noise,
        "promised ε": scene.claim,
        "sums": 2 * trials,
        "guessed right": cell([each.accuracy for each in case.found], 3),
        "ε at least": cell([each.epsilon for each in case.found]),
        "of a Gaussian": cell([each.epsilon_gaussian for each in case.found]),
        VERDICT: f"{case.exceeded} of {len(case.found)}",
    }


def conclude(rows: Sequence[Row]) -> str:
    kept = [row for row in rows if row["mechanism"] == AS_IT_IS.name]
    counts = [_counts(row) for row in kept]
    caught = [str(row["mechanism"]) for row in rows if row not in kept and _counts(row)[0]]
    missed = [str(row["mechanism"]) for row in rows if row not in kept and not _counts(row)[0]]
    return (
        f"Of {sum(audits for _, audits in counts)} audits of the mechanism as it is, "
        f"{sum(exceeded for exceeded, _ in counts)} proved more than was promised. "
        f"Broken on purpose it is caught: {', '.join(caught) or 'never'}."
        + (f" Not caught: {', '.join(missed)}." if missed else "")
    )


def _counts(row: Row) -> tuple[int, int]:
    exceeded, _, audits = str(row[VERDICT]).partition(" of ")
    return int(exceeded), int(audits)


def _draw(run: Run, cases: Sequence[Case]) -> None:
    """Draw what was proved and what was promised, case by case."""
    from book.pictures.style import BLUE, GREEN, VERMILLION, new_figure, style  # matplotlib is slow to import

    with style():
        figure = new_figure(7.2, 4.4, "Promised, and proved by attack")
        axes = figure.subplots()
        places = np.arange(len(cases))
        claims = [case.scene.claim for case in cases]
        axes.plot(places, claims, "_", color=VERMILLION, markersize=26, markeredgewidth=2.5, label="promised")
        for name, kind, colour, marker, shift in (
            ("epsilon_gaussian", "a Gaussian mechanism", BLUE, "o", -0.1), ("epsilon", "any mechanism", GREEN, "s", 0.1)
        ):  # fmt: skip
            means = [over_seeds([getattr(each, name) for each in case.found]) for case in cases]
            mean, half = [each.mean for each in means], [each.half for each in means]
            label = f"proved, of {kind}"
            axes.errorbar(places + shift, mean, half, fmt=marker, color=colour, capsize=3, label=label)
        names = [f"{case.variant.name}\nz = {case.scene.noise:g}, n = {case.scene.clients}" for case in cases]
        axes.set_xticks(places, names, fontsize=7, rotation=20)
        axes.set(ylabel="ε of one sum", ylim=(0, None))
        axes.legend()
    run.save("audit", figure)


STUDY = Study(
    name="dp-audit",
    title="Is a client as private as was promised?",
    question="Can an attacker who knows everything but one client's update tell from the sum whether that client had "
    "something to send, better than the promised epsilon allows?",
    adversary="Sees the opened sum, as the aggregator and the key holders do. Knows every other update, and the "
    "direction and length of the canary's; colluders give it their noise too. Wants to know whether the canary's "
    "update was in the sum.",
    method="Many sums of one round, half with the canary's update (of a norm "
    f"{CANARY_NORM / CLIP_NORM:g} times the clip norm) and half with its noise only, through the code that clients and "
    "aggregator run, without encryption. One half of the sums chooses thresholds on the dot product with the canary's "
    "direction, the other half judges them; Clopper-Pearson bounds of 95 %. Several repetitions; means with their 95 % "
    f"intervals. delta is {DELTA:g}. An attacker with prior knowledge only, who does not look at the sum, guesses "
    "right half of the time and proves an epsilon of 0.",
    limits="A lower bound proves nothing of attacks that were not tried; the upper bound is the accountant's. One sum "
    "is attacked, not a whole training. `of a Gaussian` takes for granted that, if the promise is broken, it is a "
    "Gaussian's that is: it refutes a promise, and is no epsilon of any mechanism at all. Timing is not attacked.",
    run=study,
    conclude=conclude,
)
