"""What a lie is, and what it is expected to meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from core.errors import Reason
from core.wire.calls import Upload
from experiments.cheating_client.forge import Lie


class Gain(StrEnum):
    """What a lie gets that is not stopped."""

    MOVED = "moves the model"
    ENDED = "ends the run"
    COUNTED = "false counts"
    COPIED = "counts another's update twice"
    NOTHING = "nothing"


class Off(StrEnum):
    """What the control does without."""

    UPDATES = "no check of updates"
    NO_PROOFS = "no proofs are asked for"
    PROOF = "without this check of proofs"
    NOTHING = "-"


class By(StrEnum):
    """Who refuses."""

    AGGREGATOR = "aggregator"
    HOLDER = "key holder"


@dataclass(frozen=True)
class Row:
    """One way to lie, and what stops it.

    Attributes:
        number: as in the page; letters tell variants apart.
        title: what the liar does.
        lie: makes its update.
        reason: the name of the refusal.
        check: the check of the proof that finds it, if one does. The control is without it and without `also`.
        gain: what the control gets.
        off: what the control does without.
        by: who refuses it.
        named: whether the liar is named, by its own signature. A client that sends nothing that it has signed is not.
        uploads: changes its upload on the way, after it has committed.
        passed_on: whether the aggregator passes the lie on unchecked.
        rounds: the lie is told in the last of so many.
        count_cap: of the clients' counts of examples.
    """

    number: str
    title: str
    lie: Lie
    reason: Reason
    check: str = ""
    also: tuple[str, ...] = ()
    gain: Gain = Gain.MOVED
    off: Off = Off.PROOF
    by: By = By.AGGREGATOR
    named: bool = True
    uploads: Callable[[Upload], Upload] | None = None
    passed_on: bool = False
    rounds: int = 1
    count_cap: int = 0
