"""What a dishonest aggregator can try, and who stops it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from book.run import Run
from experiments.study import Row, Study


def study(run: Run) -> Iterator[Row]:
    from experiments.cheating_server import command, report  # only here: they load every party's code

    found = command.run(run)
    for attack in found.attacks:
        trials = [trial for profile in command.PROFILES if (trial := found.trial(attack, profile)) is not None]
        got = sorted({trial.control.loot.brief if trial.control.loot else "nothing" for trial in trials})
        yield {
            "": attack.number,
            "attack": attack.title,
            "with": attack.conspirators,
            "refused by": attack.by.value,
            "check": str(attack.check),
            "as named": "yes" if all(trial.refused_as_named for trial in trials) else "NO",
            "without the check": " / ".join(got),
        }
    for conspiracy in dict.fromkeys(each.conspiracy for each in found.experiences):
        outcomes = [each for each in found.experiences if each.conspiracy == conspiracy]
        yield {
            "": conspiracy.number,
            "attack": conspiracy.title,
            "with": "1 holder, 1 client",
            "refused by": "; ".join(
                f"{report.sharing(each.profile)}: {report.outcome_cell(each.outcome)}" for each in outcomes
            ),
            "check": str(conspiracy.check),
            "as named": "yes" if all(each.as_expected for each in outcomes) else "NO",
            "without the check": "",
        }


def unexpected(rows: Sequence[Row]) -> Sequence[Row]:
    return [row for row in rows if row["as named"] != "yes"]


def conclude(rows: Sequence[Row]) -> str:
    wrong = unexpected(rows)
    works = [row for row in rows if "SUCCEEDS" in str(row["refused by"])]
    numbers = ", ".join(str(row[""]) for row in works)
    return (
        f"{len(rows) - len(wrong)} of {len(rows)} went as the threat model says. "
        f"{len(works)} succeed with 2 of 3 key holders, if one of these works with the aggregator (numbers {numbers}); "
        "with 3 of 4 they are refused. cheating-server.md in the same folder says more."
        + "".join(f" NOT AS NAMED: {row['']} {row['attack']}." for row in wrong)
    )


STUDY = Study(
    name="cheating-server",
    title="What a dishonest aggregator can try, and who stops it",
    question="Everything goes through the aggregator. Can it make the others give away what one client sent?",
    adversary="An aggregator that keeps to no rule, with its own certificate and signing key; where the table says so, "
    "clients or a key holder work with it. It has no other party's key, and not the registrar's.",
    method="Real clients and key holders meet it over mutual TLS, with Paillier keys of 256 bits behind the insecure "
    "flag. Each attack is played with every check on, and again with the check that stopped it switched off at every "
    "honest party, to see what it would have got.",
    limits="Small keys and mailboxes. Not shown, because nothing refuses them: t dishonest holders, a dishonest "
    "registrar, cohorts of the victim and conspirators only, and what exact sums tell by themselves.",
    run=study,
    conclude=conclude,
    unexpected=unexpected,
)
