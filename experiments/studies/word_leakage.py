"""Words, counts and label of a mailbox, read off one update in clear (chapter 15)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from book.chapters.leakage import SECRET, counts_read_off, step_on_counts
from book.pictures.style import BLUE, GREEN, GREY, VERMILLION, new_figure, style
from book.run import Run
from core.data.message import Mail
from core.data.text import distinct_words, stem, words
from core.federated import client_update, initial_model
from core.tasks.spam import SPAM, VOCABULARY, prepare
from core.tasks.task import LocalTraining, Task
from experiments.arrays import FloatArray, IntArray
from experiments.attacks.scores import precision_recall, rank_correlation
from experiments.attacks.words import guess_blindly, label_from_bias, moved, words_of
from experiments.studies._columns import cell, cells, means
from experiments.studies._lines import Line, draw_columns, log_ticks
from experiments.studies._mailroom import STEP, Mailroom, open_mailroom
from experiments.studies._received import PlainAggregator, word_part
from experiments.study import Row, Study

MAILS, PASSES, BATCH = 30, 1, 16


@dataclass(frozen=True)
class Setting:
    """How the client under attack trains: its mails, its passes over them, and mails in a batch."""

    varied: str
    mails: int = MAILS
    passes: int = PASSES
    batch_size: int = BATCH
    trained: bool = False

    @property
    def task(self) -> Task:
        """The spam task with this local training."""
        return replace(SPAM, local=LocalTraining(STEP, self.passes, self.batch_size))

    def __str__(self) -> str:
        passes = "1 pass" if self.passes == 1 else f"{self.passes} passes"
        model = ", trained model" if self.trained else ""
        mails = "1 mail" if self.mails == 1 else f"{self.mails} mails"
        return f"{mails}, {passes}, batch {self.batch_size}{model}"


SETTINGS = (
    *(Setting("mails", mails=mails) for mails in (1, 3, 10, 30, 100, 300)),
    *(Setting("passes", passes=passes) for passes in (1, 5, 20)),
    *(Setting("batch size", batch_size=size) for size in (1, 4, 16, 64)),
    *(Setting("model", trained=trained) for trained in (False, True)),
)


def study(run: Run) -> Iterator[Row]:
    room = open_mailroom(run, *run.pick((40, 300), (10, 300)))
    models = {False: initial_model(SPAM, run.seed), True: trained_on_public_mail(run, room)}
    found: dict[Setting, Row] = {}
    for stream, setting in enumerate(dict.fromkeys(map(as_written, SETTINGS))):
        run.progress(str(setting))
        found[setting] = {"client": str(setting), **attack(run, room, setting, models[setting.trained], stream)}
        yield found[setting]
    yield secret_mail(models[False])
    yield counts_of_one_mail(run, room)
    draw(run, found)


def as_written(setting: Setting) -> Setting:
    """Return the setting without what it is varied for: several series share one middle."""
    return replace(setting, varied="")


def trained_on_public_mail(run: Run, room: Mailroom) -> FloatArray:
    """Train a model on public mail, as later rounds have it; anyone can."""
    start = initial_model(SPAM, run.seed)
    return start + client_update(SPAM, start, room.public_bags, run.rng(1)).delta


def secret_mail(model: FloatArray) -> Row:
    """Attack the book's example: one client with one mail, whose words the dictionary has."""
    update = client_update(SPAM, model, prepare([SECRET]), np.random.default_rng(0))
    received = PlainAggregator(SPAM, len(model), 1).read(update)
    said = distinct_words(SECRET.text)
    seen = moved(word_part(received))
    named = [word for word in said if VOCABULARY.index(word) in seen]
    precision, recall = precision_recall(seen, {VOCABULARY.index(word) for word in said})
    return {
        "client": f"the book's mail, read as: {' '.join(named)}",
        "weights recall": f"{recall:.2f}",
        "weights precision": f"{precision:.2f}",
        "label": f"{label_from_bias(received.delta_sum[-1]) == SECRET.spam:.2f}",
    }


def counts_of_one_mail(run: Run, room: Mailroom) -> Row:
    """Read word counts off one step on one mail; the blind guess is one each."""
    chosen = run.rng(2).choice(len(room.mails), run.pick(200, 20), replace=False)
    found = [count_shares(room.mails[row], run.rng(3, int(row))) for row in chosen]
    right, ones = (cell(values) for values in zip(*found, strict=True))
    return {"client": "1 mail, word counts: share read exactly", "counts": right, "counts blind": ones}


def count_shares(mail: Mail, rng: np.random.Generator) -> tuple[float, float]:
    """Return the share of a mail's words whose count is read off right, and the share whose count is 1."""
    true = Counter(VOCABULARY.index(stem(word)) for word in words(mail.text))
    if not true:
        return 1.0, 1.0
    counts = counts_read_off(step_on_counts(mail, rng))
    right = sum(int(counts[number]) == times for number, times in true.items())
    return right / len(true), sum(times == 1 for times in true.values()) / len(true)


def attack(run: Run, room: Mailroom, setting: Setting, model: FloatArray, stream: int) -> dict[str, str]:
    """Attack several victims that train in one setting, each with mail of one owner."""
    victims = min(run.pick(40, 6), room.most_clients(setting.mails))
    aggregator = PlainAggregator(setting.task, len(model), 1)
    clients = room.deal(victims, setting.mails, run.rng(4, stream))
    return cells([
        _attack_one(room, setting, model, aggregator, rows, run.rng(5, stream, number))
        for number, rows in enumerate(clients)
    ])  # fmt: skip


