"""Who trains on what: give every client of a simulation its own data, and the aggregator data that none of them has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.data.mail import Mail, mailboxes_in, read_mailbox, require_both_classes, single_mails_in, write_tsv
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
MOST_SIZES = 50
MOST_MADE_UP = 10_000
"""Clients among whom made-up data is dealt out: all of it is in memory at once."""
"""Clients whose numbers of examples are all listed."""


@dataclass(frozen=True)
class Division:
    """Real data divided among clients: each one's examples, examples to judge by, and a sentence that says so."""

    parts: Sequence[Sequence[Any]]
    held_out: Sequence[Any]
    sentence: str


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
    """Decide what everyone gets, as `divide`; parts of real data are written as files to `folder`.

    Raises DataError or SettingsError.
    """
    division = divide(task, data, clients, partition, seed, spam_label)
    if division is None:
        number = clients or DEFAULT_CLIENTS
        return Plan(("generated",) * number, "generated", generated_sentence(task, number))
    write, suffix = _writer(task)
    sources = [folder / f"client-{number}.{suffix}" for number in range(1, len(division.parts) + 1)]
    for path, part in zip(sources, division.parts, strict=True):
        write(path, part)
    test = folder / f"test.{suffix}"
    write(test, division.held_out)
    return Plan(tuple(map(str, sources)), str(test), division.sentence)


def _writer(task: Task) -> tuple[Callable[[Path, Sequence[Any]], None], str]:
    if task.corpus is not None:
        return task.corpus.write, "part"
    return write_tsv, "tsv"


def divide(
    task: Task, data: Path | None, clients: int | None, partition: str | None, seed: int, spam_label: str | None = None
) -> Division | None:
    """Divide data among clients; None where everyone's is made up, and not dealt out anew by a `partition`.

    A folder of mail gives each mailbox in it to one client. One file, and other data, is dealt out among the clients:
    `partition` is iid, dirichlet:ALPHA for unlike class balances, or (not for mail) grouped, which gives all examples
    of one label, such as a speaker, to one client; None is the task's own. A fifth of all mails, chosen by the digests
    of their texts, is kept for the test; other data comes with its test part. Each distinct text is judged once.

    `spam_label` is the owner's name for spam.

    Raises DataError or SettingsError.
    """
    if clients is not None and clients < 1:
        raise SettingsError(f"the number of clients is {clients}; it must be at least 1")
    if partition is not None:
        check_partition(partition)
    if data is None:
        task.check_makes_up()
        return None if partition is None else _made_up_dealt_out(task, clients or DEFAULT_CLIENTS, partition, seed)
    data = data.expanduser()
    if task.corpus is not None:
        if spam_label is not None:
            raise SettingsError(f"--spam-label is {spam_label!r}, and the task {task.name} has no spam; leave it out")
        return _corpus_dealt_out(task, task.corpus, data, clients or DEFAULT_CLIENTS, partition, seed)
    if not task.mail:
        raise SettingsError(
            f"--data is {str(data)!r}, and the task {task.name} does not say how its data is dealt out; give it "
            "a `corpus` (docs/own-task.md)"
        )
    paths = mailboxes_in(data, spam_label) if data.is_dir() else [data]
    if len(paths) > 1:
        _not_dealt_out(partition, f"{data} is a folder of {len(paths)} mailboxes, one for each client")
        division = _one_mailbox_each(task, data, paths, clients, spam_label)
    else:
        division = _dealt_out(task, paths[0], clients or DEFAULT_CLIENTS, partition or "iid", seed, spam_label)
    return division if data in paths else _without_single_mails(division, data)


def _without_single_mails(division: Division, data: Path) -> Division:
    """Say which mails of a folder of mailboxes are in none of them, and so belong to no client."""
    single = single_mails_in(data)
    if not single:
        return division
    names = single[0].name + ", ..." * (len(single) > 1)
    left_out = f"{counted(len(single), 'single mail')} left out ({names}); a folder of them would be a mailbox"
    return replace(division, sentence=f"{division.sentence}; {left_out}")


