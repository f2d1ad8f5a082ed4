"""The findings as a page to read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from core.commands import as_typed
from core.errors import StorageError
from experiments.cheating_server.attack import Attack
from experiments.cheating_server.report import NAME, NOT_APPLICABLE, Report, needs, outcome_cell, sharing
from experiments.cheating_server.stage import KEY_BITS, MAILS, MIN_COHORT, Profile

TEXT = """# What a dishonest aggregator can try

`python -m experiments cheating-server --seed {seed}`

**Question.** Everything between the parties goes through the aggregator. Can it make the others give away what one
client sent?

**Adversary.** An aggregator that keeps to no rule: it has its own certificate and signing key, and speaks the wire
with its own program. Where the table says so, clients or a key holder work with it and give it all they have. It
has no other party's key, and not the registrar's.

**Method.** Real clients and key holders (the programs' own code, mutual TLS over loopback, Paillier keys of {bits} bits
behind the insecure flag) meet it in a federation made by the registrar: three honest clients with {mails} generated
mails each, who open nothing of fewer than {min_cohort}; the difference rule is enforced. Each attack is played twice.
First with every check on: the table names who refuses and with which check, as read off the wire or from the client's
error. Then with that check switched off at every honest party, from outside (no option of a party does it), to see that
it was this check that stopped it: the number says how many of the victim's {weights} weights the attacker then had
exactly right. Where more checks stood behind the first, they were switched off too, and are named.

An attacker who guesses that nothing moved is right about {guess} weights and wrong about all {moved} that did.

**Result.** {summary}.

{matrix}

**With a key holder on its side**, fewer than can open anything, an aggregator shows one group of holders what it hides
from another. Whether that works depends on how keys are shared. `SUCCEEDS`: the attacker had all {weights} weights.

{conspiracies}

{needs}

Any two groups of t holders share 2 t - n of them, and if that is more than conspire, an honest one sees both lists,
attempts and openings. With 2 of 3 holders that is one, so a single dishonest holder is too many; with 3 of 4 (or with
t = n) it is not. Asking more holders to sign each list would stop the first only. A threshold of half the holders or
fewer, with which the aggregator needs no holder at all, cannot be set up.

{unexpected}## Limits

* Small keys and small mailboxes. The checks do not depend on either; what a control can tell apart does: with {mails}
  mails a client takes one step, and five times one step stands out from two others (attacks 2, 7c and 11).
* Not shown, because nothing refuses them: a cohort of the victim and conspirators only (all other updates of a sum
  reveal the last one; the minimum cohort must exceed the conspirators to be feared), t dishonest holders, a dishonest
  registrar, dropping clients and stopping rounds, and what exact sums tell by themselves (attacks on N1 to N6 of the
  threat model). In the profile 1 of 1 the holder can read everything, so attacks with a dishonest holder mean nothing.
* 4b and 6 grant the attacker that holders put used shares back from a backup. If one puts back its ledger too, the
  others tell it what is missing (35 to 37); if several do at once, there may be none left who remembers.
* 5a is not exact, because the others train slightly differently in the next round.
* In 30 the weights that are right are those that the mean moved as far as the liar wanted, ten times the clip.
* In 31c the difference rule stays enforced in the control: no two of the four sums are too similar.
* Attacks that make parties stop, crash or fill up are not here.
"""


def write_page(path: Path, report: Report, profiles: Sequence[Profile]) -> None:
    """Write the page. Raises StorageError."""
    loot = next(trial.control.loot for trial in report.trials if trial.control.loot is not None)
    lines = "".join(f"* {line}\n" for line in report.unexpected)
    text = TEXT.format(
        seed=report.seed,
        bits=KEY_BITS,
        mails=MAILS,
        min_cohort=MIN_COHORT,
        weights=loot.weights,
        moved=loot.moved,
        guess=loot.weights - loot.moved,
        summary=report.summary,
        matrix=_matrix(report, profiles),
        conspiracies=_conspiracies(report),
        needs="\n".join(f"* {line}" for line in needs(report)),
        unexpected=f"**Not as the threat model says:**\n\n{lines}\n" if lines else "",
    )
    try:
        path.write_text(f"{as_typed(text)}\n![The matrix]({NAME}.png)\n", encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _matrix(report: Report, profiles: Sequence[Profile]) -> str:
    head = ["", "attack", "with", "refused by", "check", *map(sharing, profiles), "switched off", "then right"]
    return _table(head, [_row(report, attack, profiles) for attack in report.attacks])


def _row(report: Report, attack: Attack, profiles: Sequence[Profile]) -> list[str]:
    found = [report.trial(attack, profile) for profile in profiles]
    cells = [NOT_APPLICABLE if t is None else "refused" if t.refused_as_named else "**NOT AS NAMED**" for t in found]
    loots = [trial.control.loot for trial in found if trial is not None]
    rights = sorted({loot.brief.removesuffix(f" of {loot.weights}") if loot else "nothing" for loot in loots})
    off = ", ".join(f"`{check}`" for check in attack.switched_off) if attack.by_checks_alone else ""
    notes = [note for note in (off, attack.control_note, attack.assumed) if note]
    return [
        attack.number,
        attack.title,
        attack.conspirators,
        attack.by.value,
        f"`{attack.check}`",
        *cells,
        "; ".join(notes),
        " / ".join(rights),
    ]


def _conspiracies(report: Report) -> str:
    head = ["", "attack", *(sharing(profile) for profile in report.profiles)]
    rows = []
    for conspiracy in dict.fromkeys(found.conspiracy for found in report.experiences):
        outcomes = [found.outcome for found in report.experiences if found.conspiracy == conspiracy]
        rows.append([conspiracy.number, conspiracy.title, *map(outcome_cell, outcomes)])
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows))
