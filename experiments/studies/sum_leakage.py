"""What the exact sum of n clients still says, though no single update is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from book.pictures.style import BLUE, GREEN, GREY, VERMILLION, new_figure, style
from book.run import Run
from core.federated import client_update, encoding_for, initial_model
from core.secagg.scheme import PAILLIER, PublicKey
from core.tasks.spam import SPAM, VOCABULARY
from core.tasks.task import LocalTraining, Task
from experiments.arrays import FloatArray, IntArray
from experiments.attacks.roc import auc
from experiments.attacks.scores import precision_recall
from experiments.attacks.sums import odds_if_nothing_cancels, odds_of_equal_steps, rate_of_clients
from experiments.attacks.words import moved
from experiments.studies._columns import cells, halves, means
from experiments.studies._lines import Line, draw_columns, log_ticks
from experiments.studies._mailroom import STEP, Mailroom, open_mailroom
from experiments.study import Row, Study

COHORTS = (1, 3, 10, 30, 100, 300, 1000)
MAILS = 10
VICTIMS = 10
KEY_BITS = 2048


@dataclass(frozen=True)
class Training:
    """How every client trains on its mails. With one step of Adam every change has the same size, and some cancel."""

    name: str
    batch_size: int
    equal_steps: bool

    @property
    def task(self) -> Task:
        """The spam task with this local training."""
        return replace(SPAM, local=LocalTraining(STEP, 1, self.batch_size))

    def odds(self, total: IntArray, rates: FloatArray, clients: int) -> FloatArray:
        """Return the odds of each word being in one client's mail, given the sum."""
        return (odds_of_equal_steps if self.equal_steps else odds_if_nothing_cancels)(total != 0, rates, clients)


TRAININGS = (Training("1 step", 16, equal_steps=True), Training("5 steps", 2, equal_steps=False))


def study(run: Run) -> Iterator[Row]:
    room = open_mailroom(run, *run.pick((100, 110), (25, 50)))
    possible = room.most_clients(MAILS)
    cohorts = [n for n in COHORTS if n <= min(possible, run.pick(1000, 100))]
    if left_out := [n for n in COHORTS if n > possible]:
        run.say(f"there is mail for {possible} clients of {MAILS}; cohorts of {left_out} are left out")
    rows = []
    for stream, training in enumerate(TRAININGS):
        found: list[list[dict[str, float]]] = [[] for _ in cohorts]
        for repetition in range(run.pick(10, 5)):
            run.progress(f"{training.name}, repetition {repetition + 1}")
            for place, measured in enumerate(repeat(run, room, training, cohorts, (stream, repetition))):
                found[place].append(measured)
        for n, repetitions in zip(cohorts, found, strict=True):
            row: Row = {"local training": training.name, "clients": n, **cells(repetitions)}
            rows.append(row)
            yield row
    draw(run, rows)


def repeat(
    run: Run, room: Mailroom, training: Training, cohorts: Sequence[int], stream: tuple[int, int]
) -> Iterator[dict[str, float]]:
    """Judge one largest cohort, and its first clients as the smaller ones."""
    clients = room.deal(cohorts[-1], MAILS, run.rng(1, *stream))
    model = initial_model(SPAM, run.seed)
    sums = sums_of_first(run, room, training, model, clients, stream)
    for n in cohorts:
        yield judge(room, training, sums[n - 1], [room.numbers_of(rows) for rows in clients[:n]])


def sums_of_first(
    run: Run,
    room: Mailroom,
    training: Training,
    model: FloatArray,
    clients: Sequence[IntArray],
    stream: tuple[int, int],
) -> IntArray:
    """Return the opened sums of the first 1, 2, ... clients as encoded integers, shape (clients, vocabulary)."""
    bits = PublicKey(PAILLIER, KEY_BITS).plaintext_bits
    encoding = encoding_for(SPAM, len(model), bits, len(clients))
    total = np.zeros(VOCABULARY.size, np.int64)
    sums = np.empty((len(clients), VOCABULARY.size), np.int32)
    for number, rows in enumerate(clients):
        update = client_update(training.task, model, room.data_of(rows), run.rng(2, *stream, number))
        total += encoding.quantise(update.delta)[:-1]
        sums[number] = total
    return sums.astype(np.int64)


def judge(room: Mailroom, training: Training, total: IntArray, used: Sequence[set[int]]) -> dict[str, float]:
    """Judge what the sum says of the group, and on average of its first few clients."""
    seen, by_anyone, frequency = moved(total), set().union(*used), room.words.frequency
    order = np.argsort(-frequency, kind="stable").tolist()
    victims = used[:VICTIMS]
    as_frequent = set(order[: len(seen)])
    rates = rate_of_clients(frequency, len(room.public), MAILS)
    odds = training.odds(total, rates, len(used))
    return {
        "group recall": precision_recall(seen, by_anyone)[1],
        "group blind": precision_recall(set(order[: len(by_anyone)]), by_anyone)[1],
        "attribution": float(np.mean([precision_recall(seen, own)[0] for own in victims])),
        "attribution blind": float(np.mean([precision_recall(as_frequent, own)[0] for own in victims])),
        "AUC": float(np.mean([auc(*by_use(odds, own)) for own in victims])),
        "AUC of size": float(np.mean([auc(*by_use(np.abs(total), own)) for own in victims])),
        "AUC blind": float(np.mean([auc(*by_use(frequency, own)) for own in victims])),
    }