def generated_sentence(task: Task, clients: int) -> str:
    """Return the sentence that says whose data is made up."""
    what, theirs = ("mail", "mailboxes") if task.mail else (f"data for {task.name}", "data")
    return f"generated {what}, {counted(clients, 'owner')} with unlike {theirs}"


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
    task: Task, data: Path, paths: list[Path], clients: int | None, spam_label: str | None
) -> Division:
    if clients is not None and clients > len(paths):
        raise SettingsError(
            f"{clients} clients need {counted(clients, 'mailbox', 'mailboxes')}; there are {len(paths)}"
        )
    chosen = paths[:clients]
    share = f"{len(chosen)} of {len(paths)}" if len(chosen) < len(paths) else f"{len(paths)}"
    boxes = "mailbox" if share == "1" else "mailboxes"
    sentence = f"{share} {boxes}, one client each: {', '.join(path.name for path in chosen)}"
    mailboxes = {path: read_mailbox(path, spam_label).mails for path in chosen}
    return _kept_apart(task, data, mailboxes, sentence)


def _dealt_out(task: Task, path: Path, clients: int, partition: str, seed: int, spam_label: str | None) -> Division:
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
    return _mail_divided(task, path, parts, held_out, sentence)


def _corpus_dealt_out(
    task: Task, corpus: Corpus, data: Path, clients: int, partition: str | None, seed: int
) -> Division:
    training, held_out = corpus.read(data)
    partition = partition or corpus.partition
    labels = [corpus.label(example) for example in training]
    parts = _partition(labels, clients, partition, np.random.default_rng([seed, clients]))
    sentence = (
        f"{data}, dealt out among {counted(clients, 'client')} ({partition}); {_sizes(parts)} examples to train on, "
        f"{_to_judge_by(task, held_out)}"
    )
    return Division([[training[row] for row in rows] for rows in parts], held_out, sentence)


def _made_up_dealt_out(task: Task, clients: int, partition: str, seed: int) -> Division:
    """Make up everyone's data, and deal it out anew."""
    if clients > MOST_MADE_UP:
        raise SettingsError(f"--partition deals out made-up data among at most {MOST_MADE_UP} clients, not {clients}")
    label = _label(task, partition)
    examples = [example for number in range(1, clients + 1) for example in task.generate(seed, number)]
    shares = _partition(list(map(label, examples)), clients, partition, np.random.default_rng([seed, clients]))
    parts = [[examples[row] for row in rows] for rows in shares]
    held_out = list(task.made_up_test(seed, clients))
    what = "mail" if task.mail else f"data for {task.name}"
    sentence = f"generated {what}, dealt out among {counted(clients, 'client')} ({partition}); {_sizes(parts)} examples"
    return Division(parts, held_out, f"{sentence} to train on, {_to_judge_by(task, held_out)}")


def _label(task: Task, partition: str) -> Callable[[Any], Any]:
    """Return what an example of a task is dealt out by. Raises SettingsError if it has no such thing."""
    if task.corpus is not None:
        return task.corpus.label
    if not task.mail:
        raise SettingsError(
            f"--partition is {partition!r}, and the task {task.name} does not say how its data is dealt out; give it a "
            "`corpus` (docs/own-task.md)"
        )
    if partition == "grouped":
        raise SettingsError(f"the partition is {partition!r}; for mail expected iid or dirichlet:ALPHA")
    return lambda mail: mail.spam


def _sizes(parts: Sequence[Sequence[Any]]) -> str:
    """Return how many examples each client has, or the range where there are many clients."""
    sizes = [len(part) for part in parts]
    if len(sizes) <= MOST_SIZES:
        return ", ".join(map(str, sizes))
    return f"{min(sizes)} to {max(sizes)} each, {sum(sizes)}"


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


def _kept_apart(task: Task, data: Path, mailboxes: dict[Path, list[Mail]], sentence: str) -> Division:
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
    return _mail_divided(task, data, parts, held_out, sentence)


def _mail_divided(task: Task, data: Path, parts: list[list[Mail]], held_out: list[Mail], sentence: str) -> Division:
    if not held_out:
        total = sum(len(mails) for mails in parts)
        raise DataError(f"{data} has {counted(total, 'mail')}, too few to keep a fifth of the texts for the test")
    full = f"{sentence}; {_sizes(parts)} mails to train on, {_to_judge_by(task, held_out)}"
    return Division(parts, held_out, full)
