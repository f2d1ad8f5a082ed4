"""Compare our spam filters with scikit-learn's on the same mail: `python -m benchmarks.spam_filters --data FOLDER`.

Ours is trained on all mail in one place, and federated: one mailbox a client, the integers of the encrypted run.
scikit-learn's filters have all mail in one place. Each distinct text that is held out is judged once.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from core.confusion import Confusion
from core.data.mail import mailboxes_in, read_mailbox
from core.data.message import Mail
from core.data.partition import partition_iid, split_held_out
from core.data.text import Bags
from core.errors import GrokfedError
from core.federated import client_rng, client_update, encoding_for, evaluate_model, initial_model, next_model
from core.metrics import confusion
from core.parameters import to_vector
from core.secagg.scheme import PublicKey
from core.tasks import Task, local_training
from core.tasks.held_out import divide_texts
from core.tasks.spam import SPAM
from core.tasks.spam_pairs import SPAM_PAIRS

TASKS = (SPAM, SPAM_PAIRS)
CLIENTS = 5
"""Among whom a single mailbox is dealt out."""
STRENGTHS = (0.1, 1.0, 10.0, 100.0, 1000.0)
"""Of the regularisation, C in scikit-learn; the one that does best on a fifth of the training mail is taken."""
Labels = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Mail to train on, by client, and distinct held-out mail."""

    clients: list[list[Mail]]
    held_out: Sequence[Mail]

    @property
    def training(self) -> list[Mail]:
        return [mail for mails in self.clients for mail in mails]


@dataclass(frozen=True)
class Line:
    """One filter on one split: what it is, how it judged, and the seconds of all its training."""

    name: str
    answers: Confusion
    seconds: float


def split_mail(data: Path, seed: int) -> Split:
    """Hold out a fifth of every mailbox, by the digests of the texts. Raises DataError if there is no mail."""
    paths = mailboxes_in(data) if data.is_dir() else [data]
    parts = [split_held_out(read_mailbox(path).mails, seed=seed) for path in paths]
    clients = [training for training, _ in parts]
    if len(clients) == 1:
        (mails,) = clients
        rows = partition_iid(len(mails), CLIENTS, np.random.default_rng([seed, CLIENTS]))
        clients = [[mails[row] for row in part] for part in rows]
    assert SPAM.text is not None
    return Split(clients, divide_texts((mail for _, kept in parts for mail in kept), SPAM.text).distinct)


# --- Ours ---


def central(task: Task, split: Split, passes: int, seed: int) -> Confusion:
    """Train on all mail in one place, as `python -m simulation --central` does."""
    model = task.build(np.random.default_rng([seed, 0]))
    data, rng = task.prepare(split.training), np.random.default_rng([seed, 1])
    for _ in range(passes):
        local_training(task, model, data, rng)
    return evaluate_model(task, to_vector(model), task.prepare(split.held_out)).confusion


def federated(task: Task, split: Split, rounds: int, seed: int) -> Confusion:
    """Average what clients learn, in the integers that an encrypted run adds up."""
    model = initial_model(task, seed)
    encoding = encoding_for(task, len(model), PublicKey("plain", 2048).plaintext_bits, len(split.clients))
    data = [task.prepare(mails) for mails in split.clients]
    for round_number in range(1, rounds + 1):
        updates = [
            client_update(task, model, own, client_rng(seed, round_number, number))
            for number, own in enumerate(data, start=1)
        ]
        rows = [encoding.encode(update) for update in updates]
        model = next_model(model, encoding.decode([sum(column) for column in zip(*rows, strict=True)], len(rows)))
    return evaluate_model(task, model, task.prepare(split.held_out)).confusion


# --- scikit-learn's ---


def logistic_regression(task: Task, split: Split) -> tuple[str, Confusion]:
    """Fit scikit-learn's on exactly the numbers that our model sees."""
    from sklearn.linear_model import LogisticRegression

    def answers(training: Sequence[Mail], judged: Sequence[Mail], strength: float) -> Confusion:
        bags = task.prepare(training)
        model = LogisticRegression(C=strength, max_iter=5000).fit(_matrix(task, bags), bags.labels)  # type: ignore[attr-defined]
        return _judged(model.predict(_matrix(task, task.prepare(judged))), judged)

    fitted, checked = split_held_out(split.training, seed=-1)  # a split that is never the outer one
    strength = max(STRENGTHS, key=lambda strength: answers(fitted, checked, strength).accuracy)
    return f"logistic regression, same features, C = {strength:g}", answers(split.training, split.held_out, strength)


