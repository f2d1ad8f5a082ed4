"""Run the whole suite and show what came of it."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

from book.run import Run
from core.console import quiet_log
from experiments.cheating_server.attack import Attack
from experiments.cheating_server.attacks import ATTACKS, CONSPIRACIES
from experiments.cheating_server.page import write_page
from experiments.cheating_server.report import NAME, Report, write_csv
from experiments.cheating_server.stage import SINGLE, THREE_OF_FOUR, THRESHOLD
from experiments.cheating_server.suite import Suite

PROFILES = (SINGLE, THRESHOLD)
WAYS = (THRESHOLD, THREE_OF_FOUR)


def chosen(quick: bool) -> Sequence[Attack]:
    """Return all attacks; in the quick form the first of several variants."""
    return [attack for attack in ATTACKS if not quick or attack.number.rstrip("a").isdecimal()]


def run(settings: Run) -> Report:
    """Play every attack, and write table, page and picture. Raises StorageError."""
    from experiments.cheating_server.picture import draw  # only here: matplotlib takes long to import

    # The parties have much to say about what they refuse and skip.
    with tempfile.TemporaryDirectory() as folder, quiet_log(logging.CRITICAL):
        suite = Suite(Path(folder), settings.seed)
        trials = []
        for trial in suite.trials(chosen(settings.quick), PROFILES):
            trials.append(trial)
            settings.progress(f"{trial.attack.number} {trial.attack.title}, {trial.profile.name}")
        experiences = tuple(suite.conspire(CONSPIRACIES, WAYS))
    report = Report(settings.seed, tuple(trials), experiences)
    write_csv(settings.out / f"{NAME}.csv", report)
    write_page(settings.out / f"{NAME}.md", report, PROFILES)
    settings.save(NAME, draw(report, PROFILES))
    return report
