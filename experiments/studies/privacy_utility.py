"""What does privacy cost in accuracy, and how does that depend on how many clients share the noise?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.generated import generate_mailbox, generate_test_mails
from core.data.mail import mailboxes_in, read_mailbox
from core.data.message import Mail
from core.data.partition import partition_iid, split_held_out
from core.data.text import Bags
from core.federated import client_rng, client_update, evaluate_model, initial_model, next_model
from core.privacy.accountant import NoisySum, spent
from core.privacy.discrete_gaussian import RandomBytes
from core.privacy.mechanism import Mechanism, Privacy, central_sum, clip, mechanism_for, to_integers
from core.secagg.encoding import CohortSum
from core.tasks.spam import SPAM, prepare
from experiments.intervals import Interval, over_seeds
from experiments.run import Run
from experiments.studies._columns import MARK, cell
from experiments.study import Row, Study

CLIP_NORM = 4.0  # about the norm of a client's updates on made-up mail; chosen once, for all
DELTA = 1e-5
MAILS = 100
"""Of each made-up mailbox."""
HELD_OUT = 0.2
TEST_MAILS = 1000
VALUE_BITS = 16

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
AddUp = Callable[[Sequence[FloatArray]], FloatArray]
"""Makes the sum that is opened of the clients' updates, each of shape (values,)."""


@dataclass(frozen=True)
class Federation:
    """Who trains, and on what a model is judged.

    Attributes:
        data: each client's own.
        majority: accuracy of who always says what most of the test mails are.
    """

    data: Sequence[Bags]
    test: Bags
    majority: float


@dataclass(frozen=True)
class Point:
    """One training. `epsilon` is infinite without noise."""

    mails: str
    clients: int
    way: str
    noise: float
    epsilon: float
    repetition: int
    accuracy: float


# ------------------------------------------------------------------------------------------------ one training


def train(federation: Federation, rounds: int, seed: int, add_up: AddUp) -> float:
    """Federated averaging for so many rounds with sums made by `add_up`; gives the last model's test accuracy."""
    model, clients = initial_model(SPAM, seed), len(federation.data)
    for number in range(1, rounds + 1):
        updates = [
            client_update(SPAM, model, data, client_rng(seed, number, client)).delta
            for client, data in enumerate(federation.data, start=1)
        ]
        model = next_model(model, CohortSum(clients, add_up(updates), 0, 0.0, 0))
    return evaluate_model(SPAM, model, federation.test).accuracy


def in_clear(updates: Sequence[FloatArray]) -> FloatArray:
    """The sum without clipping and noise."""
    return np.sum(updates, axis=0)  # type: ignore[no-any-return]


def distributed(mechanism: Mechanism, random_bytes: RandomBytes) -> AddUp:
    """Every client adds its share of the noise, as in this protocol."""
    return lambda updates: _unscaled(
        np.sum([mechanism.protect(update, random_bytes) for update in updates], axis=0), mechanism
    )


def central(mechanism: Mechanism, privacy: Privacy, random_bytes: RandomBytes) -> AddUp:
    """A trusted party adds up clipped updates and adds all of the noise."""

    def add_up(updates: Sequence[FloatArray]) -> FloatArray:
        bits, sensitivity = mechanism.fraction_bits, mechanism.sensitivity
        clipped = np.stack([to_integers(clip(update, privacy.clip_norm), bits, sensitivity) for update in updates])
        return _unscaled(central_sum(clipped, privacy, sensitivity, random_bytes), mechanism)

    return add_up


def _unscaled(integers: IntArray, mechanism: Mechanism) -> FloatArray:
    return np.ldexp(integers.astype(np.float64), -mechanism.fraction_bits)


def epsilon_of(mechanism: Mechanism, clients: int, rounds: int, values: int) -> float:
    """What so many rounds of all clients cost."""
    events = [
        NoisySum(number, clients, 0, mechanism.sensitivity, mechanism.variance, values)
        for number in range(1, rounds + 1)
    ]
    return spent(events, DELTA).epsilon


# ------------------------------------------------------------------------------------------------ data


