"""What a dishonest client can try, and who stops it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from book.run import Run
from core.console import quiet_log
from experiments.study import Row, Study

AS_SAID = "as named"


def study(run: Run) -> Iterator[Row]:
    from experiments.cheating_client.catalogue import chosen  # only here: they load every party's code
    from experiments.cheating_client.picture import draw
    from experiments.cheating_client.suite import Suite

    trials = []
    # The parties have much to say about what they refuse.
    with tempfile.TemporaryDirectory() as folder, quiet_log(logging.CRITICAL):
        for trial in Suite(Path(folder), run.seed).trials(chosen(run.quick)):
            trials.append(trial)
            run.progress(f"{trial.row.number} {trial.row.title}")
            yield {
                "": trial.row.number,
                "lie": trial.row.title,
                "refused by": trial.defended.refused_by or "nobody",
                "reason": trial.reason,
                "liar": trial.naming,
                "round": trial.round,
                "switched off": str(trial.row.off),
                "then": trial.got,
                AS_SAID: "yes" if trial.as_expected else "NO",
            }
    run.save("cheating-client", draw(trials))


def unexpected(rows: Sequence[Row]) -> Sequence[Row]:
    return [row for row in rows if row[AS_SAID] != "yes"]


def _above_share(row: Row) -> bool:
    times, _, unit = str(row["then"]).partition(" ")
    return unit == "times its share" and float(times) > 1


def conclude(rows: Sequence[Row]) -> str:
    wrong = unexpected(rows)
    return (
        f"{len(rows) - len(wrong)} of {len(rows)} went as the threat model says: "
        f"{sum(row['liar'] == 'named' for row in rows)} liars were named by what they had signed, and the others "
        f"were left out; {sum('completed' in str(row['round']) for row in rows)} rounds were completed by the others. "
        f"Without the check, {sum(_above_share(row) for row in rows)} moved a weight by more than an honest "
        f"client can, and {sum(row['then'] == 'the run ended' for row in rows)} ended the run."
        + "".join(f" NOT AS NAMED: {row['']} {row['lie']}." for row in wrong)
    )


STUDY = Study(
    name="cheating-client",
    title="What a dishonest client can try, and who stops it",
    question="Updates are encrypted. What can a client send that no honest one would, and what does it get by it?",
    adversary="One enrolled client of three, with its own keys, that sends what it likes; where the lie needs another "
    "client's update, that client hands it over. In 9a to 9c the aggregator is dishonest too, and passes the lie on.",
    method="The product's own clients, key holders (2 of 2) and aggregator in one process, with Paillier keys of 256 "
    "bits behind the insecure flag. Each honest client adds 1 to a weight of its own; a liar wants to change "
    "another one. Each lie is told with every check on, and again with the check that stopped it switched off at every "
    "party. Shares are in multiples of what an honest client could move a weight by at most: the clip, divided by the "
    "number of clients.",
    limits="Small keys, 60 weights, and two key holders, because each checks every proof. Clients that are left out "
    "without being named: they sign no digest of ciphertexts (6a), sign what cannot be a proof (6b), sign what another "
    "client has signed too (7a, 7b), or send other bytes than they have signed (8a, 8b). What 7a to 8b would get "
    "without the check is not tried, except in 7c and 7d. Poison within the range is not a lie in this sense. "
    "tests/test_bounds.py has more false proofs.",
    run=study,
    conclude=conclude,
    unexpected=unexpected,
)
