"""A property of one client's mail, inferred from a sum of many clients' updates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from book.chapters.chapter_15 import ENRON
from book.pictures.style import GREY, new_figure, style
from book.run import Run
from core.data.generated import generate_mailbox
from core.data.message import Mail
from core.data.partition import split_held_out
from core.data.text import Bags
from core.errors import DataError, SettingsError
from core.federated import client_update, encoding_for, initial_model
from core.tasks.spam import SPAM, prepare, read
from experiments.arrays import BoolArray, FloatArray, IntArray
from experiments.attacks.property_inference import LinearScore, learn_to_tell
from experiments.attacks.roc import auc
from experiments.studies._lines import draw_line
from experiments.studies._mailroom import some_of
from experiments.studies._updates import PLAINTEXT_BITS, clipped, defence_name
from experiments.study import Row, Study
from results.intervals import Interval, over_seeds

MAILS = 20  # of one client
CLIP_NORM = 0.5
PROPERTIES = ("writes about one subject", "gets mostly spam")


@dataclass(frozen=True)
class Size:
    """How much is done: repetitions, clients of either side, sums of either kind, and what is varied."""

    seeds: int
    clients: int
    trials: int
    cohorts: tuple[int, ...]
    noises: tuple[float, ...]


def size_of(run: Run) -> Size:
    full = Size(5, 600, 1000, (1, 2, 5, 10, 20, 50, 100), (0.01, 0.1, 1.0))
    return run.pick(full, Size(3, 120, 200, (1, 5, 20, 100), (0.1,)))


@dataclass(frozen=True)
class Population:
    """Mail of which clients are made up, prepared.

    Attributes:
        bags: all mails.
        spam: row numbers of spam.
        ham: row numbers of each mailbox's ham; the subject is the first's.
    """

    bags: Bags
    spam: IntArray
    ham: tuple[IntArray, ...]

    def client(self, name: str, has_property: bool, rng: np.random.Generator) -> Bags:
        """Make one client: half its ham from the first mailbox or none, or 70 % spam or 30 %; else as others."""
        sources, spam = self.ham, MAILS // 2
        if name == PROPERTIES[0]:
            others = self.ham[1:]
            sources = (self.ham[0],) * len(others) + others if has_property else others
        else:
            spam = round(MAILS * (0.7 if has_property else 0.3))
        picked = [rng.choice(sources[place]) for place in rng.integers(0, len(sources), MAILS - spam)]
        return some_of(self.bags, np.concatenate([rng.choice(self.spam, spam, replace=False), picked]))


@dataclass(frozen=True)
class Updates:
    """Updates as they are sent, of clients of whom every other has the property: shape (clients, values)."""

    sent: FloatArray
    has_property: BoolArray


def mailboxes(run: Run) -> list[list[Mail]]:
    """Read the four Enron mailboxes, or make four up."""
    if run.data is None:
        return [generate_mailbox(run.seed, owner, run.pick(1500, 500)) for owner in range(1, 5)]
    missing = [name for name in ENRON if not (run.data / name).is_file()]
    if missing:
        raise DataError(
            f"{run.data} lacks {', '.join(missing)} of Enron-Spam (Metsis et al. 2006), each a file of lines "
            "label<TAB>text; no checksum is published, so they have to be fetched by hand"
        )
    return [list(read(run.data / name).examples) for name in ENRON]


def populations(run: Run) -> tuple[Population, Population]:
    """Return the attacker's mail and the clients', which have no text in common."""
    halves = [split_held_out(mails, 0.5, run.seed) for mails in mailboxes(run)]
    mine, theirs = zip(*halves, strict=True)
    return _population(mine), _population(theirs)


def _population(mails: Sequence[Sequence[Mail]]) -> Population:
    labels = [np.array([mail.spam for mail in mailbox]) for mailbox in mails]
    starts = np.cumsum([0, *map(len, mails)])
    ham = tuple(start + np.flatnonzero(~spam) for start, spam in zip(starts, labels, strict=False))
    bags = prepare([mail for mailbox in mails for mail in mailbox])
    return Population(bags, np.flatnonzero(np.concatenate(labels)), ham)


def updates_of(run: Run, people: Population, name: str, clients: int, stream: Sequence[int], norm: float) -> Updates:
    """Let clients train in round 1 and send, as integers of the encoding; every second one has the property.

    Args:
        norm: the longest an update may be; 0 for no limit.
    """
    model, rng = initial_model(SPAM, run.seed), run.rng(*stream)
    encoding = encoding_for(SPAM, len(model), PLAINTEXT_BITS, 64)
    has_property = np.arange(clients) % 2 == 1
    datasets = (people.client(name, bool(has), rng) for has in has_property)
    deltas = np.stack([client_update(SPAM, model, data, rng).delta for data in datasets])
    limited = clipped(deltas, norm) if norm else deltas
    return Updates(
        np.ldexp(np.stack([encoding.quantise(row) for row in limited]), -encoding.fraction_bits), has_property
    )


def sums_scored(
    score: LinearScore, updates: Updates, n: int, trials: int, noise: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Score sums of n clients in which the victim has the property, and sums in which it has not.

    Args:
        noise: standard deviation of what is added to each weight of the sum.

    Raises:
        SettingsError: there are fewer than n clients.
    """
    if n > len(updates.sent):
        raise SettingsError(f"a sum of {n} clients cannot be made of {len(updates.sent)}")
    each, spread = score(updates.sent), noise * float(np.linalg.norm(score.weights))
    found = []
    for kind in (updates.has_property, ~updates.has_property):
        victims = rng.choice(np.flatnonzero(kind), trials)
        # The score is linear: that of the exact sum is the sum of scores.
        totals = [
            each[victim] + each[rng.permutation(np.delete(np.arange(len(each)), victim))[: n - 1]].sum()
            for victim in victims
        ]
        found.append(np.array(totals) + spread * rng.standard_normal(trials))
    return found[0], found[1]


