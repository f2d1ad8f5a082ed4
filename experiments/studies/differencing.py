"""Two sums that differ by one client, subtracted; and what the rule against it costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from book.pictures.style import new_figure, style
from book.run import Run
from core.data.text import Bags
from core.difference import WINDOW
from core.federated import client_update, encoding_for, initial_model
from core.secagg.scheme import PAILLIER, PublicKey
from core.tasks.spam import SPAM
from experiments.arrays import FloatArray, IntArray
from experiments.attacks.differences import log_odds_from_difference
from experiments.attacks.roc import auc
from experiments.attacks.scores import precision_recall
from experiments.attacks.sums import rate_of_clients
from experiments.attacks.words import moved
from experiments.studies import _four_sums
from experiments.studies._columns import cells, halves, means
from experiments.studies._dropout import Dropout, measure
from experiments.studies._lines import draw_line, log_ticks
from experiments.studies._mailroom import Mailroom, open_mailroom
from experiments.studies.sum_leakage import KEY_BITS, MAILS, TRAININGS, Training, by_use
from experiments.study import Row, Study
from keyholder.difference import exposed_by

COHORTS = (3, 10, 30, 100)
MIN_COHORT = 5
DROPOUTS = (0.0, 0.02, 0.05, 0.10)
FEDERATIONS = ((20, 2), (20, 5), (100, 2), (100, 5), (100, 10))
VICTIM = 0
SHADOWS = 20
Cohort = tuple[int, ...]


@dataclass(frozen=True)
class Pair:
    """Two sums: who is in the second one, of clients 0 to n, and whether the model moved in between."""

    name: str
    second: Callable[[int], Cohort]
    same_round: bool = False


PAIRS = (
    Pair("same round, one left out", lambda n: tuple(range(1, n)), same_round=True),
    Pair("next round, one left out", lambda n: tuple(range(1, n))),
    Pair("next round, one replaced", lambda n: tuple(range(1, n + 1))),
    Pair(f"next round, {MIN_COHORT} left out", lambda n: tuple(range(MIN_COHORT, n))),
)


def study(run: Run) -> Iterator[Row]:
    room = open_mailroom(run, *run.pick((60, 100), (25, 50)))
    rows = []
    for stream, training in enumerate(TRAININGS):
        for n in COHORTS[: run.pick(len(COHORTS), 3)]:
            run.progress(f"{training.name}, {n} clients")
            found = [repeat(run, room, training, n, (stream, n, number)) for number in range(run.pick(10, 5))]
            for pair in PAIRS:
                if len(pair.second(n)) < 2:
                    continue
                rows.append(row_of(pair, training, n, [each[pair.name] for each in found]))
                yield rows[-1]
    for stream, training in enumerate(TRAININGS):
        run.progress(f"{training.name}, four sums")
        yield _four_sums.row_of(run, room, training, MIN_COHORT, stream)
    costs: list[Row] = []
    for clients, min_cohort in FEDERATIONS:
        run.progress(f"drop-out of {clients} clients, minimum cohort {min_cohort}")
        for place, chance in enumerate(DROPOUTS):
            settings = Dropout(clients, min_cohort, chance, rounds=run.pick(200, 60))
            repetitions = run.pick(10, 5)
            measured = [measure(settings, run.rng(3, clients, min_cohort, place, i)) for i in range(repetitions)]
            what = f"{settings.rounds} rounds, drop-out {chance:.0%}"
            costs.append({"what": what, "clients": clients, "min cohort": min_cohort, **cells(measured)})
            yield costs[-1]
    draw(run, rows, costs)


def row_of(pair: Pair, training: Training, n: int, repetitions: Sequence[dict[str, float]]) -> Row:
    """Return what the attacker gets without the rule, and with it if the second sum is opened at all."""
    first, second = (frozenset(map(str, cohort)) for cohort in (range(n), pair.second(n)))
    refused = bool(exposed_by(second, [("run", 1, first)], MIN_COHORT))
    measured = cells(repetitions)
    alone = measured.pop("AUC of one sum")
    return {
        "what": f"{pair.name}; {training.name}",
        "clients": n,
        "min cohort": MIN_COHORT,
        "rule": "refuses" if refused else "allows",
        "AUC, off": measured["AUC"],
        "AUC, on": alone if refused else measured["AUC"],
        "AUC blind": measured["AUC blind"],
        "recall": measured["recall"],
        "precision": measured["precision"],
    }


def repeat(
    run: Run, room: Mailroom, training: Training, n: int, stream: tuple[int, ...]
) -> dict[str, dict[str, float]]:
    """Play two rounds of a cohort of n clients and one more, and judge every pair of sums."""
    start = initial_model(SPAM, run.seed)
    encoding = encoding_for(SPAM, len(start), PublicKey(PAILLIER, KEY_BITS).plaintext_bits, n + 1)
    clients = [room.data_of(rows) for rows in room.deal(n + 1, MAILS, run.rng(1, *stream))]
    shadows = room.shadows(SHADOWS, MAILS, run.rng(4, *stream))

    def updates(model: FloatArray, data: Sequence[Bags], *numbers: int) -> IntArray:
        """Return what each client sends, as integers, shape (clients, words)."""
        return np.stack([
            encoding.quantise(client_update(training.task, model, each, run.rng(2, *stream, *numbers, i)).delta)[:-1]
            for i, each in enumerate(data)
        ])  # fmt: skip

    now = updates(start, clients, 1)
    moved_model = start + np.append(now[:n].sum(axis=0), 0) * 2.0**-encoding.fraction_bits / n
    later = updates(moved_model, clients, 2)
    noise = drift_of(updates(start, shadows, 3), updates(moved_model, shadows, 4))
    used, first = set(clients[VICTIM].indices.tolist()), now[:n].sum(axis=0)
    return {
        pair.name: judge(
            room, training, n, used, first, (now if pair.same_round else later)[list(pair.second(n))].sum(axis=0),
            noise[0], 0 if pair.same_round else noise[1],
        )
        for pair in PAIRS
    }  # fmt: skip


def drift_of(first: IntArray, second: IntArray) -> tuple[float, float]:
    """Return how large the attacker's own clients' changes are, and how they differ between rounds."""
    used = first != 0
    return float(np.sqrt((first[used] ** 2).mean())), float(np.sqrt(((first - second)[used] ** 2).mean()))


def judge(
    room: Mailroom, training: Training, n: int, used: set[int], first: IntArray, second: IntArray, size: float,
    drift: float,
) -> dict[str, float]:  # fmt: skip
    """Judge what the difference of two sums says of the victim, and what the first sum alone says."""
    rates = rate_of_clients(room.words.frequency, len(room.public), MAILS)
    odds = log_odds_from_difference(first - second, rates, n - 1, size, drift)
    precision, recall = precision_recall(moved(odds > 0), used)
    return {
        "AUC": auc(*by_use(odds, used)),
        "AUC of one sum": auc(*by_use(training.odds(first, rates, n), used)),
        "AUC blind": auc(*by_use(room.words.frequency, used)),
        "recall": recall,
        "precision": precision,
    }


LINES = (
    ("same round, one left out; 1 step", "AUC, off", "same round"),
    ("next round, one left out; 1 step", "AUC, off", "next round, 1 step"),
    ("next round, one left out; 5 steps", "AUC, off", "next round, 5 steps"),
    ("next round, one left out; 5 steps", "AUC, on", "rule: one sum only, 5 steps"),
    ("next round, one left out; 5 steps", "AUC blind", "public frequency alone"),
)


@style()
def draw(run: Run, pairs: Sequence[Row], costs: Sequence[Row]) -> None:
    """Draw what the difference says against the cohort's size, and the rounds refused against drop-out."""
    figure = new_figure(10.4, 4.6, "Two sums that differ by one client, and what it costs to refuse the second")
    left, right = figure.subplots(1, 2)
    for number, (what, name, label) in enumerate(LINES):
        own = [row for row in pairs if row["what"] == what]
        at = [int(row["clients"]) for row in own]
        draw_line(left, number, at, means(own, name), halves(own, name), label=label)
    log_ticks(left, COHORTS[: len(at)])
    left.set(xlabel="clients in the first sum, of which one is left out", ylabel="AUC of its words (0.5 = no idea)")
    percent = [100 * chance for chance in DROPOUTS]
    for number, (clients, min_cohort) in enumerate(FEDERATIONS):
        own = [row for row in costs if (row["clients"], row["min cohort"]) == (clients, min_cohort)]
        label = f"{clients} clients, differences of at least {min_cohort}"
        draw_line(right, number, percent, means(own, "refused"), halves(own, "refused"), label=label)
    right.set(xlabel="chance that a client misses a round (%)", ylabel="rounds refused (1 = all)", ylim=(-0.02, 1.05))
    for axes in (left, right):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
    run.save("difference", figure)


