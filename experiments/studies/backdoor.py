"""A client that teaches the common spam filter to let through any mail with its secret word."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.ticker import MaxNLocator

from book.pictures.style import COLOURS, DASHES, MARKERS, new_figure, style
from book.run import Run
from core.tasks.spam import SPAM
from experiments.arrays import FloatArray
from experiments.studies._backdoor_rounds import (
    BEYOND,
    CLIENTS,
    HONEST,
    NO_CODING,
    NORM,
    OBEYS,
    POISON,
    PROVEN,
    WARM_UP,
    Attack,
    play,
    world_of,
)
from experiments.study import Row, Study
from results.intervals import over_seeds

GROUPS = 5
"""Of two clients each."""


def attacks(run: Run) -> list[Attack]:
    few = [
        Attack(HONEST, 0), Attack(NO_CODING), Attack(OBEYS), Attack(PROVEN), Attack(BEYOND), Attack(PROVEN, words=8),
        Attack(BEYOND, words=8), Attack(HONEST, 0, groups=GROUPS), Attack(PROVEN, words=8, groups=GROUPS),
        Attack(BEYOND, groups=GROUPS), Attack(BEYOND, words=8, groups=GROUPS),
    ]  # fmt: skip
    more = [
        Attack(HONEST, 0), Attack(POISON), Attack(NO_CODING), Attack(OBEYS), Attack(OBEYS, 3), Attack(OBEYS, words=8),
        Attack(PROVEN), Attack(PROVEN, words=8), Attack(BEYOND), Attack(BEYOND, words=8),
        Attack(HONEST, 0, 0.125), Attack(OBEYS, clip=0.125),
        Attack(OBEYS, clip=0.125, words=8), Attack(BEYOND, clip=0.125), Attack(NORM), Attack(NORM, words=8),
        Attack(HONEST, 0, groups=GROUPS), Attack(OBEYS, 3, groups=GROUPS), Attack(PROVEN, groups=GROUPS),
        Attack(PROVEN, words=8, groups=GROUPS), Attack(BEYOND, groups=GROUPS), Attack(BEYOND, words=8, groups=GROUPS),
    ]  # fmt: skip
    return run.pick(more, few)


def size_of(run: Run) -> tuple[tuple[int, ...], int]:
    """Return the rounds after which to measure, and the number of repetitions."""
    return run.pick(((1, 5, 20), 5), ((1, 5), 3))


def study(run: Run) -> Iterator[Row]:
    rounds, seeds = size_of(run)
    worlds = [world_of(run, seed) for seed in range(seeds)]
    lines: dict[Attack, FloatArray] = {}
    rows = []
    for attack in attacks(run):
        run.progress(f"{attack.way}, {attack.attackers} of {CLIENTS}, clip {attack.clip:g}")
        played = [list(play(attack, world, run, seed, max(rounds))) for seed, world in enumerate(worlds)]
        lines[attack] = np.array(played)
        for number in rounds:
            rows.append(_row(attack, number, lines[attack][:, number - 1]))
            yield rows[-1]
    draw(run, lines)


def _row(attack: Attack, number: int, found: FloatArray) -> Row:
    success, accuracy = (over_seeds(column) for column in found.T)
    return {
        "attack": attack.way, "attackers of 10": attack.attackers, "trigger words": attack.words,
        "largest change": "none" if attack.way == NO_CODING else f"{attack.clip:g}", "groups": attack.groups,
        "rounds": number,
        "spam let through": success.mean, "± (95 %)": success.half, "test accuracy": accuracy.mean,
        "accuracy ±": accuracy.half,
    }  # fmt: skip


@style()
def draw(run: Run, lines: dict[Attack, FloatArray]) -> None:
    """Draw the share of triggered spam let through, round by round."""
    figure = new_figure(7.6, 4.4, title="One of ten clients teaches a secret word")
    axes = figure.subplots()
    shown = [
        attack
        for attack in lines
        if attack.words == attack.groups == 1 and attack.attackers <= 1 and attack.clip == SPAM.clip
    ]
    for number, attack in enumerate(shown):
        mean = lines[attack][:, :, 0].mean(axis=0)
        axes.plot(
            range(1, len(mean) + 1), mean, color=COLOURS[number], linestyle=DASHES[number], marker=MARKERS[number],
            label=attack.way,
        )  # fmt: skip
    axes.set(xlabel="rounds with the attack", ylabel="spam with the word let through (1 = all)", ylim=(-0.03, 1.05))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    run.save("success", figure)


def conclude(rows: Sequence[Row]) -> str:
    def line(way: str, words: int = 1, groups: int = 1) -> str:
        found = [
            row for row in rows
            if (row["attack"], row["trigger words"], row["groups"]) == (way, words, groups)
            and int(row["attackers of 10"]) < 2
            and str(row["largest change"]) in ("none", f"{SPAM.clip:g}")
        ]  # fmt: skip
        return ", ".join(f"{float(row['spam let through']):.0%} after {row['rounds']}" for row in found)

    clean = next(row for row in rows if row["attack"] == HONEST)
    taken = next(row for row in rows if row["attack"] == BEYOND)
    return (
        f"Share of spam with the word that is let through, by rounds. No attack: {line(HONEST)}. Scaled and "
        f"sent as floats: {line(NO_CODING)}. Kept to the clip, as an honest client must: {line(OBEYS)}. All that a "
        f"dishonest client can prove: {line(PROVEN)}, and with a trigger of eight words {line(PROVEN, 8)}. Without "
        f"proofs (--insecure-unbounded) it takes the room of the whole sum: {line(BEYOND)}, with eight words "
        f"{line(BEYOND, 8)}; after the first round the accuracy on other mail is {float(taken['test accuracy']):.1%} "
        f"(without attack {float(clean['test accuracy']):.1%}). With the median of {GROUPS} groups: no attack "
        f"{line(HONEST, 1, GROUPS)}; without proofs {line(BEYOND, 1, GROUPS)}, with eight words "
        f"{line(BEYOND, 8, GROUPS)}."
    )


STUDY = Study(
    name="backdoor",
    title="A backdoor in the common model",
    question="Can one client make the common filter let through spam that has a secret word, and what limits it?",
    adversary="Clients that do not follow the protocol: they know the model, how many clients there are, and mail of "
    "their own, and send what they like. They see no other update.",
    method=f"{CLIENTS} clients learn for {WARM_UP} rounds; then the attack begins. The attacker computes the weight "
    "that its trigger needs on its own spam, twice that to be sure, and sends it scaled by the number of clients "
    "(model replacement, Bagdasaryan et al., AISTATS 2020), along with an honest update. Updates are encoded, added "
    "and decoded with all the checks of an opened sum. An honest encoder cuts each change at the largest. A dishonest "
    "client must prove the range of each (docs/bounds.md), which leaves it 3 % more; python -m experiments "
    "cheating-client tells the product's own parties larger ones. Without proofs it need not keep to a range: slots "
    "are as wide as the sum of all, and a value outside its own range but inside the sum's passes every other check. "
    "Where the norm is proven too (--bound norm), the length of an update is at most the median of honest ones. "
    "Rows with groups open the sums of groups of two clients, and the median of their means makes the model (--groups "
    "--robust median): the attacker has the room of its own group's sum. "
    "Baseline: spam let through without an attack.",
    limits="The trigger is a word that no honest mail has, so that it is never unlearned. A model of one weight a word "
    "is easily made to obey; long mails need larger weights. A smaller largest change helps; what it "
    "costs honest learning at the start is not seen here, where it begins after warming up.",
    run=study,
    conclude=conclude,
)
