"""What was found, as a table, a CSV file and a page."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from core.errors import StorageError
from experiments.cheating_server.attack import Attack
from experiments.cheating_server.stage import Profile
from experiments.cheating_server.suite import Experience, Outcome, Trial

NAME = "cheating-server"
COLUMNS = (
    "number", "attack", "adversary", "key_sharing", "with_all_checks", "by", "check", "switched_off",
    "right", "weights", "moved_right", "moved", "as_expected",
)  # fmt: skip
NOT_APPLICABLE = "-"


@dataclass(frozen=True)
class Report:
    """Everything that one run found."""

    seed: int
    trials: tuple[Trial, ...]
    experiences: tuple[Experience, ...]

    @property
    def attacks(self) -> tuple[Attack, ...]:
        """The attacks, each once."""
        return tuple(dict.fromkeys(trial.attack for trial in self.trials))

    @property
    def profiles(self) -> tuple[Profile, ...]:
        """How keys were shared in the conspiracies."""
        return tuple(dict.fromkeys(found.profile for found in self.experiences))

    def trial(self, attack: Attack, profile: Profile) -> Trial | None:
        """Return the trial of an attack in a profile; None where it means nothing."""
        return next((t for t in self.trials if (t.attack, t.profile) == (attack, profile)), None)

    @property
    def unexpected(self) -> tuple[str, ...]:
        """What did not go as the threat model says, in sentences."""
        wrong = [
            f"{trial.attack.number} {trial.attack.title}, {trial.profile.name}: {in_words(trial.defended)}; "
            f"without the check {in_words(trial.control)}"
            for trial in self.trials
            if not trial.as_expected
        ]
        return (
            *wrong,
            *(
                f"{found.conspiracy.number} {found.conspiracy.title}, {found.profile.name}: {in_words(found.outcome)}"
                for found in self.experiences
                if not found.as_expected
            ),
        )

    @property
    def summary(self) -> str:
        """One sentence for each part."""
        refused = sum(trial.refused_as_named for trial in self.trials)
        works = sum(trial.control_works for trial in self.trials)
        count = len(self.trials)
        return (
            f"{refused} of {count} attacks were refused by the named check; with it switched off {works} of {count} "
            "got the victim's update"
        )


def in_words(outcome: Outcome) -> str:
    """Write an outcome in a few words."""
    if outcome.loot is None:
        return f"refused by {outcome.party} ({outcome.reason})"
    return f"got {outcome.loot}"


def sharing(profile: Profile) -> str:
    """Write how keys are shared, for a heading."""
    return f"{profile.threshold} of {profile.holders}"


def outcome_cell(outcome: Outcome) -> str:
    return "SUCCEEDS" if outcome.loot is not None else str(outcome.reason)


def needs(report: Report) -> list[str]:
    """Return a line for each conspiracy: what it takes to stop it, and where it worked."""
    lines = []
    for conspiracy in dict.fromkeys(found.conspiracy for found in report.experiences):
        works = [
            f"({sharing(found.profile)})"
            for found in report.experiences
            if found.conspiracy == conspiracy and not found.outcome.refused
        ]
        where = f"SUCCEEDS with {' and '.join(works)}" if works else "refused everywhere"
        lines.append(f"{conspiracy.number} {conspiracy.title}: needs {conspiracy.needs}; {where}")
    return lines


def write_csv(path: Path, report: Report) -> None:
    """Write one line for each attack and way of sharing keys; same seed, same bytes. Raises StorageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(_trial_row(trial) for trial in report.trials)
            writer.writerows(_experience_row(found) for found in report.experiences)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def _trial_row(trial: Trial) -> tuple[object, ...]:
    attack = trial.attack
    off = " ".join(attack.switched_off) if attack.by_checks_alone else attack.control_note
    head = (attack.number, attack.title, attack.adversary, sharing(trial.profile))
    return (*head, *_outcome_columns(trial.defended), off, *_loot_columns(trial.control), trial.as_expected)


def _experience_row(found: Experience) -> tuple[object, ...]:
    attack = found.conspiracy.attack
    head = (attack.number, attack.title, attack.adversary, sharing(found.profile))
    return (*head, *_outcome_columns(found.outcome), "", *_loot_columns(found.outcome), found.as_expected)


def _outcome_columns(outcome: Outcome) -> tuple[str, str, str]:
    """Name the role that refused rather than the party: which of several is first is chance."""
    if not outcome.refused:
        return "succeeds", "", ""
    return "refused", outcome.party.rpartition("-")[0] or outcome.party, outcome.reason


def _loot_columns(outcome: Outcome) -> tuple[object, ...]:
    loot = outcome.loot
    return ("", "", "", "") if loot is None else (loot.right, loot.weights, loot.moved_right, loot.moved)