def naive_bayes(split: Split) -> Confusion:
    """Fit multinomial naive Bayes on counts of words."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.naive_bayes import MultinomialNB

    return _pipeline(split, CountVectorizer(), MultinomialNB())


def linear_svm(split: Split) -> Confusion:
    """Fit a linear support vector machine on TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.svm import LinearSVC

    return _pipeline(split, TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC())


def _pipeline(split: Split, vectoriser: Any, classifier: Any) -> Confusion:
    training = split.training
    classifier.fit(vectoriser.fit_transform([mail.text for mail in training]), _labels(training))
    return _judged(classifier.predict(vectoriser.transform([mail.text for mail in split.held_out])), split.held_out)


def _matrix(task: Task, bags: Any) -> Any:
    """Return the data set as the model sees it: 1 / sqrt(n) in the columns of a mail's n words."""
    from scipy.sparse import csr_matrix

    assert isinstance(bags, Bags)
    ends = np.append(bags.offsets, len(bags.indices))
    sizes = np.diff(ends)
    weights = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes)
    return csr_matrix((weights, bags.indices, ends), shape=(len(bags), len(initial_model(task, 0)) - 1))


def _labels(mails: Sequence[Mail]) -> Labels:
    return np.array([mail.spam for mail in mails])


def _judged(called_spam: Any, mails: Sequence[Mail]) -> Confusion:
    return confusion(np.where(called_spam, 1.0, -1.0), _labels(mails))


# --- The command ---


def compare(split: Split, rounds: int, seed: int) -> Iterator[Line]:
    """Train every filter that can be trained here on one split."""
    for task in TASKS:
        yield _line(f"{task.name}, all mail in one place", partial(central, task, split, rounds, seed))
        yield _line(f"{task.name}, federated", partial(federated, task, split, rounds, seed))
        if has_sklearn():
            started = time.perf_counter()
            name, answers = logistic_regression(task, split)
            yield Line(f"  {name}", answers, time.perf_counter() - started)
    if has_sklearn():
        yield _line("naive Bayes, counts of words", partial(naive_bayes, split))
        yield _line("linear SVM, TF-IDF of words and pairs", partial(linear_svm, split))


def has_sklearn() -> bool:
    """Whether scikit-learn is installed here."""
    return importlib.util.find_spec("sklearn") is not None


def _line(name: str, train: Callable[[], Confusion]) -> Line:
    started = time.perf_counter()
    answers = train()
    return Line(name, answers, time.perf_counter() - started)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the program with command-line arguments (those of the process if None)."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spam_filters", description=__doc__.partition(":")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of mailboxes, or one file of mail")
    parser.add_argument("--rounds", type=int, default=10, help="rounds, and passes over mail in one place")
    parser.add_argument("--splits", type=int, nargs="+", default=[0], help="seeds of the split, of which each is a run")
    options = parser.parse_args(arguments)
    console = Console(width=100, highlight=False)
    if not has_sklearn():
        console.print("scikit-learn is not installed here: its rows are left out (`make bench-spam` installs it).")
    try:
        for seed in options.splits:
            split = split_mail(options.data, seed)
            sizes = ", ".join(str(len(mails)) for mails in split.clients)
            console.print(f"split {seed}: {sizes} mails to train on, {len(split.held_out)} distinct texts to judge by")
            console.print(_table(compare(split, options.rounds, seed)))
    except GrokfedError as error:
        parser.error(str(error))


def _table(lines: Iterator[Line]) -> Table:
    table = Table("filter", box=None, pad_edge=False)
    for heading in ("accuracy", "precision", "false alarms", "seconds"):
        table.add_column(heading, justify="right")
    for line in lines:
        shares = (line.answers.accuracy, line.answers.precision, line.answers.false_alarm_rate)
        table.add_row(line.name, *(f"{share:.2%}" for share in shares), f"{line.seconds:.1f}")
    return table


if __name__ == "__main__":
    main()