def made_up(clients: int, seed: int) -> Federation:
    """One mailbox a client, each with topics of its own."""
    data = [prepare(generate_mailbox(seed, owner, MAILS)) for owner in range(1, clients + 1)]
    return _federation(data, generate_test_mails(seed, clients, TEST_MAILS))


def dealt_out(mails: Sequence[Mail], held_out: Sequence[Mail], clients: int, seed: int) -> Federation:
    """Real mail, dealt out evenly among the clients."""
    parts = partition_iid(mails, clients, np.random.default_rng([seed, clients]))
    return _federation([prepare(part) for part in parts], held_out)


def _federation(data: Sequence[Bags], test: Sequence[Mail]) -> Federation:
    spam = sum(mail.spam for mail in test) / len(test)
    return Federation(data, prepare(test), max(spam, 1 - spam))


def _sources(run: Run) -> Iterator[tuple[str, Callable[[int, int], Federation]]]:
    """Names of kinds of mail, and what makes a federation of so many clients from a seed."""
    yield "made up", made_up
    if run.data is not None:
        boxes = [path for path in mailboxes_in(run.data) if path.name.startswith("enron")]
        mails = [mail for path in boxes for mail in read_mailbox(path).mails]
        if mails:
            kept, held_out = split_held_out(mails, HELD_OUT)
            yield "Enron", lambda clients, seed: dealt_out(kept, held_out, clients, seed)


# ------------------------------------------------------------------------------------------------ the experiment

WAYS = ("distributed", "central")


def study(run: Run) -> Iterator[Row]:
    """Train with noise of several strengths, shared by several numbers of clients, and without."""
    counts = run.pick((10, 30, 100, 300), (10, 100))
    noises = run.pick((0.5, 1.5, 4.0), (0.5, 4.0))
    repetitions, rounds = run.pick(5, 2), run.pick(5, 4)
    points: list[Point] = []
    for name, make in _sources(run):
        for clients in counts:
            for repetition in range(repetitions):
                points += _points(run, name, make, clients, noises, rounds, repetition)
            yield from _rows([each for each in points if (each.mails, each.clients) == (name, clients)], rounds)
    _draw(run, points)


def _points(
    run: Run,
    name: str,
    make: Callable[[int, int], Federation],
    clients: int,
    noises: Sequence[float],
    rounds: int,
    repetition: int,
) -> Iterator[Point]:
    seed = run.seed * 1000 + repetition
    run.progress(f"{name} mail, {clients} clients, repetition {repetition + 1}")
    federation = make(clients, seed)
    yield Point(name, clients, "majority", 0.0, 0.0, repetition, round(federation.majority, 6))
    yield Point(name, clients, "no noise", 0.0, float("inf"), repetition, train(federation, rounds, seed, in_clear))
    for place, noise in enumerate(noises):
        privacy = Privacy(CLIP_NORM, noise, DELTA)
        mechanism = mechanism_for(privacy, clients, VALUE_BITS)
        epsilon = epsilon_of(mechanism, clients, rounds, len(initial_model(SPAM, 0)))
        rngs = [run.rng(15, clients, repetition, place, way) for way in (0, 1)]
        ways = (distributed(mechanism, rngs[0].bytes), central(mechanism, privacy, rngs[1].bytes))
        for way, add_up in zip(WAYS, ways, strict=True):
            yield Point(name, clients, way, noise, epsilon, repetition, train(federation, rounds, seed, add_up))


def _found(points: Sequence[Point], mails: str, clients: int, way: str, noise: float) -> list[float]:
    wanted = (mails, clients, way, noise)
    return [each.accuracy for each in points if (each.mails, each.clients, each.way, each.noise) == wanted]


def _mean(points: Sequence[Point], mails: str, clients: int, way: str, noise: float) -> Interval:
    return over_seeds(_found(points, mails, clients, way, noise))


def _groups(points: Sequence[Point]) -> list[tuple[str, int]]:
    return list(dict.fromkeys((each.mails, each.clients) for each in points))


def _noises(points: Sequence[Point]) -> dict[float, float]:
    """epsilon by noise multiplier; it is the same for any number of clients but for the rounding of a variance."""
    return {each.noise: each.epsilon for each in points if each.way == "distributed"}


