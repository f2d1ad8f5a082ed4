"""Play every lie: with every check, and without the one that stops it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from unittest.mock import patch

import keyholder.adding
import server.attempt
from core.bounds import verification
from core.protected_update import ProtectedUpdate
from core.protocol import Commitment, RoundDescription
from core.secagg.encoding import LARGEST_CHANGE
from core.secagg.scheme import PAILLIER, Adder
from experiments.cheating_client.lie import Gain, Off, Row
from experiments.cheating_client.scene import (
    BITS,
    CLIENTS,
    FEDERATION,
    RULES,
    SHOWN,
    TASK,
    Outcome,
    Scene,
)
from registrar.federation import make_federation
from simulation.registered import deal_keys
from simulation.slot_task import known

MARK_STEPS = 2**14
"""Steps of a change of 1."""
OTHERS = (0, 2)
"""The weights of the honest clients."""
ATTEMPTS, KEYS = 3, 5


@dataclass(frozen=True)
class Trial:
    """One lie: what came of it with every check, and without."""

    row: Row
    defended: Outcome
    control: Outcome | None

    @property
    def refused_as_named(self) -> bool:
        """Whether the right party refused it, for the right reason, and named the liar where it can be named."""
        row, found = self.row, self.defended
        return (found.refused_by, found.reason, found.named) == (row.by, row.reason, row.named) and (
            not row.check or found.check == row.check
        )

    @property
    def harmless(self) -> bool:
        """Whether the others completed the round without the liar; with a dishonest aggregator, nothing was opened."""
        if self.row.passed_on:
            return not self.defended.finished and not any(self.defended.model)
        before, last = 1 / CLIENTS * (self.row.rounds - 1), 1 / (CLIENTS - 1)
        expected = [before + (last if place in OTHERS else 0) if place < CLIENTS else 0.0 for place in range(SHOWN)]
        near = all(abs(a - b) < 1e-9 for a, b in zip(self.defended.model, expected, strict=True))
        return self.defended.finished and near

    @property
    def times(self) -> float:
        """How far the control moved a weight, in what an honest client could move it by at most."""
        assert self.control is not None
        model = self.control.model
        by_others = [model[OTHERS[1]] if place in OTHERS else 0.0 for place in range(SHOWN)]
        furthest = max(abs(weight - other) for weight, other in zip(model, by_others, strict=True))
        return furthest / (LARGEST_CHANGE / MARK_STEPS / CLIENTS) if self.control.finished else 0.0

    @property
    def control_works(self) -> bool:
        """Whether the control got what it was expected to get."""
        control = self.control
        if control is None:
            return self.row.gain is Gain.NOTHING
        match self.row.gain:
            case Gain.MOVED:
                return self.times > 1
            case Gain.ENDED:
                return not control.finished
            case Gain.COUNTED:
                return control.answers > CLIENTS * 65_535 / 2
            case Gain.COPIED:
                return control.finished and abs(control.model[0] - 2 * control.model[OTHERS[1]]) < 1e-9
        return control.finished and self.times <= 1 + 1e-9

    @property
    def as_expected(self) -> bool:
        """Whether all of it is as the threat model says."""
        return self.refused_as_named and self.harmless and self.control_works

    @property
    def reason(self) -> str:
        """Why it was refused, with the check of the proof where that is not chance."""
        found = self.defended
        return f"{found.reason} ({found.check})" if self.row.check else found.reason

    @property
    def naming(self) -> str:
        """Whether the liar was named, in words."""
        return "named" if self.defended.named else "left out"

    @property
    def round(self) -> str:
        """How the round ended, in words."""
        if self.defended.finished:
            return "completed by the others"
        return "nothing was opened" if not any(self.defended.model) else "not completed"

    @property
    def got(self) -> str:
        """What the control got, in words; some lies have none."""
        if self.control is None:
            return "not tried"
        if not self.control.finished:
            return "the run ended"
        if self.row.gain is Gain.COUNTED:
            return f"{self.control.answers:,} answers"
        if self.row.gain is Gain.COPIED:
            return "another's update twice"
        return f"{self.times:.2f} times its share"


class Suite:
    """Plays lies, each in a copy of one federation. Raises StorageError."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._plays = 0
        self._template = folder / "template"
        made = self._template / FEDERATION
        make_federation(
            made, clients=CLIENTS, holders=RULES.holders, threshold=RULES.threshold, now=datetime.now(UTC)
        )  # fmt: skip
        deal_keys(made, KEYS, PAILLIER, BITS)

    def trials(self, rows: Sequence[Row]) -> Iterator[Trial]:
        """Play each lie twice."""
        with known(TASK):
            for row in rows:
                yield self.trial(row)

    def trial(self, row: Row) -> Trial:
        """Play one lie, with every check and without."""
        with without_checks((server.attempt,) if row.passed_on else ()):
            defended = self._play(row, 1 if row.passed_on else ATTEMPTS)
        return Trial(row, defended, None if row.off is Off.NOTHING else self._control(row))

    def _control(self, row: Row) -> Outcome:
        off = without_checks((server.attempt, keyholder.adding) if row.off is Off.UPDATES else ())
        names = {row.check, *row.also} if row.off is Off.PROOF else set()
        checks = {name: check for name, check in verification.CHECKS.items() if name not in names}
        with off, patch.object(verification, "CHECKS", checks):
            return self._play(row, 1, bounded=row.off is not Off.NO_PROOFS)

    def _play(self, row: Row, attempts: int, bounded: bool = True) -> Outcome:
        self._plays += 1
        folder = self._folder / str(self._plays)
        shutil.copytree(self._template, folder)
        return asyncio.run(_played(folder, row, self._seed, attempts, bounded))


async def _played(folder: Path, row: Row, seed: int, attempts: int, bounded: bool) -> Outcome:
    return await Scene(folder, row, seed, attempts, bounded).played()


@contextmanager
def without_checks(parties: Sequence[ModuleType]) -> Iterator[None]:
    """Let these parties take every update as it comes."""

    def nothing(
        _adder: Adder, _description: RoundDescription, _commitment: Commitment, _update: ProtectedUpdate, *_: object
    ) -> None:
        """Check nothing."""

    with ExitStack() as stack:
        for party in parties:
            stack.enter_context(patch.object(party, "check_update", nothing))
        yield
