"""The attacks of the study matrix: each study's own functions, on what each defence leaves to be seen.

Every function returns, for one repetition, a number without the attack, then one for each defence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from book.run import Run
from core.data.mnist import Images
from core.federated import (
    client_update,
    encoding_for,
    evaluate_model,
    initial_model,
    next_model,
)
from core.secagg.encoding import Update
from core.tasks.spam import SPAM, prepare
from core.tasks.task import LocalTraining
from experiments.arrays import FloatArray
from experiments.attacks.property_inference import learn_to_tell
from experiments.attacks.roc import auc
from experiments.attacks.words import label_from_bias
from experiments.studies import _backdoor_rounds as backdoor
from experiments.studies import image_inversion as inversion
from experiments.studies import membership
from experiments.studies._inversion_cases import Case
from experiments.studies._mailroom import STEP, Mailroom
from experiments.studies._updates import PLAINTEXT_BITS, clipped
from experiments.studies.property_inference import PROPERTIES, Population, sums_scored, updates_of
from experiments.studies.sum_leakage import by_use

DEFENCES = ("plain", "sum", "sum with noise", "groups with median")
COHORT, GROUPS, MAILS, OWN_DIGITS = 20, 4, 10, 10
"""Clients of a round and its groups where something is read; mails, or digits, of each client."""
CLIP_NORM, NOISE = 0.5, 1.0
"""Of clients' updates where there is noise, and its standard deviation on every weight of the sum, in multiples."""
BACKDOOR_GROUPS = 5


@dataclass(frozen=True)
class Seen:
    """What one defence leaves to be seen of a victim: clients in the sum that it is in, and their clip and noise."""

    clients: int
    norm: float = 0.0
    noise: float = 0.0


