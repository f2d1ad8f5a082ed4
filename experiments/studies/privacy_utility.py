"""What does privacy cost in accuracy, and how does that depend on how many clients share the noise?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from book.run import Run
from core.data.generated import generate_mailbox, generate_test_mails
from core.data.mail import mailboxes_in, read_mailbox
from core.data.message import Mail
from core.data.partition import partition_iid, split_held_out
from core.errors import DataError
from core.federated import VALUE_BITS, client_rng, evaluate_model, fed_avg, initial_model
from core.privacy.discrete_gaussian import RandomBytes
from core.privacy.mechanism import Mechanism, Privacy, central_sum, clip, mechanism_for, to_integers
from core.secagg.encoding import CohortSum, Update
from core.tasks.mnist import MNIST_CNN, Digit, read_both
from core.tasks.spam import SPAM
from core.tasks.task import Task
from core.training import Dataset
from experiments.arrays import FloatArray, IntArray
from experiments.studies._columns import cell, means
from experiments.study import Row, Study
from results.intervals import over_seeds
from server.accountant import NoisySum, spent

CLIP_NORMS = {"spam": 4.0, "mnist-cnn": 1.0}  # about the norm of a client's updates; chosen once, for all
DELTA = 1e-5
MAILS = 100
"""Of each made-up mailbox."""
DIGITS = 200
"""Of each client that has real ones."""
HELD_OUT = 0.2
TESTS = 1000
"""Made-up mails, or real digits."""

AddDeltas = Callable[[Sequence[FloatArray]], FloatArray]
"""Makes the sum that is opened of the clients' updates, each of shape (values,)."""


@dataclass(frozen=True)
class Federation:
    """The clients' data, and the test data that a model is judged on.

    Attributes:
        data: each client's own.
        majority: accuracy of always answering what most of the test examples are.
    """

    task: Task
    data: Sequence[Dataset]
    test: Dataset
    majority: float


@dataclass(frozen=True)
class Point:
    """One training. `epsilon` is infinite without noise."""

    source: str
    clients: int
    way: str
    noise: float
    epsilon: float
    repetition: int
    accuracy: float


# ------------------------------------------------------------------------------------------------ one training


def train(federation: Federation, rounds: int, seed: int, add_deltas: AddDeltas) -> float:
    """Train with sums made by `add_deltas`; return the last model's test accuracy."""
    task, cohort = federation.task, dict(enumerate(federation.data, start=1))

    def add_up(updates: Sequence[Update]) -> CohortSum:
        return CohortSum(len(updates), add_deltas([update.delta for update in updates]), 0, 0.0, 0)

    *_, model = fed_avg(task, initial_model(task, seed), [cohort] * rounds, partial(client_rng, seed), add_up)
    return evaluate_model(task, model, federation.test).accuracy


def in_clear(updates: Sequence[FloatArray]) -> FloatArray:
    """Add up without clipping and noise."""
    return np.sum(updates, axis=0)  # type: ignore[no-any-return]


def distributed(mechanism: Mechanism, random_bytes: RandomBytes) -> AddDeltas:
    """Return a sum to which every client adds its share of the noise, as in this protocol."""
    return lambda updates: _unscaled(
        np.sum([mechanism.protect(update, random_bytes) for update in updates], axis=0), mechanism
    )


def central(mechanism: Mechanism, privacy: Privacy, random_bytes: RandomBytes) -> AddDeltas:
    """Return the sum of a trusted party, which adds all of the noise to clipped updates."""

    def add_deltas(updates: Sequence[FloatArray]) -> FloatArray:
        bits, sensitivity = mechanism.fraction_bits, mechanism.sensitivity
        clipped = np.stack([to_integers(clip(update, privacy.clip_norm), bits, sensitivity) for update in updates])
        return _unscaled(central_sum(clipped, privacy, sensitivity, random_bytes), mechanism)

    return add_deltas


def _unscaled(integers: IntArray, mechanism: Mechanism) -> FloatArray:
    return np.ldexp(integers.astype(np.float64), -mechanism.fraction_bits)


def epsilon_of(mechanism: Mechanism, clients: int, rounds: int, values: int) -> float:
    """Return the epsilon of this many rounds with all clients."""
    events = [
        NoisySum(number, clients, 0, mechanism.sensitivity, mechanism.variance, values)
        for number in range(1, rounds + 1)
    ]
    return spent(events, DELTA).epsilon


# ------------------------------------------------------------------------------------------------ data


def made_up(clients: int, seed: int) -> Federation:
    """Make one mailbox a client, each with its own topics."""
    parts = [generate_mailbox(seed, owner, MAILS) for owner in range(1, clients + 1)]
    return _federation(SPAM, parts, generate_test_mails(seed, clients, TESTS), _is_spam)