def by_use(scores: np.ndarray, used: set[int]) -> tuple[np.ndarray, np.ndarray]:
    """Split the scores of all word numbers, shape (vocabulary,), into those of used words and those of the others."""
    inside = np.zeros(VOCABULARY.size, bool)
    inside[sorted(used)] = True
    return scores[inside], scores[~inside]


PANELS = (
    ("share (1 = all)", (Line("group recall", "used by anyone: recall", BLUE, "-", "o"),
                         Line("group blind", "used by anyone: guessed blindly", GREY, ":", "v"),
                         Line("attribution", "used by this client: precision", VERMILLION, "--", "s"))),
    ("AUC (0.5 = no idea)", (Line("AUC", "sum and public frequency", BLUE, "-", "o"),
                             Line("AUC of size", "size of the sum alone", GREEN, "-.", "^"),
                             Line("AUC blind", "public frequency alone", GREY, ":", "v"))),
)  # fmt: skip


@style()
def draw(run: Run, rows: Sequence[Row]) -> None:
    """Draw group, attribution and membership against the number of clients, for the task's own training."""
    chosen = [row for row in rows if row["local training"] == TRAININGS[0].name]
    at = [int(row["clients"]) for row in chosen]
    figure = new_figure(9.2, 4.6, "A sum hides who, and not what")
    for axes, (label, lines) in zip(figure.subplots(1, 2), PANELS, strict=True):
        draw_columns(axes, at, chosen, lines)
        log_ticks(axes, at)
        axes.set(xlabel=f"clients in the sum, {MAILS} mails each", ylabel=label)
        axes.set_ylim((0, 1.05) if "share" in label else (0.45, 1.02))
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
    run.save("sum", figure)


def conclude(rows: Sequence[Row]) -> str:
    return " ".join(_conclude([row for row in rows if row["local training"] == each.name]) for each in TRAININGS)


def _conclude(rows: Sequence[Row]) -> str:
    group, attribution, auc = (means(rows, name) for name in ("group recall", "attribution", "AUC"))
    blind = means(rows, "AUC blind")
    until = _alike_from(rows)
    return (
        f"With {rows[0]['local training']} of local training {min(group):.0%} to {max(group):.0%} of the words that "
        f"the group used show in the sum. Of the words that show, a given client used {attribution[0]:.0%} "
        f"where it is alone and {attribution[-1]:.0%} among {int(rows[-1]['clients']):,}. The AUC of a word being in "
        f"its mail falls from {auc[0]:.2f} to {auc[-1]:.2f}; public frequency alone gives {blind[-1]:.2f}, from "
        f"which it can no longer be distinguished {until}."
    )


def _alike_from(rows: Sequence[Row]) -> str:
    """Write from which cohort on no larger one says anything about a client."""
    telling = [place for place, row in enumerate(rows) if _tells(row)]
    first = telling[-1] + 1 if telling else 0
    return f"from {rows[first]['clients']} clients on" if first < len(rows) else "at none of these sizes"


def _tells(row: Row) -> bool:
    """Tell whether the sum beats public frequency by more than both intervals."""
    gain = means([row], "AUC")[0] - means([row], "AUC blind")[0]
    return gain > halves([row], "AUC")[0] + halves([row], "AUC blind")[0]


STUDY = Study(
    name="sum-leakage",
    title="What a sum still says: the words of a group, and whose they are",
    question="Which words does the sum of n updates give away, and can one of them be pinned on one client?",
    adversary="Anyone who sees the opened sum of one round: aggregator, key holders and clients. It knows the model "
    "that the round started from, how clients train and public word frequencies, and sees no single update.",
    method="Updates are quantised and added as integers, as in the protocol; only the sum is looked at. Group recall: "
    "of the words used in the group, the share whose sum is not zero (blind: as many of the most frequent public "
    "words). Attribution: of the words that show, the share that a given client used (blind: of as many frequent "
    "words). AUC: how often a word of the client ranks above one that is not, if ranked by Bayes' rule from public "
    "frequency and sum (experiments/attacks/sums.py), by the size of the sum alone, or, blind, by public frequency "
    "alone. Means over the first ten clients, ± half of a 95 % interval over repetitions.",
    limits="One round, and clients with ten mails each. Two clients whose steps are equal and opposite cancel, which "
    "hides a word by chance and not by design. The model has 8,192 weights: a thousand clients use nearly all of "
    "them, and a blind guess that everything was used is right too. An attacker who knows something else of a client, "
    "or sees several sums, learns more: see differencing.",
    run=study,
    conclude=conclude,
)
