"""Attacks against defences, as one table: what each defence leaves of what the other studies measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from book.pictures.style import new_figure, style
from book.run import Run
from experiments.studies import _backdoor_rounds as backdoor
from experiments.studies._columns import cell, means
from experiments.studies._mailroom import open_mailroom
from experiments.studies._matrix_attacks import (
    BACKDOOR_GROUPS,
    CLIP_NORM,
    COHORT,
    DEFENCES,
    GROUPS,
    MAILS,
    NOISE,
    OWN_DIGITS,
    backdoors,
    members,
    pictures,
    properties,
    words_and_labels,
)
from experiments.studies._updates import digits_for
from experiments.studies.property_inference import populations
from experiments.study import Linked, Row, Study
from results.intervals import over_seeds


@dataclass(frozen=True)
class Attack:
    """A line of the table: what is attacked, and the study it comes from."""

    name: str
    study: str


WORDS = Attack("a client's words: AUC", "sum-leakage")
LABEL = Attack("mostly spam or ham: right", "word-leakage")
PROPERTY = Attack("a client's subject: AUC", "property-inference")
MEMBER = Attack("a digit was learned from: AUC", "membership")
PICTURE = Attack("clients' only digits read off", "image-inversion")
TRIGGER = Attack("backdoor: spam let through", "backdoor")
ATTACKED = Attack("accuracy with the backdoor", "backdoor")
HONEST = Attack("accuracy without attack", "backdoor")
Found = Mapping[Attack, list[list[float]]]
"""What each attack gets: for each repetition a number without it, then one for each defence."""


def study(run: Run) -> Iterator[Row]:
    seeds, rounds = run.pick((5, 20), (3, 5))
    found: dict[Attack, list[list[float]]] = {}
    room, people = open_mailroom(run, *run.pick((40, 110), (25, 50))), populations(run)
    digits, test = digits_for(run, run.pick(4000, 1200)), digits_for(run, run.pick(1000, 300), "test")
    for seed in range(seeds):
        run.progress(f"repetition {seed + 1} of {seeds}: reading")
        for attack, numbers in zip((WORDS, LABEL), words_and_labels(run, room, seed), strict=True):
            found.setdefault(attack, []).append(numbers)
        found.setdefault(PROPERTY, []).append(properties(run, people, *run.pick((600, 1000), (120, 200)), seed))
        found.setdefault(MEMBER, []).append(members(run, digits, test, seed))
        found.setdefault(PICTURE, []).append(pictures(run, digits, seed))
        run.progress(f"repetition {seed + 1} of {seeds}: the backdoor")
        written = backdoors(run, backdoor.world_of(run, seed), seed, rounds)
        for attack, numbers in zip((TRIGGER, ATTACKED, HONEST), written, strict=True):
            found.setdefault(attack, []).append(numbers)
    yield from (_row(attack, repetitions) for attack, repetitions in found.items())
    draw(run, found)


def _row(attack: Attack, repetitions: Sequence[Sequence[float]]) -> Row:
    blind, *found = np.array(repetitions).T
    cells = {name: Linked(cell(values), attack.study) for name, values in zip(DEFENCES, found, strict=True)}
    without = Linked(cell(blind), attack.study)
    return {"attack": attack.name, "blind": without, **cells, "study": Linked(attack.study, attack.study)}


@style()
def draw(run: Run, found: Found) -> None:
    """Draw the table: darker is more for the attacker, or for accuracy more for everyone."""
    figure = new_figure(9.6, 4.4, "What each defence leaves to each attack (mean ± half of a 95 % interval)")
    axes, names = figure.subplots(), [attack.name for attack in found]
    numbers = [[over_seeds(column) for column in np.array(each).T] for each in found.values()]
    axes.imshow([[one.mean for one in line] for line in numbers], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.set_xticks(range(1 + len(DEFENCES)), ("blind, no attack", *DEFENCES))
    axes.set_yticks(range(len(names)), names)
    for row, line in enumerate(numbers):
        for column, one in enumerate(line):
            colour = "white" if one.mean > 0.6 else "black"
            axes.text(column, row, f"{one.mean:.2f} ±{one.half:.2f}", ha="center", va="center", color=colour)
    axes.grid(visible=False)
    run.save("matrix", figure)


def conclude(rows: Sequence[Row]) -> str:
    lines = {str(row["attack"]): dict(zip(DEFENCES, (means([row], name)[0] for name in DEFENCES), strict=True))
             for row in rows}  # fmt: skip
    trigger, honest = lines[TRIGGER.name], lines[HONEST.name]

    def four(attack: Attack, form: str) -> str:
        plain, whole, noisy, groups = (format(lines[attack.name][name], form) for name in DEFENCES)
        return f"{plain}, {whole}, {groups} and {noisy}"

    return (
        f"Read off updates in clear, sums of {COHORT}, sums of {COHORT // GROUPS} and noisy sums: a client's words "
        f"with an AUC of {four(WORDS, '.2f')}; a subject with {four(PROPERTY, '.2f')}; whether a digit was learned "
        f"from with {four(MEMBER, '.2f')}; and of clients' only digits {four(PICTURE, '.0%')} are seen. The backdoor "
        f"lets {trigger['sum']:.0%} of triggered spam through a sum, {trigger['sum with noise']:.0%} through a noisy "
        f"one, and {trigger['groups with median']:.0%} through the median of groups. The accuracy without attack is "
        f"{honest['sum']:.1%}, with noise {honest['sum with noise']:.1%}, with groups "
        f"{honest['groups with median']:.1%}."
    )


STUDY = Study(
    name="matrix",
    title="Attacks against defences, in one table",
    question="Which defence helps against which attack, and what does it cost?",
    adversary="As in the study that each line names. Plain: it sees every update. Sum: only that of the cohort. Sum "
    "with noise: the same with every update shortened to a norm and noise on the sum. Groups with median: the sum of "
    "each group, and it knows who is in which.",
    method=f"The studies' own functions, on one kind of mail and on digits. Reading: {COHORT} clients of {MAILS} mails "
    f"(property-inference: 20), alone, together, or in {GROUPS} groups; noise: updates shortened to a norm of "
    f"{CLIP_NORM:g}, and {NOISE:g} times that as standard deviation on every weight of the sum. Words are ranked by "
    "how far their weights moved (blind: by public frequency), the sign of the bias says what most of the mail is, and "
    f"a classifier scores a subject; of clients with {OWN_DIGITS} digits LiRA says which digits a first round learned "
    "from, and of clients with one each the weights of the first layer show it. "
    f"Writing: one of {backdoor.CLIENTS} clients takes all the room of the sum that it is in, for 5 rounds (in full: "
    f"20); with groups, the median of {BACKDOOR_GROUPS} sums of two. Each cell is a mean over 3 repetitions (in full: "
    "5) and half of its 95 % interval; the study at the end of its line explains the attack.",
    limits="One task, one size of cohort and one noise, chosen so that all attacks have something to find; the studies "
    "vary them. The noise is a stated sigma and no more: no epsilon is claimed here. Groups help as long as most have "
    "no attacker, and give readers smaller sums: what they gain against writing they lose against reading.",
    run=study,
    conclude=conclude,
)
