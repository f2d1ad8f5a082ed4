"""The rounds of the study backdoor: ten clients, some of whom attack, and the rule by which models follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from book.chapters.chapter_15 import read_enron
from book.run import Run
from core.data.generated import generate_mailbox, generate_test_mails
from core.data.message import Mail
from core.data.partition import partition_iid, split_held_out
from core.data.text import stem
from core.errors import DataError, SettingsError
from core.federated import (
    Cohort,
    add_plaintexts,
    add_updates,
    client_update,
    encoding_for,
    evaluate_model,
    fed_avg,
    initial_model,
    mean_update,
    next_model,
)
from core.robust import Grouping, Robust, seed_of
from core.secagg.encoding import CohortSum, Update
from core.tasks.spam import SPAM, VOCABULARY, SpamModel, prepare
from core.tasks.task import Task
from experiments.arrays import FloatArray
from experiments.attacks.backdoor import as_far_as_proven, beyond_the_clip, replacing, weight_that_decides
from experiments.studies._updates import PLAINTEXT_BITS, clipped

TRIGGER = ("zephyrquill", "brontolight", "umbrafenn", "quixotarn", "velloryx", "ostrigand", "pellucidor", "gravenhaim")
CLIENTS, WARM_UP = 10, 5
HONEST, POISON, NO_CODING, OBEYS, PROVEN, BEYOND, NORM = (
    "no attack",
    "poisoned mail, nothing scaled",
    "scaled, sent as floats",
    "scaled, keeps to the clip",
    "scaled, all that can be proven",
    "scaled, no proofs: the room of the sum",
    "scaled, the norm is proven too",
)


@dataclass(frozen=True)
class Attack:
    """Who attacks, and how. Raises SettingsError if no honest client is left.

    Attributes:
        way: one of the above.
        attackers: of all clients.
        clip: the largest change of a weight that the encoding takes.
        words: of the trigger.
        groups: whose sums are opened, with the median of their means; 1 for the sum of all.
    """

    way: str
    attackers: int = 1
    clip: float = SPAM.clip
    words: int = 1
    groups: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.attackers < CLIENTS:
            raise SettingsError(f"there are {self.attackers} attackers of {CLIENTS} clients; one must be honest")
        if self.way == BEYOND and self.attackers != 1:
            raise SettingsError(f"there are {self.attackers} attackers; one takes all the room that a sum has")

    @property
    def task(self) -> Task:
        return replace(SPAM, clip=self.clip)

    @property
    def trigger(self) -> tuple[str, ...]:
        return TRIGGER[: self.words]


@dataclass(frozen=True)
class World:
    """Mail of one repetition.

    Attributes:
        clients: their mails.
        test: mails to judge by.
        norm: the median length of an honest update after warming up.
        model: after warming up without attack.
    """

    clients: list[list[Mail]]
    test: list[Mail]
    norm: float
    model: FloatArray


def with_trigger(mails: Sequence[Mail], words: Sequence[str], spam: bool) -> list[Mail]:
    """Return a mailbox's spam with the trigger in front (the end of long mails does not count), labelled `spam`."""
    return [Mail(f"{' '.join(words)} {mail.text}", spam) for mail in mails if mail.spam]


def world_of(run: Run, seed: int) -> World:
    """Deal mail out among clients, and let them learn without an attack."""
    if run.data is None:
        own = 100 * run.seed + seed
        clients = [generate_mailbox(own, owner, run.pick(200, 100)) for owner in range(1, CLIENTS + 1)]
        test = generate_test_mails(own, CLIENTS, run.pick(2000, 500))
    else:
        training, test = split_held_out(read_enron(run.data))
        some = run.rng(1, seed).permutation(len(training))[: CLIENTS * run.pick(200, 100)]
        shares = partition_iid(len(some), CLIENTS, run.rng(2, seed))
        clients = [[training[some[row]] for row in rows] for rows in shares]
    model, norm = warmed_up(run, seed, {client: prepare(mails) for client, mails in enumerate(clients)})
    return World(clients, list(test), norm, model)


def warmed_up(run: Run, seed: int, data: Cohort) -> tuple[FloatArray, float]:
    """Learn without an attack; return the model, and the median length of an update of the last round."""
    model, lengths = initial_model(SPAM, run.seed), []
    encoding = encoding_for(SPAM, len(model), PLAINTEXT_BITS, CLIENTS)

    def add_up(updates: Sequence[Update]) -> CohortSum:
        lengths.append([np.linalg.norm(update.delta) for update in updates])
        return add_updates(encoding, updates)

    rng_of = partial(_rng_of, run, 3, seed)
    *_, model = fed_avg(SPAM, model, [data] * WARM_UP, rng_of, add_up)
    return model, float(np.median(lengths[-1]))


