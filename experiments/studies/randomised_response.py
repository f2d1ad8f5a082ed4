"""Randomised response (chapter 15): an embarrassing question, and answers that can be denied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from book.pictures.style import BLUE, VERMILLION, new_figure, style
from book.run import Run
from core.privacy.randomised_response import EPSILON, respond, standard_error, true_share
from experiments.study import Row, Study
from results.intervals import over_seeds

TRUE_SHARE = 0.70
"""The book's example: where 60 % say yes, about 70 % mean it."""
PEOPLE = (10, 30, 100, 300, 1_000, 3_000, 10_000, 100_000)


def study(run: Run) -> Iterator[Row]:
    seeds = run.pick(200, 20)
    rows = [_row(run, people, seeds) for people in PEOPLE]
    yield from rows
    draw(run, rows)


def _row(run: Run, people: int, seeds: int) -> Row:
    said, guessed = [], []
    for seed in range(seeds):
        rng = run.rng(people, seed)
        truth = np.arange(people) < round(TRUE_SHARE * people)
        said.append(respond(truth, rng).mean())
        guessed.append(true_share(said[-1]))  # not cut, or the mean of few people's would be off
    found = over_seeds(guessed)
    return {
        "people": people,
        "say yes": float(np.mean(said)),
        "estimated share": found.mean,
        "± (95 %)": found.half,
        "typical error": float(np.std(guessed)),
        "epsilon": EPSILON,
    }


@style()
def draw(run: Run, rows: Sequence[Row]) -> None:
    """Draw the error of the estimate against the number of people."""
    figure = new_figure(title="Everyone can deny, and the crowd can still be counted")
    axes = figure.subplots()
    people = [float(row["people"]) for row in rows]
    axes.loglog(people, [float(row["typical error"]) for row in rows], "o-", color=BLUE, label="measured")
    axes.loglog(people, [standard_error(0.6, int(count)) for count in people], "--", color=VERMILLION, label="computed")
    axes.set(xlabel="people asked", ylabel="typical error of the share (1 = everyone)")
    axes.legend()
    run.save("error", figure)


def conclude(rows: Sequence[Row]) -> str:
    last = rows[-1]
    said, guessed = float(last["say yes"]), float(last["estimated share"])
    return (
        f"Of {last['people']:,} people {said:.1%} say yes, from which {guessed:.1%} follows; "
        f"the truth is {TRUE_SHARE:.0%}. With {rows[0]['people']} people the estimate is typically off by "
        f"{float(rows[0]['typical error']):.0%}. Each answer has epsilon ln 3 = {EPSILON:.2f}, however many are asked."
    )


STUDY = Study(
    name="randomised-response",
    title="Randomised response: answers that can be denied",
    question="Can a crowd be counted although no single answer says what its giver did?",
    adversary="Anyone who reads one person's answer and knows how it was made.",
    method="Each person tosses a coin: heads, tell the truth; tails, toss again and say what that coin shows. A yes is "
    "three times as likely from a person who did it as from one who did not (3/4 against 1/4), so one answer has "
    "epsilon ln 3 (Warner 1965; chapter 15). The true share is twice the share of yes, less one half.",
    limits="One question, asked once. Asked again and again with fresh coins, epsilon adds up.",
    run=study,
    conclude=conclude,
)
