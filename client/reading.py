"""What a client trains on: read before it connects, or, if that takes long, when the first round opens."""

from __future__ import annotations

from pathlib import Path

from client.participant import Load
from core.data.mail import open_mailbox
from core.tasks.task import GENERATED, Task
from core.training import Dataset

READ_AT_ONCE = 20_000_000
"""Bytes: a few seconds. A larger mailbox is read when the first round opens, so that the run waits for this client."""


def loader(task: Task, source: str, *, one_class: bool = False, spam_label: str | None = None) -> Load:
    """Return what loads a client's data.

    What is wrong with a small mailbox shows at once; of a large one, whether it is a mailbox at all.

    Args:
        source: a path, or `generated`.
        one_class: whether examples of one class only will do.
        spam_label: the owner's own name for spam.
    """
    if source == GENERATED:
        return lambda seed, number: task.made_up(seed, number)
    if task.mail and _size(Path(source)) > READ_AT_ONCE:
        open_mailbox(source, spam_label)
        print(f"{source} is large and takes a while to read; that begins when the first round opens", flush=True)
        return lambda _seed, _number: read_data(task, source, one_class=one_class, spam_label=spam_label)
    data = read_data(task, source, one_class=one_class, spam_label=spam_label)
    return lambda _seed, _number: data


def read_data(task: Task, source: str, *, one_class: bool, spam_label: str | None) -> Dataset:
    """Read examples, say what is left out, and prepare them.

    Raises DataError if there is nothing to learn from.
    """
    reading = task.read_labelled(source, spam_label)
    if reading.skipped:
        print(f"{reading.skipped} of {source} could not be read and are left out; the first: {reading.first_skipped}")
    if reading.deleted:
        mails = f"{reading.deleted} mail{'s' * (reading.deleted != 1)}"
        print(f"{mails} of {source} that its owner has deleted, still there, are left out")
    if not one_class:
        task.require(reading.examples, source)
    return task.prepare(reading.examples)


def _size(path: Path) -> int:
    try:
        files = path.rglob("*") if path.is_dir() else [path]
        return sum(file.stat().st_size for file in files if file.is_file())
    except OSError:
        return 0  # reading it says what is wrong