SEEN = (Seen(1), Seen(COHORT), Seen(COHORT, CLIP_NORM, NOISE), Seen(COHORT // GROUPS))


# ------------------------------------------------------------------------------------------------ reading


def words_and_labels(run: Run, room: Mailroom, seed: int) -> tuple[list[float], list[float]]:
    """Attack every client of one cohort: AUC of its words, and the share of victims whose kind of mail is read right.

    The words are ranked by how far their weights moved (sum-leakage); the sign of the bias says whether most of the
    mail is spam (word-leakage). Before the numbers of the defences comes that of an attacker that sees nothing.
    """
    shares = room.deal(COHORT, MAILS, run.rng(20, seed))
    task, model = replace(SPAM, local=LocalTraining(STEP)), initial_model(SPAM, run.seed)
    deltas = [
        client_update(task, model, room.data_of(rows), run.rng(21, seed, number)).delta
        for number, rows in enumerate(shares)
    ]
    encoding = encoding_for(SPAM, len(model), PLAINTEXT_BITS, COHORT)
    used = [room.numbers_of(rows) for rows in shares]
    most = [bool(room.data_of(rows).labels.mean() > 0.5) for rows in shares]
    words = [float(np.mean([auc(*by_use(room.words.frequency, each)) for each in used]))]
    labels = [float(np.mean([each == (room.public_bags.labels.mean() > 0.5) for each in most]))]
    for place, seen in enumerate(SEEN):
        limited = [clipped(delta, seen.norm) if seen.norm else delta for delta in deltas]
        sent = np.ldexp(np.stack([encoding.quantise(delta) for delta in limited]), -encoding.fraction_bits)
        totals = [_total(sent, victim, seen, run.rng(22, seed, place, victim)) for victim in range(COHORT)]
        pairs = list(zip(totals, used, most, strict=True))
        words.append(float(np.mean([auc(*by_use(np.abs(total[:-1]), own)) for total, own, _ in pairs])))
        labels.append(float(np.mean([label_from_bias(total[-1]) == kind for total, _, kind in pairs])))
    return words, labels


def _total(sent: FloatArray, victim: int, seen: Seen, rng: np.random.Generator) -> FloatArray:
    """Return the sum that a victim's update is in, shape (values,), of updates of shape (clients, values)."""
    first = victim // seen.clients * seen.clients
    total: FloatArray = sent[first : first + seen.clients].sum(axis=0)
    return total + seen.noise * seen.norm * rng.standard_normal(len(total))


def properties(run: Run, people: tuple[Population, Population], clients: int, trials: int, seed: int) -> list[float]:
    """Return the AUC of one client's property in what is seen (property-inference); first, of nothing."""
    found = [0.5]
    for seen in SEEN:
        learned, judged = (
            updates_of(run, side, PROPERTIES[0], clients, (23, seed, number), seen.norm)
            for number, side in enumerate(people)
        )
        score, rng = learn_to_tell(learned.sent, learned.has_property), run.rng(24, seed, seen.clients)
        groups = sums_scored(score, judged, seen.clients, trials, seen.noise * seen.norm, rng)
        found.append(float(auc(*groups)))
    return found


def members(run: Run, digits: Images, test: Images, seed: int) -> list[float]:
    """Return the AUC of whether a digit was learned from (membership), with the model that follows from what is seen.

    First, of an attacker that sees no model and goes by how easy the digit is. Each client has 10 digits.
    """
    found: list[float] = []
    for seen in SEEN:
        size = membership.Size(2 * OWN_DIGITS * seen.clients, run.pick(16, 10), (1,), 1)
        setup = membership.Setup(seen.clients, seen.norm, seen.noise)
        measured = membership.measure(setup, size, run, digits, test, seed)[1]
        if not found:
            found.append(auc(*measured.groups(membership.ATTACKS[0])))
        found.append(auc(*measured.groups(membership.ATTACKS[-1])))
    return found


def pictures(run: Run, digits: Images, seed: int) -> list[float]:
    """Return the share of clients' only digits that come back above 40 dB (image-inversion); first, without updates."""
    own = inversion.held(run, digits, COHORT, seed)
    found = [float(inversion.prior_only(run, digits, COHORT)[inversion.SHARE])]
    for seen in SEEN:
        groups = np.split(np.arange(COHORT), COHORT // seen.clients)
        case = Case(clients=seen.clients, noise=seen.noise)
        ratios = [
            inversion.recovered(case, run, Images(*own.batch(rows)), 100 * seed + number)[1]
            for number, rows in enumerate(groups)
        ]
        found.append(float((np.concatenate(ratios) > inversion.GOOD).mean()))
    return found


# ------------------------------------------------------------------------------------------------ writing


def backdoors(run: Run, world: backdoor.World, seed: int, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return triggered spam let through, and the accuracy with the attack and without, after some rounds (backdoor)."""
    attacked = [_played(run, world, seed, rounds, backdoor.BEYOND, name) for name in DEFENCES]
    honest = [_played(run, world, seed, rounds, backdoor.HONEST, name) for name in DEFENCES]
    attacked, honest = [honest[0], *attacked], [honest[0], *honest]
    return [through for through, _ in attacked], [right for _, right in attacked], [right for _, right in honest]


def _played(run: Run, world: backdoor.World, seed: int, rounds: int, way: str, defence: str) -> tuple[float, float]:
    attack = backdoor.Attack(way, int(way != backdoor.HONEST))
    data = {client: prepare(mails) for client, mails in enumerate(world.clients)}
    model = world.model
    for number in range(1, rounds + 1):
        rngs: Iterator[np.random.Generator] = (run.rng(25, seed, number, client) for client in data)
        updates = [client_update(SPAM, model, own, rng) for own, rng in zip(data.values(), rngs, strict=True)]
        model = RULES[defence](run.rng(26, seed, number), attack, world, model, updates)
    test, triggered = prepare(world.test), prepare(backdoor.with_trigger(world.test, attack.trigger, spam=True))
    return 1 - evaluate_model(SPAM, model, triggered).accuracy, evaluate_model(SPAM, model, test).accuracy


def _of_one_sum(
    _rng: np.random.Generator, attack: backdoor.Attack, world: backdoor.World, model: FloatArray, updates: list[Update]
) -> FloatArray:
    return next_model(model, backdoor.sum_under(attack, world, model, updates, attack.attackers))


def _of_a_noisy_sum(
    rng: np.random.Generator, attack: backdoor.Attack, world: backdoor.World, model: FloatArray, updates: list[Update]
) -> FloatArray:
    """Clip honest updates and add the noise of the whole cohort; an attacker does neither."""
    limited = [replace(update, delta=clipped(update.delta, CLIP_NORM)) for update in updates]
    cohort = backdoor.sum_under(attack, world, model, limited, attack.attackers)
    noise = NOISE * CLIP_NORM * rng.standard_normal(len(model))
    return next_model(model, replace(cohort, delta_sum=cohort.delta_sum + noise))


def _of_groups(
    rng: np.random.Generator, attack: backdoor.Attack, world: backdoor.World, model: FloatArray, updates: list[Update]
) -> FloatArray:
    return backdoor.model_under(replace(attack, groups=BACKDOOR_GROUPS), world, model, updates, rng)


RULES = {"plain": _of_one_sum, "sum": _of_one_sum, "sum with noise": _of_a_noisy_sum, "groups with median": _of_groups}
"""How the next model follows; that updates can be read changes nothing in it."""
