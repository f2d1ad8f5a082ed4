"""Something to learn, one file a subject."""

from __future__ import annotations

from core.errors import SettingsError
from core.tasks.analogies import ANALOGIES
from core.tasks.babi import BABI
from core.tasks.mnist import MNIST_CNN, MNIST_MLP
from core.tasks.reviews import REVIEWS
from core.tasks.shakespeare import SHAKESPEARE_LSTM, SHAKESPEARE_RNN
from core.tasks.spam import SPAM
from core.tasks.spam_pairs import SPAM_PAIRS
from core.tasks.task import LocalTraining, Reading, Task, local_training

__all__ = ["TASKS", "LocalTraining", "Reading", "Task", "get_task", "local_training"]

TASKS = {
    task.name: task
    for task in (SPAM, SPAM_PAIRS, MNIST_MLP, MNIST_CNN, REVIEWS, BABI, SHAKESPEARE_RNN, SHAKESPEARE_LSTM, ANALOGIES)
}


def get_task(name: str) -> Task:
    """Return a task by its name; raise SettingsError if there is none."""
    if name not in TASKS:
        raise SettingsError(f"there is no task {name!r}; known are {', '.join(sorted(TASKS))}")
    return TASKS[name]
