"""What a key holder's program is told, besides what it agrees to (core.policy)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.settings.common import Connection, Identity
from core.settings.setting import Setting
from keyholder.difference import DifferenceRule

DIFFERENCE_RULE = Setting(
    "What to do with a sum whose contributors differ from an earlier one, of whatever run, by fewer than the minimum "
    "cohort: enforce (refuse it; one client that drops out then ends the run), report, or off (where noise protects "
    "instead).",
    in_policy=True,
)


@dataclass(frozen=True, kw_only=True)
class HolderSettings(Connection):
    """How a key holder connects, where its ledger is, and what it does with sums that are too similar."""

    identity: Identity = Path("runs/federation/keyholder-1")
    state: Annotated[Path | None, Setting("The ledger; default runs/NAME, by this key holder's name.", "folder")] = None
    difference_rule: Annotated[DifferenceRule, DIFFERENCE_RULE] = DifferenceRule.ENFORCE
