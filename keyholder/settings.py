"""Settings of a key holder's program, besides what it agrees to (core.policy)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.limits import MOST_HOLDERS
from core.settings.common import Connection, Identity
from core.settings.setting import Bounds, Setting
from keyholder.difference import DifferenceRule

DIFFERENCE_RULE = Setting(
    "What to do with a sum whose contributors differ from an earlier one, of whatever run, by fewer than the minimum "
    "cohort: report, enforce (refuse it; besides a client that drops out the aggregator then leaves out others), or "
    "off (where noise protects instead). A second sum from the same starting model is refused in any case.",
    in_policy=True,
)

DISHONEST_HOLDERS = Setting(
    "How many of the other key holders may be dishonest when this one starts: fewer than 2t - n - 1, the default, need "
    "fewer of them to be there (docs/threat-model.md).",
    "key holders",
    Bounds(at_least=0, at_most=MOST_HOLDERS),
    in_policy=True,
)


@dataclass(frozen=True, kw_only=True)
class HolderSettings(Connection):
    """How a key holder connects, where its ledger is, and what it does with sums that are too similar."""

    identity: Identity = Path("runs/federation/keyholder-1")
    state: Annotated[Path | None, Setting("The ledger; default runs/NAME, by this key holder's name.", "folder")] = None
    new_ledger: Annotated[
        bool,
        Setting("Begin a new ledger if this key holder's own is lost; the other holders' memory stands in for it."),
    ] = False
    task: Annotated[
        str | None,
        Setting(
            "An own task that this key holder serves besides those of the project: FILE:NAME or package.module:NAME "
            "(docs/own-task.md).",
            "name",
        ),
    ] = None
    dishonest_holders: Annotated[int | None, DISHONEST_HOLDERS] = None
    difference_rule: Annotated[DifferenceRule, DIFFERENCE_RULE] = DifferenceRule.REPORT
