"""Pictures of digits, computed from the change that one client's training makes to a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from book.run import Run
from core.data.mnist import SIDE, Images
from core.federated import add_updates, client_update, initial_model
from core.secagg.encoding import Encoding, Update
from core.tasks.task import Task
from experiments.arrays import FloatArray
from experiments.attacks.inversion import (
    Convolution,
    input_of_each_unit,
    input_of_one,
    inputs_by_class,
    picture_behind,
    psnr,
)
from experiments.studies import _inversion_pictures as pictures
from experiments.studies._inversion_cases import CLIP_NORM, KERNEL_NETWORK, Case, cases, task_of
from experiments.studies._updates import PLAINTEXT_BITS, clipped, digits_for, parts_of
from experiments.study import Row, Study
from results.intervals import over_seeds

GOOD = 40.0  # decibels, from which on no eye sees a difference
SHARE = "share above 40 dB"


def seen_update(case: Case, task: Task, model: FloatArray, digits: Images, run: Run, seed: int) -> FloatArray:
    """Return what the attacker sees: the sum of the clients' updates, as sent, shape (values,)."""
    parts = np.split(np.arange(case.seen), case.clients)
    updates = [client_update(task, model, Images(*digits.batch(rows)), run.rng(2, seed)) for rows in parts]
    if case.bits:
        return _through_encoding(case, updates)
    deltas = np.stack([update.delta for update in updates])
    if not case.noise:
        return np.asarray(deltas.sum(axis=0))
    noise = run.rng(3, seed).normal(0, case.noise * CLIP_NORM, deltas.shape[1])
    return np.asarray(clipped(deltas, CLIP_NORM).sum(axis=0) + noise)


def _through_encoding(case: Case, updates: Sequence[Update]) -> FloatArray:
    """Encode, add plaintexts and decode: what is known once a sum has been opened."""
    encoding = Encoding(len(updates[0].delta), PLAINTEXT_BITS, len(updates), case.bits, case.bits - 1)
    return add_updates(encoding, updates).delta_sum


def guesses(case: Case, task: Task, model: FloatArray, update: FloatArray) -> FloatArray:
    """Return pictures computed from what is seen, shape (guesses, 784)."""
    parts = parts_of(task, update)
    if case.width == KERNEL_NETWORK:
        kernels, bias, *_ = parts_of(task, model)
        layer = Convolution(kernels[:, 0], bias, (SIDE, SIDE))
        return np.array([picture_behind(layer, features).reshape(-1) for features in inputs_by_class(*parts[2:])])
    if case.seen == 1:
        return input_of_one(parts[0], parts[1])[None]
    return input_of_each_unit(parts[0], parts[1])


def recovered(case: Case, run: Run, digits: Images, seed: int) -> tuple[FloatArray, FloatArray]:
    """Attack one sum; return the best guess at each picture, shape (pictures, 784), and its PSNR, (pictures,)."""
    task = task_of(case)
    model = initial_model(task, run.seed * 1000 + seed)
    update = seen_update(case, task, model, digits, run, seed)
    found = guesses(case, task, model, update)
    true = digits.images.reshape(len(digits), -1).astype(np.float64)
    ratios = np.array([psnr(found, picture) for picture in true]).reshape(len(true), -1)
    best = ratios.argmax(axis=1)
    return found[best], ratios[np.arange(len(true)), best]


def study(run: Run) -> Iterator[Row]:
    per_seed, seeds = run.pick(32, 8), run.pick(5, 3)
    known = digits_for(run, run.pick(4000, 400))
    most = max(case.seen for case in cases(run))
    yield prior_only(run, known, most)
    rows = []
    for case in cases(run):
        run.progress(f"{case.network}, {case.training}, {case.seen} pictures")
        rows.append(_row(case, run, known, max(per_seed, case.seen), seeds))
        yield rows[-1]
    pictures.draw_shares(run, rows)
    draw_grid(run, known)


