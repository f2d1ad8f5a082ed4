"""The minimum cohort that a federation was made for, in the policy.toml of every party and of the registrar."""

from __future__ import annotations

from pathlib import Path

from core.identity.files import PUBLIC, write_file
from core.identity.members import Role
from core.settings.policy_file import FILE, read_policy
from core.who_reads import DEFAULT_COLLUDERS, DEFAULT_MIN_COHORT

MIN_COHORT, MAX_COLLUDERS = "min-cohort", "max-colluders"


def write_min_cohort(folder: Path, role: Role, min_cohort: int) -> None:
    """Write the policy of a party, unless its minimum cohort is the default. Raises StorageError.

    A party takes part in no sum of one, whatever was asked for here: that needs an insecure flag at every start.
    """
    if min_cohort == DEFAULT_MIN_COHORT:
        return
    least = max(2, min_cohort)
    colluders = f"{MAX_COLLUDERS} = {least - 2}\n" * (
        role in (Role.KEYHOLDER, Role.CLIENT) and least < 2 + DEFAULT_COLLUDERS
    )
    write_file(folder / FILE, f"{MIN_COHORT} = {least}\n{colluders}".encode(), PUBLIC)


def read_min_cohort(folder: Path) -> int:
    """Return the minimum cohort that write_min_cohort() wrote, or the default. Raises SettingsError."""
    said = read_policy(folder, (MIN_COHORT, MAX_COLLUDERS)).get(MIN_COHORT, DEFAULT_MIN_COHORT)
    return said if isinstance(said, int) else DEFAULT_MIN_COHORT
