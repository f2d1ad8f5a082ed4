"""Labels read off one update: how much of a client's mail is spam, and which digits it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from book.pictures.style import BLUE, GREY, VERMILLION, new_figure, style
from book.run import Run
from core.federated import client_update, initial_model
from core.optim import SGD, Adam
from core.tasks.task import LocalTraining, Task
from experiments.arrays import FloatArray, IntArray
from experiments.attacks.labels import apply_fit, fit, labels_right, mean_gradient, shares_of_labels, whole_counts
from experiments.studies._columns import cells, means
from experiments.studies._label_data import Pool, Subject, digits, spam
from experiments.studies._lines import Line, draw_columns
from experiments.studies._received import PlainAggregator
from experiments.study import Row, Study

DESCENT, ADAM = "gradient descent", "Adam"
TRAININGS = ((1, 1), (4, 1), (16, 1), (64, 1), (16, 5), (16, 20))
"""Examples in a batch, and steps: the client has as many examples as both multiplied."""


@dataclass(frozen=True)
class Setting:
    """How the client under attack trains, and whether the model was trained before."""

    optimiser: str
    batch_size: int
    steps: int
    trained: bool = False

    def task(self, subject: Subject) -> Task:
        """Return the subject's task with this local training."""
        rate = subject.rate if self.optimiser == DESCENT else subject.task.local.learning_rate
        chosen = SGD if self.optimiser == DESCENT else Adam
        return replace(subject.task, local=LocalTraining(rate, 1, self.batch_size, chosen))

    @property
    def examples(self) -> int:
        """How many the client has."""
        return self.batch_size * self.steps


SETTINGS = (
    *(Setting(optimiser, *training) for optimiser in (DESCENT, ADAM) for training in TRAININGS),
    *(Setting(optimiser, 16, steps, trained=True) for optimiser in (DESCENT, ADAM) for steps in (1, 5)),
)


def study(run: Run) -> Iterator[Row]:
    rows = []
    for number, make in enumerate((spam, digits)):
        subject = make(run)
        start = initial_model(subject.task, run.seed)
        trained = start + client_update(subject.task, start, subject.public.data, run.rng(1, number)).delta
        for stream, setting in enumerate(SETTINGS):
            run.progress(f"{subject.name}: {setting}")
            rows.append(attack(run, subject, setting, trained if setting.trained else start, (number, stream)))
            yield rows[-1]
    draw(run, rows)


@dataclass(frozen=True)
class Seen:
    """What the aggregator reads of one client, and the truth.

    Attributes:
        bias: the change of the last bias, shape (classes,).
        correct: the metric sent with the weights.
        counts: the client's labels, shape (classes,).
    """

    bias: FloatArray
    correct: int
    counts: IntArray


class Victims:
    """Makes clients and lets the aggregator of a plain run read them."""

    def __init__(self, subject: Subject, setting: Setting, model: FloatArray) -> None:
        self._subject, self._setting, self._model = subject, setting, model
        self._task = setting.task(subject)
        self._aggregator = PlainAggregator(subject.task, len(model), 1)

    def send(self, pool: Pool, rng: np.random.Generator) -> Seen:
        """Train one client on examples of this pool, and read its update."""
        classes = self._subject.classes
        rows = pool.draw(classes, self._setting.examples, rng)
        received = self._aggregator.read(client_update(self._task, self._model, pool.some(rows), rng))
        counts = np.bincount(pool.labels[rows], minlength=classes)
        return Seen(self._subject.bias_of(received.delta_sum), received.correct, counts)


def attack(run: Run, subject: Subject, setting: Setting, model: FloatArray, stream: tuple[int, int]) -> Row:
    """Attack several victims that train in one setting."""
    victims, examples = Victims(subject, setting, model), setting.examples
    own = [victims.send(subject.public, run.rng(2, *stream, number)) for number in range(run.pick(80, 40))]
    learned = fit(np.stack([each.bias for each in own]), np.stack([each.counts for each in own]) / examples)
    predictions, blind = subject.predictions(model), subject.public.shares(subject.classes)
    found = []
    for number in range(run.pick(60, 10)):
        seen = victims.send(subject.private, run.rng(3, *stream, number))
        gradient = mean_gradient(seen.bias, setting.task(subject).local.learning_rate, setting.steps)
        guesses = {
            "bias": shares_of_labels(gradient, predictions),
            "fitted": apply_fit(seen.bias, learned),
            "blind": blind,
        }
        if subject.classes == 2 and not setting.trained:
            guesses["metric"] = np.array([seen.correct, examples - seen.correct]) / examples
        found.append({name: labels_right(whole_counts(each, examples), seen.counts) for name, each in guesses.items()})
    return {
        "labels of": subject.name,
        "optimiser": setting.optimiser,
        "batch": setting.batch_size,
        "steps": setting.steps,
        "model": "trained" if setting.trained else "untrained",
        **cells(found),
    }


