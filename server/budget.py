"""The privacy spent so far, and the rounds a budget allows, computed from the settings and the history."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.errors import SettingsError
from core.privacy.mechanism import Mechanism, Privacy
from core.protocol import RoundResult
from server.accountant import NoisySum, affordable, epsilon_of, spent
from server.settings import RunSettings


def within_budget(settings: RunSettings, values: int) -> RunSettings:
    """Return the settings with no more rounds than the epsilon budget allows.

    It is computed before the run, for the smallest cohort; more contributors add more noise and cost less.

    Args:
        values: weights in one update.

    Raise SettingsError if the budget does not allow a single round.
    """
    privacy, mechanism, rules = settings.privacy, settings.mechanism, settings.rules
    if privacy is None or mechanism is None or privacy.epsilon_budget is None:
        return settings
    worst = _event(1, rules.min_cohort, privacy, mechanism, values, (1, 1))
    rounds = affordable(worst, rules.rounds, privacy.delta, privacy.epsilon_budget)
    if rounds == 0:
        raise SettingsError(
            f"one round costs an epsilon of {epsilon_of(worst.rho, privacy.delta):.3g}, more than the budget of "
            f"{privacy.epsilon_budget:g}; more noise or a larger delta costs less"
        )
    if rounds == rules.rounds:
        return settings
    return replace(settings, rules=replace(rules, rounds=rounds, asked=rules.rounds))


def with_epsilon(
    result: RoundResult, settings: RunSettings, values: int, before: Sequence[RoundResult], sampling: tuple[int, int]
) -> RoundResult:
    """Return the result with the epsilon spent up to and with this round; unchanged without privacy.

    Args:
        values: weights in one update.
        before: the rounds completed before.
        sampling: how many clients this round was opened for, and from how many they were chosen.
    """
    privacy, mechanism = settings.privacy, settings.mechanism
    if privacy is None or mechanism is None:
        return result
    result = replace(result, chosen=sampling[0], chosen_from=sampling[1])
    events = [
        _event(row.round, row.contributors, privacy, mechanism, values, (row.chosen, row.chosen_from))
        for row in (*before, result)
    ]
    cost = spent(events, privacy.delta)
    return replace(result, epsilon=cost.epsilon, epsilon_models=cost.epsilon_models)


def _event(
    round_number: int, contributors: int, privacy: Privacy, mechanism: Mechanism, values: int, sampling: tuple[int, int]
) -> NoisySum:
    return NoisySum(
        round=round_number,
        contributors=contributors,
        max_colluders=privacy.max_colluders,
        sensitivity=mechanism.sensitivity,
        variance=mechanism.variance,
        values=values,
        chosen=sampling[0],
        chosen_from=sampling[1],
    )
