"""Membership inference: was a picture among those a model learned from?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from book.run import Run
from core.data.mnist import DIGITS, SIDE, Images
from core.federated import initial_model
from core.tasks.mnist import HIDDEN, MNIST_MLP
from experiments.arrays import BoolArray, Float32Array, FloatArray, IntArray
from experiments.attacks.membership import Shadows, by_loss, confidence
from experiments.attacks.roc import auc, tpr_at_fpr
from experiments.attacks.shadow_networks import Networks
from experiments.studies import _membership_pictures as pictures
from experiments.studies._updates import check_noise, clipped, defence_name, digits_for
from experiments.study import Row, Study
from results.intervals import over_seeds

RATE, BATCH, PASSES_A_ROUND = 0.1, 20, 5
CLIP_NORM = 1.0
ATTACKS = ("prior only", "loss", "LiRA, offline", "LiRA, online")
RARE = 0.001


@dataclass(frozen=True)
class Setup:
    """One way to train. Raises SettingsError for noise without a clip norm to measure it by.

    Attributes:
        clients: who share the members among them.
        clip_norm: the longest a client's update may be; 0 for no limit.
        noise: on every weight of the sum, in multiples of the clip norm.
    """

    clients: int = 5
    clip_norm: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_noise(self.clip_norm, self.noise)

    @property
    def defence(self) -> str:
        return defence_name(self.clip_norm, self.noise)


@dataclass(frozen=True)
class Size:
    """How much is done: digits, half of them members; models side by side; rounds measured after; repetitions."""

    digits: int
    models: int
    rounds: tuple[int, ...]
    seeds: int


@dataclass(frozen=True)
class Measured:
    """Scores of one repetition after some rounds.

    Attributes:
        scores: by attack, of every model and digit, shape (models, digits).
        members: which digits each model learned from, in that shape.
        accuracy: of the models on digits that no model learned from.
    """

    scores: dict[str, FloatArray]
    members: BoolArray
    accuracy: float

    def groups(self, attack: str) -> tuple[FloatArray, FloatArray]:
        """Return the scores of members, and of the others."""
        return self.scores[attack][self.members], self.scores[attack][~self.members]


USUAL = Setup()


def size_of(run: Run) -> Size:
    return run.pick(Size(1000, 32, (1, 5, 20), 5), Size(400, 10, (1, 6), 3))


def setups(run: Run) -> list[Setup]:
    defended = [Setup(5, CLIP_NORM, noise) for noise in run.pick((0.0, 0.03, 0.1, 0.3, 1.0), (0.0, 0.3))]
    return [*run.pick([Setup(1)], []), USUAL, *defended]


def random_halves(models: int, digits: int, rng: np.random.Generator) -> BoolArray:
    """Draw which digits models learn from: a random half each, and the next model the other half; (models, digits)."""
    members = np.zeros((models, digits), bool)
    for model in range(0, models, 2):
        order = rng.permutation(digits)
        members[model, order[: digits // 2]] = True
        members[model + 1, order[digits // 2 :]] = True
    return members


def federations(
    setup: Setup, starts: Float32Array, digits: Images, members: BoolArray, rounds: int, rng: np.random.Generator
) -> Iterator[Float32Array]:
    """Train one federation for each half, all at once; yield the models after each round, shape (models, weights).

    Each client trains as client_update does, with SGD; the next model is this one plus the mean update.
    """
    pictures, shares = digits.images.reshape(len(digits), -1), _shares(setup, members, rng)
    models = starts
    for _ in range(rounds):
        before = np.repeat(models, setup.clients, axis=0)
        networks = Networks(before.copy(), SIDE * SIDE, HIDDEN, DIGITS)
        for rows in _batches(shares, rng):
            networks.step(pictures[rows], digits.labels[rows], RATE)
        updates = networks.vectors - before
        if setup.clip_norm:
            updates = clipped(updates, setup.clip_norm)
        total = updates.reshape(len(models), setup.clients, -1).sum(axis=1)
        total = total + setup.noise * setup.clip_norm * rng.standard_normal(total.shape, np.float32)
        models = (models + total / setup.clients).astype(np.float32)
        yield models


def _shares(setup: Setup, members: BoolArray, rng: np.random.Generator) -> IntArray:
    """Deal each model's members out among its clients, shape (models * clients, digits of a client)."""
    dealt = np.stack([rng.permutation(np.flatnonzero(row)) for row in members])
    shares: IntArray = dealt.reshape(len(members) * setup.clients, -1)
    return shares


def _batches(shares: IntArray, rng: np.random.Generator) -> Iterator[IntArray]:
    """Yield the passes of one round: rows of each client's next batch, shape (models * clients, batch)."""
    for _ in range(PASSES_A_ROUND):
        shuffled = rng.permuted(shares, axis=1)
        for start in range(0, shuffled.shape[1], BATCH):
            yield shuffled[:, start : start + BATCH]


def scores_of(confidences: FloatArray, members: BoolArray) -> dict[str, FloatArray]:
    """Attack every model in turn, the others being its shadows; scores by attack, shape (models, digits)."""
    all_models = Shadows(confidences, members)
    others = [all_models.without(model) for model in range(len(members))]
    pairs = list(zip(others, confidences, strict=True))
    found = (
        [shadows.how_easy() for shadows, _ in pairs],
        [by_loss(seen) for _, seen in pairs],
        [shadows.by_surprise(seen) for shadows, seen in pairs],
        [shadows.by_likelihood_ratio(seen) for shadows, seen in pairs],
    )
    return {name: np.stack(scores) for name, scores in zip(ATTACKS, found, strict=True)}