LINES = (
    Line("bias", "from the bias", BLUE, "-", "o"),
    Line("fitted", "from the bias, fitted on the attacker's own clients", VERMILLION, "--", "s"),
    Line("blind", "as in public data, blindly", GREY, ":", "v"),
)


@style()
def draw(run: Run, rows: Sequence[Row]) -> None:
    """Draw labels right against the client's training, for both tasks and optimisers."""
    figure = new_figure(9.6, 6.0, "Labels read off the last bias of one update")
    panels = figure.subplots(2, 2, sharex=True, sharey=True)
    at = range(len(TRAININGS))
    for line, subject in zip(panels, ("spam", "digits"), strict=True):
        for axes, optimiser in zip(line, (DESCENT, ADAM), strict=True):
            own = [row for row in rows if (row["labels of"], row["optimiser"], row["model"])
                   == (subject, optimiser, "untrained")]  # fmt: skip
            draw_columns(axes, at, own, LINES)
            axes.set_title(f"{subject}, {optimiser}")
            axes.set_ylim(0, 1.05)
            axes.set_xticks(at, [f"{batch}×{steps}" for batch, steps in TRAININGS])
    for axes in panels[1]:
        axes.set_xlabel("examples in a batch × steps")
    for axes in panels[:, 0]:
        axes.set_ylabel("labels right (1 = all)")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    run.save("labels", figure)


def conclude(rows: Sequence[Row]) -> str:
    metric = means([row for row in rows if "metric" in row], "metric")
    return (
        f"{_conclude('spam', rows)} {_conclude('digits', rows)} Where updates are in clear no weight is needed in the "
        f"first round: the metric of correct predictions, sent with the weights, gives {min(metric):.0%} to "
        f"{max(metric):.0%} of the labels of spam, because the untrained model calls everything ham. Encrypted, only "
        f"the cohort's total of it is opened, which in the first round is the number of its ham."
    )


def _conclude(subject: str, rows: Sequence[Row]) -> str:
    own = [row for row in rows if row["labels of"] == subject]
    plain = [row for row in own if row["optimiser"] == DESCENT and row["steps"] == 1 and row["model"] == "untrained"]
    best = [max(pair) for pair in zip(means(own, "bias"), means(own, "fitted"), strict=True)]
    better = sum(found > blind for found, blind in zip(best, means(own, "blind"), strict=True))
    read, blind = means(plain, "bias"), means(plain, "blind")
    return (
        f"{subject.capitalize()}: one step of gradient descent from the untrained model gives {min(read):.0%} to "
        f"{max(read):.0%} of the labels (blindly {min(blind):.0%} to {max(blind):.0%}); the better of the two readings "
        f"beats the blind guess in {better} of {len(own)} settings, and gets {min(best):.0%} at least."
    )


STUDY = Study(
    name="label-leakage",
    title="Labels in one update: how much is spam, which digits are there",
    question="Which labels does a client have, and how many of each, judging by one update of its model?",
    adversary="Anyone who gets one update in clear: the aggregator of a run with `--scheme plain`, or t key holders "
    "together. It knows model and settings of the training and has its own labelled data, none of it the client's.",
    method="The gradient of the last bias is the mean of prediction less label (iDLG, 2020; LLG, PoPETs 2022). `bias`: "
    "the change, taken for a mean gradient, is solved for the shares of labels with the mean predictions that the "
    "model makes for public examples of each label. `fitted`: shares are a linear function of the change, learned by "
    "least squares from clients that the attacker makes up of public data and trains as the victim trains; for Adam, "
    "whose changes are no gradients. `blind`: shares as in public data. `metric`: the count of correct predictions "
    "that travels with the weights. What is counted is the share of labels right, as a multiset. Clients' shares "
    "are uneven: Dirichlet(0.5). ± is half of a 95 % interval over clients.",
    limits="How many of each label, not which example has which. Only the bias is looked at; other weights say more.",
    run=study,
    conclude=conclude,
)