def study(run: Run) -> Iterator[Row]:
    size, people = size_of(run), populations(run)
    rows = []
    for name in PROPERTIES:
        prior_only: Row = {"defence": "no sum seen: the public share, a half", "AUC": 0.5, "± (95 %)": 0.0}
        yield {"property": name, "clients in the sum": 0, **prior_only}
        for norm, noises in ((0.0, (0.0,)), (CLIP_NORM, size.noises)):
            for (noise, n), areas in sorted(measure(run, size, people, name, norm, noises).items()):
                rows.append(_row(name, n, norm, noise, over_seeds(areas)))
                yield rows[-1]
    draw(run, rows)


def measure(
    run: Run, size: Size, people: tuple[Population, Population], name: str, norm: float, noises: Sequence[float]
) -> dict[tuple[float, int], list[float]]:
    """Measure the AUC of every repetition, by noise and number of clients."""
    found: dict[tuple[float, int], list[float]] = {}
    for seed in range(size.seeds):
        run.progress(f"{name}: repetition {seed + 1} of {size.seeds}, norm clip {norm:g}")
        learned, judged = (
            updates_of(run, side, name, size.clients, (PROPERTIES.index(name), seed, number), norm)
            for number, side in enumerate(people)
        )
        score = learn_to_tell(learned.sent, learned.has_property)
        for noise in noises:
            for n in size.cohorts:
                groups = sums_scored(score, judged, n, size.trials, noise * norm, run.rng(9, seed, n))
                found.setdefault((noise, n), []).append(auc(*groups))
    return found


def _row(name: str, n: int, norm: float, noise: float, area: Interval) -> Row:
    defence = defence_name(norm, noise)
    return {"property": name, "clients in the sum": n, "defence": defence, "AUC": area.mean, "± (95 %)": area.half}


@style()
def draw(run: Run, rows: Sequence[Row]) -> None:
    """Draw how sure the attacker is against the number of clients, with noise and without."""
    figure = new_figure(8.4, 4.0, title="One client's property in the sum of n")
    for axes, name in zip(figure.subplots(1, 2, sharey=True), PROPERTIES, strict=True):
        own = [row for row in rows if row["property"] == name]
        for number, defence in enumerate(dict.fromkeys(str(row["defence"]) for row in own)):
            line = [row for row in own if row["defence"] == defence]
            at, mean, half = (
                [float(row[column]) for row in line] for column in ("clients in the sum", "AUC", "± (95 %)")
            )
            draw_line(axes, number, at, mean, half, label="no noise, no clip" if defence == "none" else defence)
        axes.axhline(0.5, color=GREY, linewidth=0.8)
        axes.set_xscale("log")
        axes.set_xticks([1, 10, 100], ["1", "10", "100"])
        axes.set(title=name, xlabel="clients in the sum", ylim=(0.45, 1.02))
    figure.axes[0].set_ylabel("AUC (0.5 = guessing)")
    figure.axes[1].legend(fontsize=8)
    run.save("by-clients", figure)


def conclude(rows: Sequence[Row]) -> str:
    def aucs(name: str) -> str:
        line = [row for row in rows if row["property"] == name and row["defence"] == "none"]
        return ", ".join(f"{float(row['AUC']):.2f} in the sum of {row['clients in the sum']}" for row in line)

    noisy = [row for row in rows if row["clients in the sum"] == 1 and "noise" in str(row["defence"])]
    least = min(noisy, key=lambda row: float(row["AUC"]))
    return (
        f"That a client {PROPERTIES[0]} is inferred with an AUC of {aucs(PROPERTIES[0])}. That it {PROPERTIES[1]}: "
        f"{aucs(PROPERTIES[1])}. An attacker who sees no sum has 0.50. The least that noise left of a single update: "
        f"{float(least['AUC']):.2f} ({least['property']}; {least['defence']})."
    )


STUDY = Study(
    name="property-inference",
    title="A property of one client, inferred from a sum",
    question="Does a sum of n updates tell something about one client's mail that it was not meant to tell?",
    adversary="Anyone who sees opened sums and knows that the victim is in one: the aggregator, a key holder, every "
    "client. At n = 1 that is anyone who sees a single update. It has mail of the same kind, and none of the clients'.",
    method=f"Clients have {MAILS} mails each. Half of all clients have the property, the victim and the others "
    "alike: half of its ham is from one of four mailboxes, or none is; or 70 % of its mail is spam, or 30 %. The "
    "attacker trains logistic regression on updates of clients it makes up of its own mail (Melis et al., IEEE "
    "S&P 2019), and scores sums with it: integers of the product's encoding, of client_update in round 1. Prior "
    "only: knowing just that half of all clients have the property gives 0.5 at best.",
    limits="One round. The same victim in many rounds with other clients each time is inferred ever better, as the "
    "others average out; what a sum hides it hides once. The noise is a stated sigma on clipped updates, no epsilon "
    "is claimed. With less difference between the two kinds, less is inferred.",
    run=study,
    conclude=conclude,
)