def _attack_one(
    room: Mailroom,
    setting: Setting,
    model: FloatArray,
    aggregator: PlainAggregator,
    rows: IntArray,
    rng: np.random.Generator,
) -> dict[str, float]:
    data = room.data_of(rows)
    received = aggregator.read(client_update(setting.task, model, data, rng))
    change = word_part(received)
    used, said, seen = room.numbers_of(rows), room.words_said(rows), moved(change)
    numbers = precision_recall(seen, used)
    read = precision_recall(words_of(seen, room.words), said)
    blind = precision_recall(guess_blindly(room.words, len(said)), said)
    mails_with = np.bincount(data.indices, minlength=VOCABULARY.size)
    places = np.array(sorted(used), dtype=np.int64)
    mostly_spam = bool(data.labels.mean() > 0.5)
    return {
        "weights recall": numbers[1],
        "weights precision": numbers[0],
        "words recall": read[1],
        "words precision": read[0],
        "words blind": blind[1],
        "counts": rank_correlation(np.abs(change[places]), mails_with[places]),
        "counts blind": rank_correlation(room.words.frequency[places], mails_with[places]),
        "label": float(label_from_bias(received.delta_sum[-1]) == mostly_spam),
        "label blind": float((room.public_bags.labels.mean() > 0.5) == mostly_spam),
    }


PANELS = (
    ("mails", "mails", "mails of the client"),
    ("passes", "passes", "passes over its mail"),
    ("batch size", "batch_size", "mails in a batch"),
)
LINES = (
    Line("weights recall", "weights of words: recall", BLUE, "-", "o"),
    Line("words recall", "words named: recall", GREEN, "--", "s"),
    Line("words precision", "words named: precision", VERMILLION, "-.", "^"),
    Line("words blind", "as many of the most frequent words, blindly", GREY, ":", "v"),
)


@style()
def draw(run: Run, found: Mapping[Setting, Row]) -> None:
    """Draw recall and precision against the client's settings."""
    figure = new_figure(9.6, 3.9, "One update in clear gives its words away, however a client trains")
    panels = figure.subplots(1, len(PANELS), sharey=True)
    for axes, (varied, attribute, label) in zip(panels, PANELS, strict=True):
        chosen = [setting for setting in SETTINGS if setting.varied == varied]
        rows, at = [found[as_written(setting)] for setting in chosen], [getattr(each, attribute) for each in chosen]
        draw_columns(axes, at, rows, LINES)
        log_ticks(axes, at)
        axes.set(xlabel=label, ylim=(0, 1.05))
    panels[0].set_ylabel("share (1 = all)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    run.save("words", figure)


def conclude(rows: Sequence[Row]) -> str:
    *attacked, secret, counts = rows
    recall, precision, found, blind = (
        means(attacked, name) for name in ("weights recall", "weights precision", "words recall", "words blind")
    )
    better = sum(words > guess for words, guess in zip(found, blind, strict=True))
    closer = sum(
        auc > guess for auc, guess in zip(means(attacked, "counts"), means(attacked, "counts blind"), strict=True)
    )
    return (
        f"{str(secret['client']).capitalize()}. In every setting the weights that moved are those of the client's "
        f"words: recall {min(recall):.2f} to {max(recall):.2f}, precision {min(precision):.2f} to "
        f"{max(precision):.2f}. Named with public mail as dictionary, {min(found):.0%} to {max(found):.0%} of the "
        f"client's words are found, against {min(blind):.0%} to {max(blind):.0%} for as many of the most frequent "
        f"words; the attack finds more "
        f"in {better} of {len(attacked)} settings. How often a word is used follows better from the length of a step "
        f"than from public frequency in {closer} of {len(attacked)} settings, for Adam makes the first steps of all "
        f"words alike; a model of word counts trained by plain gradient descent gives away {counts['counts']} of the "
        f"counts of one mail in one step (guessing once each: {counts['counts blind']})."
    )


STUDY = Study(
    name="word-leakage",
    title="Words in one update: what an update says if nothing hides it",
    question="Which words of a mailbox does one client's update give away, how often do they occur, and is it spam?",
    adversary="Anyone who gets one update in clear: the aggregator of a run with `--scheme plain`, or t key holders "
    "together. It knows the model that the client started from, and has its own mail, none of it the client's, "
    "from which it knows words and how frequent they are.",
    method="A client's update is encoded, sent in the plain scheme and read by the aggregator's own functions. A "
    "word's weight moves only if the word occurs, and then nearly always (Melis et al., IEEE S&P 2019, section 4.1; "
    "now and then spam and ham cancel). Each weight that moved is named by the most frequent public word that shares "
    "it. The blind attacker sees no update and names as many of the most frequent public words as the client has "
    "words. `counts` is the rank correlation between how far weights moved and how many of the client's mails use "
    "their words (blind: public frequency); `label` is how often the sign of the bias tells whether most of the mail "
    "is spam (blind: as in public mail). ± is half of a 95 % interval over clients.",
    limits="Words that no public mail has cannot be named, and of words that share a weight only the most frequent is; "
    "a larger dictionary moves both. What is read is which words occur, not their order. Whether the mailbox as a "
    "whole is spam is a single bit; label-leakage goes further.",
    run=study,
    conclude=conclude,
)
