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
    NONE = "arithmetic"

    def is_role_of(self, name: str) -> bool:
        """Tell whether a party of this name has the role."""
        return name.partition("-")[0] == self.value.replace(" ", "")


@dataclass(frozen=True)
class Attack:
    """One attack, and the check that stops it.

    Attributes:
        number: as in the page; letters tell variants apart.
        title: what is tried.
        play: tries it. Raises PartyRefusedError where a party refuses, else returns the loot.
        by: whose check comes first.
        check: its name.
        also: further checks that stop the attack when the first is off. The control switches off these too.
        conspirators: who works with the aggregator.
        holders: how many of the conspirators are key holders, the last ones. Where there is one holder only, it could
            open everything by itself, so that such an attack means nothing there.
        setting: how the honest parties are set, apart from what is switched off.
        control: how they are set in the control, where switching off checks is not enough.
        control_holders: how many key holders conspire in the control, where it is not as many.
        control_note: what that is, for the table.
        around: a further change in the control that is no named check.
        assumed: what the attack needs in addition.
        partial: how much of what the victim moved is enough, where all cannot be expected.
        keys: how many round keys it uses up.
        fewest_holders: how many key holders there must be for it to mean something.
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
    control_holders: int | None = None
    control_note: str = ""
    around: Callable[[], AbstractContextManager[object]] = nullcontext
    assumed: str = ""
    partial: float = 1.0
    keys: int = 2
    fewest_holders: int = 1

    def means_something_in(self, profile: Profile) -> bool:
        """Tell whether there are more holders than conspire."""
        return self.holders < profile.holders >= self.fewest_holders

    @property
    def switched_off(self) -> tuple[Reason, ...]:
        """The checks that the control does without, the first one first."""
        return (self.check, *self.also)

    @property
    def by_checks_alone(self) -> bool:
        """Whether the control is the same attack with checks switched off, and nothing else."""
        return self.control is None and self.control_holders is None

    @property
    def adversary(self) -> str:
        """Who attacks, and what is granted in addition."""
        return "; ".join(part for part in ("aggregator", self.conspirators, self.assumed) if part)


@dataclass(frozen=True)
class Conspiracy:
    """An attack with a key holder on the aggregator's side, which one way of sharing keys allows and another does not.

    Attributes:
        check: what stops it where it is stopped.
        works_in: where it is not stopped.
        needs: what stops it, in words.
    """

    number: str
    title: str
    play: Callable[[Attacker], Loot]
    check: Reason
    works_in: tuple[Profile, ...]
    needs: str

    @property
    def attack(self) -> Attack:
        """The conspiracy as an attack that can be played."""
        return Attack(
            self.number, self.title, self.play, Party.HOLDER, self.check, conspirators="1 client, 1 holder", holders=1
        )  # fmt: skip