def dealt_out(mails: Sequence[Mail], held_out: Sequence[Mail], clients: int, seed: int) -> Federation:
    """Deal real mail out evenly among the clients."""
    shares = partition_iid(len(mails), clients, np.random.default_rng([seed, clients]))
    parts = [[mails[row] for row in rows] for rows in shares]
    return _federation(SPAM, parts, held_out, _is_spam)


def digits(train: Sequence[Digit], test: Sequence[Digit], clients: int, seed: int) -> Federation:
    """Deal the same number of real digits to each client at random; few clients leave some over."""
    order = np.random.default_rng([seed, clients]).permutation(len(train))[: clients * DIGITS]
    parts = [[train[place] for place in part] for part in np.array_split(order, clients)]
    return _federation(MNIST_CNN, parts, test, lambda digit: digit[1])


def _is_spam(mail: Mail) -> bool:
    return mail.spam


def _federation(
    task: Task, parts: Sequence[Sequence[Any]], test: Sequence[Any], label: Callable[[Any], Hashable]
) -> Federation:
    (_, most), *_ = Counter(map(label, test)).most_common(1)
    return Federation(task, [task.prepare(part) for part in parts], task.prepare(test), most / len(test))


Source = Callable[[int, int], Federation]
"""Makes a federation from a number of clients and a seed."""


def _enron(folder: Path) -> Source:
    boxes = [path for path in mailboxes_in(folder) if path.name.startswith("enron")]
    kept, held_out = split_held_out([mail for path in boxes for mail in read_mailbox(path).mails], HELD_OUT)
    return lambda clients, seed: dealt_out(kept, held_out, clients, seed)


def _mnist(folder: Path) -> Source:
    train, test = read_both(folder)
    return lambda clients, seed: digits(train, test[:TESTS], clients, seed)


def _sources(run: Run) -> dict[str, Source]:
    """Return the kinds of data by name. Raises DataError if a data folder has neither kind of public file."""
    found: dict[str, Source] = {"made-up mail": made_up}
    if run.data is None:
        return found
    missing: list[str] = []
    for name, source in (("Enron mail", _enron), ("MNIST digits", _mnist)):
        try:
            found[name] = source(run.data)
        except DataError as error:
            missing.append(str(error))
            run.say(f"{name} is left out: {error}")
    if len(missing) == 2:
        raise DataError("; ".join(missing))
    return found


# ------------------------------------------------------------------------------------------------ the experiment

WAYS = ("distributed", "central")


def study(run: Run) -> Iterator[Row]:
    """Train with noise of several strengths, shared by several numbers of clients, and without."""
    counts = run.pick((10, 30, 100, 300), (10, 100))
    noises = run.pick((0.5, 1.5, 4.0), (0.5, 4.0))
    repetitions, rounds = run.pick(5, 2), run.pick(5, 4)
    points: list[Point] = []
    for name, make in _sources(run).items():
        for clients in counts:
            for repetition in range(repetitions):
                points += _points(run, name, make, clients, noises, rounds, repetition)
            yield from _rows([each for each in points if (each.source, each.clients) == (name, clients)], rounds)
    _draw(run, points)


def _points(
    run: Run, name: str, make: Source, clients: int, noises: Sequence[float], rounds: int, repetition: int
) -> Iterator[Point]:
    seed = run.seed * 1000 + repetition
    run.progress(f"{name}, {clients} clients, repetition {repetition + 1}")
    federation = make(clients, seed)
    clip_norm, values = CLIP_NORMS[federation.task.name], len(initial_model(federation.task, 0))
    yield Point(name, clients, "majority", 0.0, 0.0, repetition, round(federation.majority, 6))
    yield Point(name, clients, "no noise", 0.0, float("inf"), repetition, train(federation, rounds, seed, in_clear))
    for place, noise in enumerate(noises):
        privacy = Privacy(clip_norm, noise, DELTA)
        mechanism = mechanism_for(privacy, clients, VALUE_BITS)
        epsilon = epsilon_of(mechanism, clients, rounds, values)
        rngs = [run.rng(15, clients, repetition, place, way) for way in (0, 1)]
        ways = (distributed(mechanism, rngs[0].bytes), central(mechanism, privacy, rngs[1].bytes))
        for way, add_deltas in zip(WAYS, ways, strict=True):
            yield Point(name, clients, way, noise, epsilon, repetition, train(federation, rounds, seed, add_deltas))


def _found(points: Sequence[Point], source: str, clients: int, way: str, noise: float = 0.0) -> list[float]:
    wanted = (source, clients, way, noise)
    return [each.accuracy for each in points if (each.source, each.clients, each.way, each.noise) == wanted]