def held(run: Run, known: Images, count: int, seed: int) -> Images:
    """Draw the clients' digits of one repetition from the first half; the other half is public."""
    return Images(*known.batch(run.rng(1, seed).permutation(len(known) // 2)[:count]))


def prior_only(run: Run, known: Images, count: int) -> Row:
    """Measure how near the mean of public pictures comes, without any update."""
    mean = known.images[len(known) // 2 :].reshape(-1, SIDE * SIDE).mean(axis=0)
    ratios = psnr(mean, held(run, known, count, 0).images.reshape(count, -1))
    return {
        "network": "no update seen: mean picture", "training": "", "clients": 0, "pictures": 1, "defence": "",
        SHARE: float((ratios > GOOD).mean()), "± (95 %)": 0.0,
        "median PSNR (dB)": float(np.median(ratios)),
    }  # fmt: skip


def _row(case: Case, run: Run, known: Images, per_seed: int, seeds: int) -> Row:
    shares, ratios = [], []
    for seed in range(seeds):
        digits = held(run, known, per_seed // case.seen * case.seen, seed)
        groups = np.split(np.arange(len(digits)), len(digits) // case.seen)
        found = [
            recovered(case, run, Images(*digits.batch(rows)), seed * 100 + number)[1]
            for number, rows in enumerate(groups)
        ]
        ratios.extend(found)
        shares.append(float((np.concatenate(found) > GOOD).mean()))
    share = over_seeds(shares)
    return {
        "network": case.network,
        "training": case.training,
        "clients": case.clients,
        "pictures": case.seen,
        "defence": case.defence,
        SHARE: share.mean,
        "± (95 %)": share.half,
        "median PSNR (dB)": float(np.median(np.concatenate(ratios))),
    }


def draw_grid(run: Run, known: Images) -> None:
    """Draw true pictures, and below each what was computed from several kinds of updates."""
    shown = {
        "alone": Case(),
        "batch of 8": Case(pictures=8),
        "sum of 8": Case(clients=8),
        "alone, Adam": Case(32, optimiser="Adam"),
        "alone, noise": Case(noise=1e-3),
        "alone, 8 bits": Case(bits=8),
        "kernels, alone": Case(KERNEL_NETWORK),
        "kernels, batch of 8": Case(KERNEL_NETWORK, 8),
        "kernels, noise": Case(KERNEL_NETWORK, noise=1e-2),
    }
    digits = held(run, known, 8, 0)
    lines = {"true": digits.images.reshape(8, -1).astype(np.float64)}
    for name, case in shown.items():
        groups = np.split(np.arange(8), 8 // case.seen)
        lines[name] = np.vstack([recovered(case, run, Images(*digits.batch(rows)), 0)[0] for rows in groups])
    pictures.draw_grid(run, lines)


def conclude(rows: Sequence[Row]) -> str:
    def share(network: str, pictures: int, clients: int = 1) -> float:
        wanted = (network, pictures, clients, "none")
        return next(
            (float(row[SHARE]) for row in rows
             if (row["network"], row["pictures"], row["clients"], row["defence"]) == wanted
             and str(row["training"]).startswith("SGD, 1 step")), float("nan"),
        )  # fmt: skip

    dense, kernels = "784-100-10", "16 kernels, tanh, dense"
    ratios = [(row, float(row["median PSNR (dB)"])) for row in rows]
    alone = next(ratio for row, ratio in ratios if row["network"] == kernels)
    adam = next(ratio for row, ratio in ratios if str(row["training"]).startswith("Adam"))
    return (
        f"From updates of {dense} after one step, {share(dense, 1):.0%} of single pictures, {share(dense, 8):.0%} of "
        f"those in batches of 8 and {share(dense, 32):.0%} of those in batches of 32 are recovered above 40 dB; from "
        f"the sum of 8 clients with a picture each, {share(dense, 8, 8):.0%}. Behind chapter 10's kernels a single "
        f"picture comes back at {alone:.0f} dB, and {share(kernels, 8):.0%} of those in batches of 8 above 40 dB. "
        f"The mean of public pictures comes to {ratios[0][1]:.0f} dB. Adam's first step loses the greys: {adam:.0f} "
        "dB are left, and the picture shows what can still be read."
    )


STUDY = Study(
    name="image-inversion",
    title="Pictures computed from an update",
    question="Can a client's pictures be computed from the change they make to a network, and what makes that harder?",
    adversary="Anyone who sees one update in the clear: the aggregator of a run with --scheme plain, key holders that "
    "open single updates, or, for the rows with several clients, anyone who sees the opened sum. It knows the model, "
    "as everyone does, and how clients train.",
    method="A dense layer's weight change divided by its bias change is the input (Phong et al. 2018), exactly for one "
    "picture and for every unit that only one picture of a batch switched on. Behind 16 kernels and tanh (chapter 10, "
    "without dropout) the last layer's input is taken class by class, tanh is undone, and the kernels are inverted by "
    "least squares. That such attacks work at all was made known by Zhu, Liu and Han (2019). Updates are those of "
    "client_update, from an untrained model; where bits are named they went through the encoding. Prior only: the mean "
    "of public pictures, the two halves of the data being the clients' and public.",
    limits="For several pictures each is compared with the nearest of all guesses: the attacker has them all, and does "
    "not know which is clean. Untrained models leak most; a network that is sure of a picture has next to no error "
    "to divide by. Adam's first step has one size for all weights, whatever the gradient; this attack does not try to "
    "undo that. The noise here is no calibrated privacy, and rounding is no defence: it is there to be measured.",
    run=study,
    conclude=conclude,
)
