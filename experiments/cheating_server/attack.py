"""What an attack is, and what it is expected to meet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum

from core.errors import Reason
from experiments.cheating_server.honest import Setting
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.stage import Profile


class Party(StrEnum):
    """Who stops an attack."""

    CLIENT = "client"
    HOLDER = "key holder"

    def is_role_of(self, name: str) -> bool:
        """Whether a party of this name has the role."""
        return name.startswith(self.value.replace(" ", "") + "-")


@dataclass(frozen=True)
class Attack:
    """One attack, and the check that stops it.

    Attributes:
        number: as in the page; letters tell variants apart.
        title: what is tried.
        play: tries it. Raises PartyRefusedError where a party does not go along, else gives what was got.
        by: whose check comes first.
        check: its name.
        also: further checks that stop the attack when the first is off. The control switches off these too.
        conspirators: who works with the aggregator.
        holders: how many of the conspirators are key holders, the last ones. Where there is one holder only, it could
            open everything by itself, so that such an attack means nothing there.
        setting: how the honest parties are set, apart from what is switched off.
        control: how they are set in the control, where switching off checks is not enough.
        control_note: what that is, for the table.
        around: what else is changed in the control, which no check's name stands for.
        assumed: what the attack needs besides.
        partial: how much of what the victim moved is enough, where all cannot be expected.
        keys: how many round keys it uses up.
    """

    number: str
    title: str
    play: Callable[[Attacker], Loot]
    by: Party
    check: Reason
    also: tuple[Reason, ...] = ()
    conspirators: str = ""
    holders: int = 0
    setting: Setting = field(default_factory=Setting)
    control: Setting | None = None
    control_note: str = ""
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    assumed: str = ""
    partial: float = 1.0
    keys: int = 2

    def means_something_in(self, profile: Profile) -> bool:
        """Whether there are more holders than conspire."""
        return self.holders < profile.holders

    @property
    def switched_off(self) -> tuple[Reason, ...]:
        """The checks that the control does without, the first one first."""
        return (self.check, *self.also)