def conclude(rows: Sequence[Row]) -> str:
    pairs, costs = [row for row in rows if "rule" in row], [row for row in rows if "refused" in row]
    fours = [row for row in rows if "exact, off" in row]
    same = [row for row in pairs if str(row["what"]).startswith("same round")]
    across = [row for row in pairs if str(row["what"]).startswith("next round, one left out")]
    refused = [row for row in pairs if row["rule"] == "refuses"]
    allowed = [row for row in pairs if row["rule"] == "allows"]
    worst = max(costs, key=lambda row: means([row], "refused")[0])
    some = [row for row in costs if not str(row["what"]).endswith(" 0%")]
    alone = {name: sum(mean > 0 for mean in means(some, name)) for name in ("alone, off", "alone, on")}
    return (
        f"Two sums of one round that differ by one client give its words with precision "
        f"{min(means(same, 'precision')):.2f} and recall {min(means(same, 'recall')):.2f} at least, whatever the size "
        f"of the cohort; sums of two rounds with an AUC of {span(means(across, 'AUC, off'))} (public frequency: "
        f"{span(means(across, 'AUC blind'))}). The rule refuses {len(refused)} of these {len(pairs)} pairs, and leaves "
        f"what one sum says: {span(means(refused, 'AUC, on'))}. What it allows gives "
        f"{span(means(allowed, 'AUC, on')) if allowed else 'nothing here'}. It costs up to "
        f"{means([worst], 'refused')[0]:.0%} of the rounds ({worst['clients']} clients, minimum cohort "
        f"{worst['min cohort']}, {worst['what']}), where hardly any two rounds have the same contributors and none are "
        f"far enough apart. Of {len(some)} federations with drop-outs, {alone['alone, off']} let clients be told apart "
        f"by combining the sums of all rounds without the rule, and {alone['alone, on']} with it: it stops pairs, not "
        f"combinations. Four sums of one model, no two of them too similar, combine to one client's update: "
        f"{span(means(fours, 'exact, off'))} of its weights are exact. With one sum for each starting model they are "
        f"sums of four rounds, and {span(means(fours, 'exact, on'))} of the weights are "
        f"(AUC {span(means(fours, 'AUC, on'))})."
    )


