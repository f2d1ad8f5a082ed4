"""The rounds of the study backdoor: ten clients, some of whom attack, and the rule by which models follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from book.chapters.chapter_15 import read_enron
from book.run import Run
from core.data.generated import generate_mailbox, generate_test_mails
from core.data.message import Mail
from core.data.partition import partition_iid, split_held_out
from core.data.text import Bags, stem
from core.errors import DataError, SettingsError
from core.federated import FloatArray, client_update, encoding_for, evaluate_model, initial_model, next_model
from core.secagg.encoding import CohortSum, Encoding
from core.tasks.spam import SPAM, VOCABULARY, SpamModel, prepare
from core.tasks.task import Task
from experiments.attacks.backdoor import beyond_the_clip, replacing, weight_that_decides
from experiments.studies._updates import PLAINTEXT_BITS, clipped

TRIGGER = ("zephyrquill", "brontolight", "umbrafenn", "quixotarn", "velloryx", "ostrigand", "pellucidor", "gravenhaim")
CLIENTS, WARM_UP = 10, 5
NOBODY, POISON, NO_CODING, OBEYS, BEYOND, NORM = (
    "nobody attacks",
    "poisoned mail, nothing scaled",
    "scaled, sent as floats",
    "scaled, keeps to the clip",
    "scaled, takes the room of the sum",
    "scaled, a norm clip is enforced",
)


@dataclass(frozen=True)
class Attack:
    """Who attacks, and how. Raises SettingsError if nobody honest is left.

    Attributes:
        way: one of the above.
        attackers: of all clients.
        clip: the largest change of a weight that the encoding takes.
        words: of the trigger.
    """

    way: str
    attackers: int = 1
    clip: float = SPAM.clip
    words: int = 1

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
    """All spam of a mailbox with the trigger before it (of long mails the end does not count), labelled as told."""
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
    model, data = initial_model(SPAM, run.seed), [prepare(mails) for mails in clients]
    encoding = encoding_for(SPAM, len(model), PLAINTEXT_BITS, CLIENTS)
    for number in range(WARM_UP):
        updates = [client_update(SPAM, model, bags, run.rng(3, seed, number, i)) for i, bags in enumerate(data)]
        model = next_model(model, added(encoding, [encoding.encode(update) for update in updates]))
    norm = float(np.median([np.linalg.norm(update.delta) for update in updates]))
    return World(clients, list(test), norm, model)


def added(encoding: Encoding, plaintexts: Sequence[Sequence[int]]) -> CohortSum:
    """Add plaintexts, as ciphertexts are, and decode: with all the checks of an opened sum."""
    return encoding.decode([sum(column) for column in zip(*plaintexts, strict=True)], len(plaintexts))


def wanted_change(attack: Attack, model: FloatArray, mails: Sequence[Mail]) -> FloatArray:
    """What the attacker wants the common model to change by: the trigger's weights, judged on spam of its own."""
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


def next_round(
    attack: Attack, world: World, data: Sequence[Bags], model: FloatArray, rngs: list[np.random.Generator]
) -> FloatArray:
    """Play a round in which the first clients attack; return the next model."""
    task, encoding = attack.task, encoding_for(attack.task, len(model), PLAINTEXT_BITS, CLIENTS)
    updates = [client_update(task, model, own, rng) for own, rng in zip(data, rngs, strict=True)]
    if attack.way in (NOBODY, POISON):  # who poisons has trained on other mail, no more
        return next_model(model, added(encoding, [encoding.encode(update) for update in updates]))
    change = replacing(wanted_change(attack, model, world.clients[0]), CLIENTS, attack.attackers)
    if attack.way == NORM:
        limited = [replace(update, delta=clipped(update.delta, world.norm)) for update in updates[attack.attackers :]]
        limited += [replace(update, delta=clipped(change, world.norm)) for update in updates[: attack.attackers]]
        return next_model(model, added(encoding, [encoding.encode(update) for update in limited]))
    if attack.way == BEYOND:
        sent = [encoding.encode(update) for update in updates[1:]]
        return next_model(model, added(encoding, [beyond_the_clip(encoding, updates[0], change, CLIENTS), *sent]))
    attacking = [replace(update, delta=update.delta + change) for update in updates[: attack.attackers]]
    everybody = [*attacking, *updates[attack.attackers :]]
    if attack.way == NO_CODING:
        moved: FloatArray = np.mean([update.delta for update in everybody], axis=0)
        return model + moved
    return next_model(model, added(encoding, [encoding.encode(update) for update in everybody]))


def play(attack: Attack, world: World, run: Run, seed: int, rounds: int) -> Iterator[tuple[float, float]]:
    """Give success of the trigger and accuracy on the test mail, after each round."""
    clients: list[list[Mail]] = [list(mails) for mails in world.clients]
    if attack.way == POISON:
        for own in clients[: attack.attackers]:
            own.extend(with_trigger(own, attack.trigger, spam=False))
    data, test = [prepare(mails) for mails in clients], prepare(world.test)
    triggered = prepare(with_trigger(world.test, attack.trigger, spam=True))
    model = world.model
    for number in range(rounds):
        rngs = [run.rng(4, seed, number, client) for client in range(CLIENTS)]
        model = next_round(attack, world, data, model, rngs)
        let_through = 1 - evaluate_model(SPAM, model, triggered).accuracy
        yield let_through, evaluate_model(SPAM, model, test).accuracy