def measure(setup: Setup, size: Size, run: Run, known: Images, test: Images, seed: int) -> dict[int, Measured]:
    """Play one repetition: train, and attack after some of the rounds."""
    rng = run.rng(2, seed)
    digits = Images(*known.batch(run.rng(1, seed).permutation(len(known))[: size.digits]))
    members = random_halves(size.models, size.digits, rng)
    starts = [initial_model(MNIST_MLP, 1000 * run.seed + 100 * seed + model) for model in range(size.models)]
    found = {}
    trained = federations(setup, np.stack(starts).astype(np.float32), digits, members, max(size.rounds), rng)
    for number, models in enumerate(trained, start=1):
        if number in size.rounds:
            networks = Networks(models, SIDE * SIDE, HIDDEN, DIGITS)
            scores = scores_of(confidence(_logits(networks, digits), digits.labels), members)
            accuracy = float((_logits(networks, test).argmax(axis=-1) == test.labels).mean())
            found[number] = Measured(scores, members, accuracy)
    return found


def _logits(networks: Networks, digits: Images) -> Float32Array:
    return networks.logits(digits.images.reshape(len(digits), -1))


def study(run: Run) -> Iterator[Row]:
    size = size_of(run)
    known, test = digits_for(run, run.pick(20_000, 1_200)), digits_for(run, run.pick(2_000, 300), "test")
    last: dict[Setup, list[Measured]] = {}
    rows: list[Row] = []
    for setup in setups(run):
        run.progress(f"{size.models} models of {setup.clients} clients, defence: {setup.defence}")
        seeds = [measure(setup, size, run, known, test, seed) for seed in range(size.seeds)]
        measured = size.rounds if not setup.clip_norm else size.rounds[-1:]
        for rounds in measured:
            found = [_row(setup, rounds, attack, [each[rounds] for each in seeds]) for attack in ATTACKS]
            rows.extend(found)
            yield from found
        last[setup] = [each[size.rounds[-1]] for each in seeds]
    pictures.draw_attacks(run, {name: [each.groups(name) for each in last[USUAL]] for name in ATTACKS})
    defended = {setup.defence: [each.groups(ATTACKS[-1]) for each in found] for setup, found in last.items()
                if setup.clients == USUAL.clients}  # fmt: skip
    pictures.draw_defences(run, defended)


def _row(setup: Setup, rounds: int, attack: str, found: Sequence[Measured]) -> Row:
    groups = [each.groups(attack) for each in found]
    area = over_seeds([auc(*group) for group in groups])
    rare = over_seeds([tpr_at_fpr(*group, RARE) for group in groups])
    return {
        "clients": setup.clients,
        "passes": rounds * PASSES_A_ROUND,
        "defence": setup.defence,
        "attack": attack,
        "AUC": area.mean,
        "AUC ±": area.half,
        "TPR at 1 % FPR": over_seeds([tpr_at_fpr(*group, 0.01) for group in groups]).mean,
        "TPR at 0.1 % FPR": rare.mean,
        "± (95 %)": rare.half,
        "test accuracy": float(np.mean([each.accuracy for each in found])),
    }


def conclude(rows: Sequence[Row]) -> str:
    online = [row for row in rows if row["attack"] == ATTACKS[-1] and row["clients"] == USUAL.clients]
    plain = [row for row in online if row["defence"] == "none"]
    noisiest, undefended = online[-1], plain[-1]
    loss = next(row for row in rows if row["attack"] == "loss" and _same(row, undefended))
    prior = next(row for row in rows if row["attack"] == ATTACKS[0] and _same(row, undefended))
    return (
        f"After {undefended['passes']} passes without defence, LiRA finds {_rare(undefended)} of the members at a "
        f"false alarm in a thousand (after {plain[0]['passes']}: {_rare(plain[0])}), the loss alone {_rare(loss)}, "
        f"and an attacker without the model {_rare(prior)}. With {noisiest['defence']} LiRA finds "
        f"{_rare(noisiest)}, and the model has {float(noisiest['test accuracy']):.0%} of the test digits right "
        f"instead of {float(undefended['test accuracy']):.0%}."
    )


def _same(row: Row, other: Row) -> bool:
    return all(row[name] == other[name] for name in ("clients", "passes", "defence"))


def _rare(row: Row) -> str:
    return f"{float(row['TPR at 0.1 % FPR']):.2%}"


STUDY = Study(
    name="membership",
    title="Was this example learned from?",
    question="Can one tell from a model alone whether a certain picture was among those it learned from?",
    adversary="Anyone who has the final model, as every client has, and pictures of the same kind: it trains its "
    "own models. It sees no update and no sum.",
    method="784-32-10 learns, by federated averaging, from a random half of 1,000 digits (quick: 400), 100 passes at "
    "most. 32 such models (quick: 10) are attacked in turn, the others being the shadows. LiRA compares how sure the "
    "model is of a picture with models that did and did not learn from it (Carlini et al., IEEE S&P 2022; online; "
    "offline uses only models that did not); the loss alone is Yeom et al. (CSF 2018). Prior only: how sure models "
    "are that never saw the picture. Where a noise is stated, each client's update is shortened to the clip norm and "
    "every weight of the sum gets normal noise of the stated multiple of it. Shadow networks are trained side by "
    "side; a test compares them with client_update, weight by weight.",
    limits="A small model, few examples and many passes, so that it memorises: the worst case. Attacker and target "
    "know the same pool of digits. The noise is a stated sigma and no more: no epsilon is claimed here, and clipping "
    "by itself promises nothing.",
    run=study,
    conclude=conclude,
)