def span(values: Sequence[float]) -> str:
    """Write the least and the greatest of some numbers."""
    return f"{min(values):.2f} to {max(values):.2f}"


STUDY = Study(
    name="differencing",
    title="Two sums that differ by one client, and the rule against it",
    question="What do the sums of n and of n - 1 clients say together, and what does it cost to refuse the second?",
    adversary="Anyone who sees opened sums and their contributors: aggregator and key holders. An aggregator can "
    "choose whose update it leaves out. Under `--difference-rule off` or `report` holders open the second sum too. The "
    "attacker has public mail, on which it trains its own clients to see how updates drift between rounds.",
    method="The victim is in the first sum and not in the second; updates are those of real local training, quantised "
    "and added as integers. In the next round the model has moved by the published rule, and all train again. Words "
    "are judged by Bayes' rule from public frequency and difference (experiments/attacks/differences.py): AUC over "
    "all weights; recall and precision where the odds are better than even. `rule` is what the key holders' own "
    "function says with the given minimum cohort; where it refuses, the attacker is left with the first sum, as in "
    "sum-leakage. Below: each client misses a round by chance, and a round is refused if its contributors differ from "
    f"one of the last {WINDOW} opened ones by fewer than the minimum cohort. `alone` is the share of clients that "
    "stand alone in some weighted combination of all opened sums (rank of the contributors' matrix). The rows with "
    "four sums are v + A + B - (A + C) + (C + D) - (B + D), with groups of half the minimum cohort: every pair is "
    "allowed. `off`: all four start from one model, as in four runs of one seed; `on`: each starts from a model of its "
    "own, because holders open one sum from each, and clients contribute to each in one round. `exact` is the share of "
    "the weights the victim moved that are exactly right. ± is half of a 95 % interval over repetitions.",
    limits="Alone means that the combination exists; updates change from round to round, so what it gives is a mixture "
    "over rounds and not an exact update. Only noise limits what many sums say together (N3 in docs/threat-model.md). "
    "Refused rounds are not tried again with other clients here.",
    run=study,
    conclude=conclude,
)