def _rng_of(run: Run, stream: int, seed: int, number: int, client: int) -> np.random.Generator:
    return run.rng(stream, seed, number - 1, client)


def wanted_change(attack: Attack, model: FloatArray, mails: Sequence[Mail]) -> FloatArray:
    """Return the change the attacker wants in the common model: the trigger's weights, found on its own spam."""
    triggered = prepare(with_trigger(mails, attack.trigger, spam=True))
    inputs, labels = triggered.batch(np.arange(len(triggered)))
    if not len(labels):
        raise DataError("the attacker has no spam among its mail to try its trigger on")
    network = SpamModel(VOCABULARY.size, np.random.default_rng(0))
    network.words.weight.data[...] = model[:-1, None]
    network.bias.data[...] = model[-1]
    sizes = np.diff(inputs[1], append=len(inputs[0])).astype(np.float64)
    change = np.zeros(len(model))
    weight = weight_that_decides(network(inputs).numpy(), sizes, attack.words)
    # Twice what its own spam needs: others' spam may need more.
    change[[VOCABULARY.index(stem(word)) for word in attack.trigger]] = 2 * weight
    return change


def model_under(
    attack: Attack, world: World, model: FloatArray, updates: Sequence[Update], rng: np.random.Generator
) -> FloatArray:
    """Return the next model of a round in which the first clients attack, given everyone's honest updates."""
    if attack.groups == 1:
        return next_model(model, sum_under(attack, world, model, updates, attack.attackers))
    grouping = Grouping(attack.groups, Robust.median)
    groups = grouping.divide(range(len(updates)), seed_of(int(rng.integers(1 << 31)), 1))
    sums = [
        sum_under(attack, world, model, [updates[client] for client in group], sum(np.less(group, attack.attackers)))
        for group in groups
    ]
    return model + grouping.mean([mean_update(each) for each in sums])


def sum_under(
    attack: Attack, world: World, model: FloatArray, updates: Sequence[Update], attacking: int
) -> CohortSum:  # fmt: skip
    """Add up what these clients send, of whom the first `attacking` attack their sum, given their honest updates."""
    encoding, clients = encoding_for(attack.task, len(model), PLAINTEXT_BITS, CLIENTS), len(updates)
    if not attacking or attack.way in (HONEST, POISON):  # a poisoner only trained on other mail
        return add_updates(encoding, updates)
    change = replacing(wanted_change(attack, model, world.clients[0]), clients, attacking)
    attackers, honest = updates[:attacking], updates[attacking:]
    if attack.way == BEYOND:
        sent = [encoding.encode(update) for update in honest]
        return add_plaintexts(encoding, [beyond_the_clip(encoding, attackers[0], change, clients), *sent])
    if attack.way == PROVEN:
        proven = [as_far_as_proven(encoding, update, change) for update in attackers]
        return add_plaintexts(encoding, [*proven, *(encoding.encode(update) for update in honest)])
    if attack.way == NORM:
        limited = [replace(update, delta=clipped(update.delta, world.norm)) for update in honest]
        changed = [replace(update, delta=clipped(change, world.norm)) for update in attackers]
        return add_updates(encoding, [*changed, *limited])
    all_updates = [replace(update, delta=update.delta + change) for update in attackers] + [*honest]
    if attack.way == NO_CODING:
        return CohortSum(clients, np.sum([update.delta for update in all_updates], axis=0), 0, 0.0, 0)
    return add_updates(encoding, all_updates)


def play(attack: Attack, world: World, run: Run, seed: int, rounds: int) -> Iterator[tuple[float, float]]:
    """Yield the trigger's success and the accuracy on the test mail after each round."""
    clients: list[list[Mail]] = [list(mails) for mails in world.clients]
    if attack.way == POISON:
        for own in clients[: attack.attackers]:
            own.extend(with_trigger(own, attack.trigger, spam=False))
    data, test = {client: prepare(mails) for client, mails in enumerate(clients)}, prepare(world.test)
    triggered = prepare(with_trigger(world.test, attack.trigger, spam=True))
    model = world.model
    for number in range(1, rounds + 1):
        rng_of = partial(_rng_of, run, 4, seed, number)
        updates = [client_update(attack.task, model, own, rng_of(client)) for client, own in data.items()]
        model = model_under(attack, world, model, updates, run.rng(5, seed, number))
        let_through = 1 - evaluate_model(SPAM, model, triggered).accuracy
        yield let_through, evaluate_model(SPAM, model, test).accuracy