def _groups(points: Sequence[Point]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((each.source, each.clients) for each in points))


def _noises(points: Sequence[Point]) -> dict[float, float]:
    """Return epsilon by noise multiplier: the same for any number of clients, up to rounding."""
    return {each.noise: each.epsilon for each in points if each.way == "distributed"}


def _rows(points: Sequence[Point], rounds: int) -> Iterator[Row]:
    for source, clients in _groups(points):
        for noise, epsilon in _noises(points).items():
            yield {
                "data": source,
                "clients": clients,
                "rounds": rounds,
                "noise": noise,
                "ε": epsilon,
                **{way: cell(_found(points, source, clients, way, noise), 3) for way in WAYS},
                "no noise": cell(_found(points, source, clients, "no noise"), 3),
                "majority": over_seeds(_found(points, source, clients, "majority")).mean,
            }


def conclude(rows: Sequence[Row]) -> str:
    strongest = max(float(row["noise"]) for row in rows)
    most = [row for row in rows if row["noise"] == strongest]
    found = [f"{mean:.1%} with {row['clients']} clients ({row['data']})"
             for row, mean in zip(most, means(most, "distributed"), strict=True)]  # fmt: skip
    gaps = np.subtract(means(rows, "distributed"), means(rows, "central"))
    return (
        f"At an epsilon of {float(most[0]['ε']):.1f} the model is right on {', '.join(found)}: the noise on the mean "
        "update falls with the number of clients who share it. Noise in shares and noise from a trusted party differ "
        f"in mean accuracy by {np.mean(gaps):+.1%} on average, and by {np.abs(gaps).max():.1%} at the most."
    )


def _draw(run: Run, points: Sequence[Point]) -> None:
    """Draw accuracy against epsilon: a line for each number of clients, a panel for each kind of data."""
    from book.pictures.style import COLOURS, GREY, MARKERS, new_figure, style  # matplotlib is slow to import

    kinds = list(dict.fromkeys(each.source for each in points))
    with style():
        figure = new_figure(4.6 * len(kinds) + 0.8, 4.2, "Accuracy against epsilon")
        panels = np.atleast_1d(figure.subplots(1, len(kinds), sharey=True))
        noises = _noises(points)
        for axes, kind in zip(panels, kinds, strict=True):
            counts = [clients for source, clients in _groups(points) if source == kind]
            for number, clients in enumerate(counts):
                for way, dash in (("distributed", "-"), ("central", ":")):
                    found = [over_seeds(_found(points, kind, clients, way, noise)) for noise in noises]
                    axes.errorbar(
                        list(noises.values()),
                        [100 * each.mean for each in found],
                        [100 * each.half for each in found],
                        fmt=MARKERS[number] + dash,
                        color=COLOURS[number],
                        capsize=3,
                        label=f"{clients} clients" if way == "distributed" else None,
                    )
            majority = [each.accuracy for each in points if each.source == kind and each.way == "majority"]
            axes.axhline(100 * float(np.mean(majority)), color=GREY, linestyle="--", label="majority")
            axes.set(xscale="log", xlabel="ε of the training (dotted: central noise)", title=kind)
            axes.set_xticks(list(noises.values()), [f"{epsilon:.3g}" for epsilon in noises.values()])
            axes.minorticks_off()
        panels[0].set_ylabel("test accuracy, %")
        figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside lower center", ncols=5)
    run.save("privacy-utility", figure)


STUDY = Study(
    name="privacy-utility",
    title="What does privacy cost in accuracy?",
    question="How accurate is a model that was trained with client-level differential privacy, and how many clients "
    "does it take?",
    adversary="Sees every opened sum and every model, knows which clients contribute. epsilon bounds what it learns of "
    "any one client in the whole training.",
    method="Federated averaging in one process, in the integers of the protocol, without encryption (it changes no "
    f"bit), all clients in each round; delta {DELTA:g}. The spam model (8,193 weights, clip norm "
    f"{CLIP_NORMS['spam']:g}) on made-up mail, {MAILS} mails a client, of unlike owners; with --data also on "
    "Enron-Spam, dealt out evenly, and a convolutional network (5,386 weights, clip norm "
    f"{CLIP_NORMS['mnist-cnn']:g}) on {DIGITS} digits of MNIST a client. Repetitions "
    "with other data, starts and noise; means with 95 % intervals. `central`: a trusted party adds the noise, once. "
    "`majority`: always answering what most examples are, without any model, is this often right.",
    limits="epsilon is for the training alone: that clip norms and number of rounds were chosen by looking at other "
    "trainings is not counted. After so few rounds the digits are not learned to the end, with noise or without. An "
    "epsilon of 10 or more promises little on paper, even where no known attack succeeds.",
    run=study,
    conclude=conclude,
)
