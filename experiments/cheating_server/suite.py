"""Run attacks: first with every check, then without the one that stopped them."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from experiments.cheating_server.attack import Attack, Conspiracy, Party
from experiments.cheating_server.conspirators import Conspirators
from experiments.cheating_server.honest import HonestParties, Setting
from experiments.cheating_server.loot import Loot
from experiments.cheating_server.moves import Attacker
from experiments.cheating_server.rogue import PartyRefusedError, Rogue
from experiments.cheating_server.stage import CONSPIRATORS, HONEST, REVOKED, Profile, Stage, build


@dataclass(frozen=True)
class Outcome:
    """What came of an attack in one federation: refused by a party's check, or loot."""

    party: str = ""
    reason: str = ""
    message: str = ""
    loot: Loot | None = None

    @property
    def refused(self) -> bool:
        return self.loot is None


@dataclass(frozen=True)
class Trial:
    """One attack in one profile, both ways."""

    attack: Attack
    profile: Profile
    defended: Outcome
    control: Outcome

    @property
    def as_expected(self) -> bool:
        """Whether the named party refused with the named check, and the attack works without it."""
        return self.refused_as_named and self.control_works

    @property
    def refused_as_named(self) -> bool:
        found = self.defended
        return found.refused and found.reason == self.attack.check and self.attack.by.is_role_of(found.party)

    @property
    def control_works(self) -> bool:
        return self.control.loot is not None and self.control.loot.at_least(self.attack.partial)


@dataclass(frozen=True)
class Experience:
    """What came of a conspiracy in one profile."""

    conspiracy: Conspiracy
    profile: Profile
    outcome: Outcome

    @property
    def as_expected(self) -> bool:
        """Whether it was stopped by the named check, or worked where it is known to."""
        if self.profile in self.conspiracy.works_in:
            return self.outcome.loot is not None and self.outcome.loot.at_least(1.0)
        return self.outcome.reason == self.conspiracy.check and Party.HOLDER.is_role_of(self.outcome.party)


class Suite:
    """Attacks played in federations that are made in `folder` as they are needed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder, self._seed = folder, seed
        self._stages: dict[Profile, Stage] = {}
        self._count = 0

    def trials(self, attacks: Iterable[Attack], profiles: Sequence[Profile]) -> Iterator[Trial]:
        """Yield a trial of every attack in every profile where it means something."""
        for attack in attacks:
            for profile in profiles:
                if attack.means_something_in(profile):
                    yield self.trial(attack, profile)

    def conspire(self, conspiracies: Iterable[Conspiracy], profiles: Sequence[Profile]) -> Iterator[Experience]:
        """Play every conspiracy in every profile."""
        for conspiracy in conspiracies:
            for profile in profiles:
                yield Experience(conspiracy, profile, self.defended(conspiracy.attack, profile))

    def trial(self, attack: Attack, profile: Profile) -> Trial:
        """Play one attack, with the checks and without."""
        return Trial(attack, profile, self.defended(attack, profile), self.control(attack, profile))

    def defended(self, attack: Attack, profile: Profile) -> Outcome:
        """Play the attack with every check on."""
        return self._play(attack, profile, attack.setting, attack.holders)

    def control(self, attack: Attack, profile: Profile) -> Outcome:
        """Play the attack with the checks that stop it switched off at every honest party."""
        if attack.control is not None:
            setting = attack.control
        else:
            setting = replace(attack.setting, passes=frozenset(attack.switched_off))
        holders = attack.holders if attack.control_holders is None else attack.control_holders
        with attack.around():
            return self._play(attack, profile, setting, holders)

    def stage(self, profile: Profile) -> Stage:
        """Return the federation of a profile."""
        if profile not in self._stages:
            self._stages[profile] = build(self._folder / f"federation-{len(self._stages)}", profile, self._seed)
        return self._stages[profile]

    def _play(self, attack: Attack, profile: Profile, setting: Setting, conspiring: int) -> Outcome:
        stage = self.stage(profile)
        self._count += 1
        state = self._folder / f"state-{self._count}"
        conspirators = stage.holders[len(stage.holders) - conspiring :]
        stage.forget_keys()
        stage.deal(attack.keys)
        try:
            with attacking(stage, state, setting, conspirators) as attacker:
                return Outcome(loot=attack.play(attacker))
        except PartyRefusedError as refusal:
            return Outcome(refusal.party, refusal.reason, refusal.message)
        finally:
            shutil.rmtree(state, ignore_errors=True)


@contextmanager
def attacking(
    stage: Stage, state: Path, setting: Setting, conspirators: tuple[str, ...] = (), clients: Sequence[str] = HONEST
) -> Iterator[Attacker]:
    """Start the rogue and the honest parties, and end them all."""
    rogue = Rogue(stage.identities["server"], secrets.token_hex(8))
    honest = HonestParties(stage, state, setting, rogue.record)
    attacker = Attacker(stage, rogue, Conspirators(stage, (*CONSPIRATORS, REVOKED, *conspirators)), setting.min_cohort)
    attacker.restart_clients = partial(honest.restart_clients, rogue.address)
    attacker.honest = honest
    try:
        honest.start(rogue.address, attacker.holders, clients)
        attacker.let_start(rogue.hear("here", (*attacker.holders, *clients)))
        yield attacker
    finally:
        rogue.end()
        honest.join()
        rogue.close()