def _rows(points: Sequence[Point], rounds: int) -> Iterator[Row]:
    for mails, clients in _groups(points):
        for noise, epsilon in _noises(points).items():
            yield {
                "mail": mails,
                "clients": clients,
                "rounds": rounds,
                "noise": noise,
                "ε": epsilon,
                **{way: cell(_found(points, mails, clients, way, noise), 3) for way in WAYS},
                "no noise": cell(_found(points, mails, clients, "no noise", 0.0), 3),
                "majority": _mean(points, mails, clients, "majority", 0.0).mean,
            }


def conclude(rows: Sequence[Row]) -> str:
    strongest = max(float(row["noise"]) for row in rows)
    most = [row for row in rows if row["noise"] == strongest]
    found = [f"{_value(row, 'distributed'):.1%} with {row['clients']} clients ({row['mail']} mail)" for row in most]
    gaps = [_value(row, "distributed") - _value(row, "central") for row in rows]
    return (
        f"At an epsilon of {float(most[0]['ε']):.1f} the model is right on {', '.join(found)}: the noise on the mean "
        "update falls with the number of clients who share it. Noise in shares and noise from a trusted party differ "
        f"in mean accuracy by {np.mean(gaps):+.1%} on average, and by {np.abs(gaps).max():.1%} at the most."
    )


def _value(row: Row, way: str) -> float:
    return float(str(row[way]).partition(MARK)[0])


def _draw(run: Run, points: Sequence[Point]) -> None:
    """Accuracy against epsilon, one line for each number of clients; one panel for each kind of mail."""
    from core.pictures.style import COLOURS, GREY, MARKERS, new_figure, style  # matplotlib is slow to import

    kinds = list(dict.fromkeys(each.mails for each in points))
    with style():
        figure = new_figure(5.4 * len(kinds) + 0.8, 4.2, "Accuracy against epsilon")
        panels = np.atleast_1d(figure.subplots(1, len(kinds), sharey=True))
        noises = _noises(points)
        for axes, kind in zip(panels, kinds, strict=True):
            counts = [clients for mails, clients in _groups(points) if mails == kind]
            for number, clients in enumerate(counts):
                for way, dash in (("distributed", "-"), ("central", ":")):
                    means = [_mean(points, kind, clients, way, noise) for noise in noises]
                    axes.errorbar(
                        list(noises.values()),
                        [100 * mean.mean for mean in means],
                        [100 * mean.half for mean in means],
                        fmt=MARKERS[number] + dash,
                        color=COLOURS[number],
                        capsize=3,
                        label=f"{clients} clients" if way == "distributed" else None,
                    )
            majority = [each.accuracy for each in points if each.mails == kind and each.way == "majority"]
            axes.axhline(100 * float(np.mean(majority)), color=GREY, linestyle="--", label="majority")
            axes.set(xscale="log", xlabel="ε of the training (dotted: central noise)", title=f"{kind} mail")
        panels[0].set_ylabel("test accuracy, %")
        panels[-1].legend()
    run.save("privacy-utility", figure)


STUDY = Study(
    name="privacy-utility",
    title="What does privacy cost in accuracy?",
    question="How accurate is a model that was trained with client-level differential privacy, and how many clients "
    "does it take?",
    adversary="Sees every opened sum and every model, knows who takes part. epsilon bounds what it learns of any one "
    "client in the whole training.",
    method="Federated averaging of the spam model (8,193 weights) in one process, in the integers of the protocol, "
    f"without encryption (it changes no bit). Clip norm {CLIP_NORM:g}, delta {DELTA:g}, everybody in every round. "
    f"Made-up mail: {MAILS} mails a client, of unlike owners; with --data also Enron-Spam, dealt out evenly. "
    "Repetitions with other mail, starts and noise; means with 95 % intervals. `central`: a trusted party would add "
    "the noise, once. `majority`: who always says what most mails are, and looks at no model, is right so often.",
    limits="epsilon is for the training alone: that clip norm and number of rounds were chosen by looking at other "
    "trainings on made-up mail is not counted. One task; images need more clients than one machine likes to play. An "
    "epsilon of 10 or more promises little on paper, even where no known attack succeeds.",
    run=study,
    conclude=conclude,
)
