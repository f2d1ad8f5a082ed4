"""Every order of messages in one round: can a dishonest aggregator and key holder have a single update opened?"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from book.run import Run
from core.console import quiet_log
from core.errors import StorageError
from experiments.study import Row, Study

TRACES = "traces.md"


def study(run: Run) -> Iterator[Row]:
    from experiments.model_check import cases, explore  # only here: they load every party's code

    traces: list[str] = []
    with tempfile.TemporaryDirectory() as folder, quiet_log(logging.CRITICAL):
        for case in cases.QUICK if run.quick else cases.ALL:
            run.progress(case.title)
            found = explore.check(Path(folder), case, run.seed)
            traces += explore.traces(found)
            yield {
                "case": case.title,
                "broken": "; ".join(sorted(found.attacks)) or ("nothing" if found.complete else "not all visited"),
                "as expected": "yes" if found.complete and case.expects == frozenset(found.attacks) else "NO",
                "states": found.states,
                "messages": found.executed,
                "refusals": sum(found.refusals.values()),
            }
    _write(run.out / TRACES, traces)
    for line in traces:
        run.say(line)


def _write(path: Path, lines: Sequence[str]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(["# The shortest attacks", "", *lines]) + "\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def conclude(rows: Sequence[Row]) -> str:
    wrong = [row for row in rows if row["as expected"] != "yes"]
    held = [row for row in rows if row["broken"] == "nothing"]
    return (
        f"{len(rows) - len(wrong)} of {len(rows)} cases went as the threat model says; in {len(held)} nothing can be "
        f"broken in any order of messages. {TRACES} has the shortest attack of each of the others."
        + "".join(f" NOT AS EXPECTED: {row['case']}." for row in wrong)
    )


STUDY = Study(
    name="model-check",
    title="Every order of messages in one round",
    question="Is there any order of lists, requests and signatures in which one round is opened twice, a sum of too "
    "few clients is opened, or one client's update is read?",
    adversary="An aggregator with a client and key holders on its side. It shows each party any list, order of "
    "contributors, request and signatures that it can write or has heard, in any order; it forges no signature.",
    method="A search through all states of two honest clients' and all honest key holders' own sessions, with real "
    "checks, ledgers and Paillier keys of 256 bits; sums are really opened, and held against the clients' true "
    "updates. Each check that the argument rests on is also switched off, to see that an attack is found then.",
    limits="One round, two honest clients, one client of the aggregator's with two updates, and the attempts and key "
    "holders in the table. A list is tried in two orders. Nothing is shown of other rounds or of the arithmetic.",
    run=study,
    conclude=conclude,
)
