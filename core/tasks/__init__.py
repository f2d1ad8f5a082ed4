"""Something to learn, one file a subject."""

from __future__ import annotations

from core.errors import SettingsError
from core.tasks.analogies import ANALOGIES
from core.tasks.babi import BABI
from core.tasks.from_files import csv_task, labelled, picture_task
from core.tasks.mnist import MNIST_CNN, MNIST_MLP
from core.tasks.reviews import REVIEWS
from core.tasks.shakespeare import SHAKESPEARE_LSTM, SHAKESPEARE_RNN
from core.tasks.spam import SPAM
from core.tasks.spam_pairs import SPAM_PAIRS
from core.tasks.task import Corpus, LocalTraining, Reading, Task, local_training
from core.tasks.vector import VectorTask
from core.training import Sums
from core.update import Update

__all__ = [
    "TASKS",
    "Corpus",
    "LocalTraining",
    "Reading",
    "Sums",
    "Task",
    "Update",
    "VectorTask",
    "csv_task",
    "get_task",
    "known_task",
    "labelled",
    "local_training",
    "picture_task",
]

TASKS = {
    task.name: task
    for task in (SPAM, SPAM_PAIRS, MNIST_MLP, MNIST_CNN, REVIEWS, BABI, SHAKESPEARE_RNN, SHAKESPEARE_LSTM, ANALOGIES)
}


def get_task(name: str) -> Task:
    """Return one of the project's tasks by its name; raise SettingsError if there is none.

    No file is looked for, whatever the name: it may come over the network (core.tasks.own is for names that do not).
    """
    if name not in TASKS:
        raise SettingsError(
            f"there is no task {name[:80]!r}; known are {', '.join(sorted(TASKS))}, and a task of your own is given as "
            "--task FILE:NAME to every party"
        )
    return TASKS[name]


def known_task(name: str, own: Task | None) -> Task:
    """Return the task that a message names: the own one that this party was started with, or one of the project's.

    Raises SettingsError if it is neither.
    """
    return own if own is not None and own.name == name else get_task(name)
