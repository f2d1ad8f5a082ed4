"""Who trains on what: give every client of a simulation its own data, and the aggregator data that none of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.data.mail import Mail, mailboxes_in, read_mailbox, require_both_classes, write_tsv
from core.data.partition import partition_dirichlet, partition_groups, partition_iid, split_held_out
from core.errors import DataError, SettingsError
from core.tasks.held_out import divide_texts
from core.tasks.task import Corpus, Task
from core.wording import counted
from simulation.nameless import NamelessFolder

HELD_OUT = 0.2
Folder = Path | NamelessFolder
"""Where parts of real data go: `folder / name` is a path that can be written."""
DEFAULT_CLIENTS = 5


@dataclass(frozen=True)
class Plan:
    """One source of data a client, one for the test, and a sentence that says what they are."""

    sources: tuple[str, ...]
    test: str
    sentence: str

    @property
    def clients(self) -> int:
        return len(self.sources)


def make_plan(
    task: Task,
    data: Path | None,
    clients: int | None,
    partition: str | None,
    seed: int,
    folder: Folder,
    spam_label: str | None = None,
) -> Plan:
    """Decide what everyone gets; parts of real data are written as files to `folder`.

    A folder of mail gives each mailbox in it to one client. One file, and other data, is dealt out among the clients:
    `partition` is iid, dirichlet:ALPHA for unlike class balances, or (not for mail) grouped, which gives all examples
    of one label, such as a speaker, to one client; None is the task's own. A fifth of all mails, chosen by the digests
    of their texts, is kept for the test; other data comes with its test part. Each distinct text is judged once.

    `spam_label` is a name for spam of its owner's own.

    Raises DataError or SettingsError.
    """
    if clients is not None and clients < 1:
        raise SettingsError(f"the number of clients is {clients}; it must be at least 1")
    if partition is not None:
        check_partition(partition)
    if data is None:
        return _generated(task, clients or DEFAULT_CLIENTS, partition)
    data = data.expanduser()
    if task.corpus is not None:
        if spam_label is not None:
            raise SettingsError(f"--spam-label is {spam_label!r}, and the task {task.name} has no spam; leave it out")
        return _corpus_dealt_out(task, task.corpus, data, clients or DEFAULT_CLIENTS, partition, seed, folder)
    paths = mailboxes_in(data, spam_label) if data.is_dir() else [data]
    if len(paths) > 1:
        _not_dealt_out(partition, f"{data} is a folder of {len(paths)} mailboxes, one for each client")
        return _one_mailbox_each(task, data, paths, clients, folder, spam_label)
    return _dealt_out(task, paths[0], clients or DEFAULT_CLIENTS, partition or "iid", seed, folder, spam_label)


def _generated(task: Task, clients: int, partition: str | None) -> Plan:
    _not_dealt_out(partition, "made-up data has an owner for each client")
    what, theirs = ("mail", "mailboxes") if task.corpus is None else (f"data for {task.name}", "data")
    sentence = f"generated {what}, {counted(clients, 'owner')} with unlike {theirs}"
    return Plan(("generated",) * clients, "generated", sentence)


def check_partition(partition: str) -> None:
    """Raise SettingsError unless the partition is one of those known."""
    name, _, alpha = partition.partition(":")
    if name == "dirichlet":
        _alpha(alpha)
    elif name not in ("iid", "grouped") or alpha:
        raise SettingsError(f"the partition is {partition!r}; expected iid, grouped, or dirichlet:ALPHA")


def _not_dealt_out(partition: str | None, why: str) -> None:
    if partition is not None:
        raise SettingsError(f"--partition deals out one file; {why}")


def _one_mailbox_each(
    task: Task, data: Path, paths: list[Path], clients: int | None, folder: Folder, spam_label: str | None
) -> Plan:
    if clients is not None and clients > len(paths):
        raise SettingsError(
            f"{clients} clients need {counted(clients, 'mailbox', 'mailboxes')}; there are {len(paths)}"
        )
    chosen = paths[:clients]
    share = f"{len(chosen)} of {len(paths)}" if len(chosen) < len(paths) else f"{len(paths)}"
    boxes = "mailbox" if share == "1" else "mailboxes"
    sentence = f"{share} {boxes}, one client each: {', '.join(path.name for path in chosen)}"
    mailboxes = {path: read_mailbox(path, spam_label).mails for path in chosen}
    return _write(task, data, mailboxes, folder, sentence)


def _dealt_out(
    task: Task, path: Path, clients: int, partition: str, seed: int, folder: Folder, spam_label: str | None
) -> Plan:
    mails = read_mailbox(path, spam_label).mails
    require_both_classes(mails, path, otherwise="")
    train, held_out = split_held_out(mails, HELD_OUT)
    if partition == "grouped":
        raise SettingsError(
            "the partition is 'grouped'; for mail expected iid or dirichlet:ALPHA, such as dirichlet:0.5"
        )
    if len(train) < clients:
        raise DataError(
            f"{path} has {counted(len(mails), 'mail')}, of which {len(train)} are left to train on when a fifth is "
            f"kept for the test; {counted(clients, 'client')} need at least one each"
        )
    shares = _partition([mail.spam for mail in train], clients, partition, np.random.default_rng([seed, clients]))
    parts = [[train[row] for row in rows] for rows in shares]
    sentence = f"{path.name}, dealt out among {counted(clients, 'client')} ({partition})"
    return _write_parts(task, path, parts, held_out, folder, sentence)


def _corpus_dealt_out(
    task: Task, corpus: Corpus, data: Path, clients: int, partition: str | None, seed: int, folder: Folder
) -> Plan:
    training, held_out = corpus.read(data)
    partition = partition or corpus.partition
    labels = [corpus.label(example) for example in training]
    parts = _partition(labels, clients, partition, np.random.default_rng([seed, clients]))
    sources = [folder / f"client-{number}.part" for number in range(1, clients + 1)]
    for path, rows in zip(sources, parts, strict=True):
        corpus.write(path, [training[row] for row in rows])
    test = folder / "test.part"
    corpus.write(test, held_out)
    counts = ", ".join(str(len(rows)) for rows in parts)
    sentence = (
        f"{data}, dealt out among {counted(clients, 'client')} ({partition}); {counts} examples to train on, "
        f"{_to_judge_by(task, held_out)}"
    )
    return Plan(tuple(map(str, sources)), str(test), sentence)


def _to_judge_by(task: Task, held_out: Sequence[Any]) -> str:
    kept = f"{len(held_out)} kept for the test"
    return kept if task.text is None else f"{kept}: {divide_texts(held_out, task.text).sentence}"


def _partition(labels: list[Any], clients: int, partition: str, rng: np.random.Generator) -> list[list[int]]:
    name, _, alpha = partition.partition(":")
    if name == "iid" and not alpha:
        return partition_iid(len(labels), clients, rng)
    if name == "dirichlet":
        return partition_dirichlet(labels, clients, _alpha(alpha), rng)
    if name == "grouped" and not alpha:
        return partition_groups(labels, clients)
    raise SettingsError(f"the partition is {partition!r}; expected iid, grouped, or dirichlet:ALPHA")


def _alpha(text: str) -> float:
    try:
        alpha = float(text or "0.5")
    except ValueError:
        alpha = -1.0
    if not alpha > 0 or alpha == float("inf"):
        raise SettingsError(f"the Dirichlet parameter is {text!r}; expected a number above 0, such as 0.5")
    return alpha


def _write(task: Task, data: Path, mailboxes: dict[Path, list[Mail]], folder: Folder, sentence: str) -> Plan:
    parts, held_out = [], []
    require_both_classes((mail for mails in mailboxes.values() for mail in mails), data, otherwise="")
    for path, mails in mailboxes.items():
        train, test = split_held_out(mails, HELD_OUT)
        if not train:
            raise DataError(
                f"{path} has {counted(len(mails), 'mail')}, and with a fifth of all texts kept for the test none is "
                "left to train on; leave it out, or add mail"
            )
        parts.append(train)
        held_out += test
    return _write_parts(task, data, parts, held_out, folder, sentence)


def _write_parts(
    task: Task, data: Path, parts: list[list[Mail]], held_out: list[Mail], folder: Folder, sentence: str
) -> Plan:
    if not held_out:
        total = sum(len(mails) for mails in parts)
        raise DataError(f"{data} has {counted(total, 'mail')}, too few to keep a fifth of the texts for the test")
    sources = []
    for number, mails in enumerate(parts, start=1):
        path = folder / f"client-{number}.tsv"
        write_tsv(path, mails)
        sources.append(str(path))
    test = folder / "test.tsv"
    write_tsv(test, held_out)
    counts = ", ".join(str(len(mails)) for mails in parts)
    full = f"{sentence}; {counts} mails to train on, {_to_judge_by(task, held_out)}"
    return Plan(tuple(sources), str(test), full)
