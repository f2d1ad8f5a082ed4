"""Whether a run's settings can work with its task, before anything starts."""

from __future__ import annotations

from core.federated import encoding_for, initial_model
from core.secagg.scheme import PublicKey
from core.tasks.task import Task
from server.budget import within_budget
from server.settings import RunSettings


def workable(settings: RunSettings, task: Task) -> RunSettings:
    """Return the settings with the rounds that a privacy budget allows.

    Raises SettingsError if updates do not fit, what clients are to prove of them has no proof, or the task cannot be
    trained as asked.
    """
    rules = settings.rules
    settings.check_training(task)
    values = len(initial_model(task, settings.seed))
    plaintext_bits = PublicKey(settings.scheme, settings.key_bits).plaintext_bits
    numbers = settings.server_rule.numbers(values)
    settings.proven(
        encoding_for(task, numbers, plaintext_bits, rules.max_cohort, settings.count_cap, settings.mechanism)
    )
    return within_budget(settings, values)
