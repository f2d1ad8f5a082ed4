"""The privacy spent so far, and the rounds a budget allows, computed from the settings and the history."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import inf

from core.errors import SettingsError
from core.federated import VALUE_BITS
from core.privacy.composition import epsilon_of_cost
from core.privacy.mechanism import LARGEST_NOISE, Mechanism, Privacy, mechanism_for
from core.protocol import RoundResult
from core.wire.messages import description_from_bytes
from core.wording import counted
from server.accountant import NoisySum, affordable, epsilon_of, prepare, spent
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
            f"{privacy.epsilon_budget:g}; {_advice(privacy, rules.min_cohort, values)}"
        )
    if rounds == rules.rounds:
        return settings
    why = _costs(worst.rho, rounds, privacy, rules.min_cohort)
    return replace(settings, rules=replace(rules, rounds=rounds, asked=rules.rounds, budget_costs=why))


def _costs(rho: float, rounds: int, privacy: Privacy, min_cohort: int) -> str:
    """Say why a budget allows no more rounds: each is counted as a sum of the minimum cohort, and most are larger."""
    cost, more = (epsilon_of(rho * number, privacy.delta) for number in (rounds, rounds + 1))
    return (
        f"in sums of {min_cohort}, the minimum cohort, {counted(rounds, 'round costs', 'rounds cost')} an epsilon of "
        f"{cost:.3g} and one more {more:.3g}, above the budget of {privacy.epsilon_budget:g}; each contributor adds "
        "noise, so larger sums cost less"
    )


def ending_of(settings: RunSettings, results: Sequence[RoundResult]) -> str:
    """Return what is said at the end of a run that a budget cut short, with what its rounds have cost; else nothing."""
    if settings.rules.asked is None:
        return ""
    return f"{settings.rules.ending}; these have cost {results[-1].epsilon:.3g}" if results else settings.rules.ending


def _advice(privacy: Privacy, min_cohort: int, values: int) -> str:
    """Return what makes a round cost less than the budget: a noise multiplier that does.

    Or where none does, the rest.
    """
    noises = [privacy.noise_multiplier * 2**power for power in range(1, 21)]
    for noise in (noise for noise in noises if noise <= LARGEST_NOISE):
        try:
            mechanism = mechanism_for(replace(privacy, noise_multiplier=noise), min_cohort, VALUE_BITS)
        except SettingsError:  # so much noise does not fit
            break
        event = _event(1, min_cohort, privacy, mechanism, values, (1, 1))
        if epsilon_of(event.rho, privacy.delta) <= (privacy.epsilon_budget or 0.0):
            return f"a noise multiplier of {noise:g} is enough, and a larger delta costs less"
    return "no noise that fits is enough, so take a larger budget, or a larger delta, which costs less"


def with_epsilon(
    result: RoundResult, settings: RunSettings, values: int, before: Sequence[RoundResult], sampling: tuple[int, int]
) -> RoundResult:
    """Return the result with the epsilon spent up to and with this round; unchanged without privacy.

    Args:
        values: weights in one update.
        before: the rounds completed before.
        sampling: how many clients this round was opened for, and from how many they were chosen.
    """
    privacy, mechanism, rules = settings.privacy, settings.mechanism, settings.rules
    if privacy is None or mechanism is None:
        return result
    result = replace(result, chosen=sampling[0], chosen_from=sampling[1])
    events = [
        _event(row.round, rules.smallest(row.contributors), privacy, mechanism, values, (row.chosen, row.chosen_from))
        for row in (*before, result)
    ]
    cost = spent(events, privacy.delta)
    return replace(result, epsilon=cost.epsilon, epsilon_models=cost.epsilon_models)


def prepare_epsilon(settings: RunSettings, values: int, sampling: tuple[int, int]) -> None:
    """Compute ahead, in a thread, what takes long in with_epsilon() for a round without drop-outs."""
    privacy, mechanism = settings.privacy, settings.mechanism
    if privacy is not None and mechanism is not None:
        contributors = settings.rules.smallest(settings.rules.cohort or sampling[0])
        prepare(_event(1, contributors, privacy, mechanism, values, sampling))


def _event(
    round_number: int, contributors: int, privacy: Privacy, mechanism: Mechanism, values: int, sampling: tuple[int, int]
) -> NoisySum:
    return NoisySum(
        round=round_number,
        contributors=contributors,
        max_colluders=privacy.max_colluders,
        sensitivity=mechanism.moved,
        variance=mechanism.variance,
        values=values + (mechanism.half_bit > 0),
        chosen=sampling[0],
        chosen_from=sampling[1],
    )


def spent_in_all(opened: Iterable[tuple[bytes, Sequence[str]]], delta: float) -> str:
    """Return what the clients that took part most have spent in all runs that the aggregator knows, in words.

    Args:
        opened: the descriptions and contributors of all opened sums; each costs what it costs at the smallest cohort.
    """
    costs: defaultdict[str, float] = defaultdict(float)
    runs: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for raw, clients in opened:
        description = description_from_bytes(raw)
        cost = description.cost(0)
        for client in clients:
            costs[client] += cost
            runs[client][description.id.run] += 1
    if not costs:
        return ""
    most = max(costs, key=lambda client: costs[client])
    where = f"{counted(runs[most].total(), 'round')} of {counted(len(runs[most]), 'run')}"
    if costs[most] == inf:
        return f"{most} has taken part in {where}, not all of them with privacy: no epsilon bounds what it has spent"
    return (
        f"{most} has taken part in {where} and spent an epsilon of {epsilon_of_cost(costs[most], delta):.3f} in all, "
        "by the exact composition of Gaussians; no other client has spent more"
    )
