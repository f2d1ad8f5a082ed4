"""report.md: what a run protected, from whom, and what it could not, as far as the aggregator knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby

from core.commands import command_of
from core.errors import Reason
from core.identity.members import Roster
from core.protocol import RoundResult
from core.secagg.scheme import PLAIN, SAFE_KEY_BITS
from core.wording import counted
from server.accountant import method
from server.results import judged_apart
from server.settings import RunSettings


def report(
    run: str,
    settings: RunSettings,
    roster: Roster,
    results: Sequence[RoundResult],
    refusals: Counter[str],
    failure: str = "",
    spent_in_all: str = "",
    lies: Sequence[str] = (),
) -> str:
    """Return the report as Markdown.

    `failure` says why the run failed, if it did, `spent_in_all` what clients have spent in all runs, and `lies` who
    signed false updates (server/liars.py).
    """
    stamps = [f"**INSECURE: {sentence}.**" for sentence in settings.insecurities]
    parts = [
        f"# Run {run}: {settings.task}, {len(results)} of {counted(settings.rules.rounds, 'round')}",
        *stamps,
        *([f"**The run failed:** {failure}."] if failure else []),
        *([f"Clients trained with {settings.local_training.sentence}."] if settings.local_training else []),
        _protection(settings),
        *([] if settings.server_rule.is_default else [f"The server's rule: {settings.server_rule.sentence}."]),
        *_groups(settings),
        *_privacy(settings, results, spent_in_all),
        _operators(roster),
        *_answers(results),
        _exposures(results),
        _refusals(refusals),
        *(["\n".join(f"- {lie}" for lie in lies)] if lies else []),
        _what_sums_say(settings),
    ]
    return "\n\n".join(parts) + "\n"


def _protection(settings: RunSettings) -> str:
    rules = settings.rules
    if settings.scheme == PLAIN:
        return (
            "Nothing was encrypted: the aggregator could read every client's update, and so could every key holder "
            "that checked a sum."
        )
    if settings.key_bits < SAFE_KEY_BITS:
        return (
            f"Updates: {settings.protection}. Keys this short can be factored, and the ciphertexts then be read "
            f"by every party that has them ({command_of('experiments')} weak-key)."
        )
    return (
        f"Updates: {settings.protection}; sums of at least {rules.min_cohort} clients are opened. "
        f"{settings.weaker_key}{settings.who_reads}"
    )


def _groups(settings: RunSettings) -> list[str]:
    if settings.grouping is None:
        return []
    sentence = settings.grouping.sentence(settings.rules.min_cohort)
    return [f"{sentence[0].upper()}{sentence[1:]}."]


def _what_sums_say(settings: RunSettings) -> str:
    if settings.scheme == PLAIN or settings.key_bits < SAFE_KEY_BITS:
        return "Nothing hid who sent what."
    what = (
        "Encryption hides who contributed what to a sum, and not what the sum says: a word that any client of the "
        "cohort used can show in it"
    )
    return f"{what}." if settings.privacy is None else f"{what}, as far as the noise lets it."


def _privacy(settings: RunSettings, results: Sequence[RoundResult], spent_in_all: str) -> list[str]:
    privacy = settings.privacy
    if privacy is None:
        return []
    last = results[-1] if results else None
    spent = "nothing yet" if last is None else f"{last.epsilon:.3f}"
    models = "nothing yet" if last is None else f"{last.epsilon_models:.3f}"
    rates = sorted({f"{result.chosen} of {result.chosen_from}" for result in results})
    budget = "no budget" if privacy.epsilon_budget is None else f"a budget of {privacy.epsilon_budget:g}"
    return [
        f"Differential privacy of whole clients (neighbours: one client sends a zero update instead), delta "
        f"{privacy.delta:g}, {budget}:\n\n"
        f"- epsilon spent against parties that see who takes part: {spent}{_not_the_aggregator(settings)}\n"
        f"- against those that see models only: {models}\n"
        f"- over all runs in this aggregator's database: {spent_in_all or 'nothing yet'}\n"
        f"- clip norm {privacy.clip_norm:g}, noise multiplier {privacy.noise_multiplier:g} for the smallest cohort, "
        f"{settings.rules.min_cohort}, of whom {privacy.max_colluders} may collude\n"
        f"- {counted(len(results), 'round')}, clients chosen in each: {', '.join(rates) or 'none'}\n"
        f"- computed by {method()}\n\n"
        "A round that was opened and then given up is not in these figures. The run ends with it; the budget covers it."
    ]


def _not_the_aggregator(settings: RunSettings) -> str:
    if settings.scheme != PLAIN and settings.key_bits >= SAFE_KEY_BITS:
        return ""
    return " (not against the aggregator and key holders, who could see single updates with one client's noise only)"


def _operators(roster: Roster) -> str:
    several = {who: names for who, names in roster.operators().items() if len(names) > 1}
    if not several:
        return "As far as the roster says, every party has a different operator."
    lines = [f"- {who or 'operator not stated'}: {', '.join(names)}" for who, names in several.items()]
    one_operator = "Roles of one operator (as the roster says); none of them protects anyone from that operator:"
    return f"{one_operator}\n\n" + "\n".join(lines)


def _answers(results: Sequence[RoundResult]) -> list[str]:
    if not results:
        return []
    last, parts = results[-1], []
    if last.asks_yes_or_no:
        answers = last.answers
        parts.append(
            f"The last model: {answers.accuracy:.2%} right; of {answers.true_positives + answers.false_positives} "
            f"called positive {answers.false_positives} wrongly (precision {answers.precision:.2%}), which is "
            f"{answers.false_alarm_rate:.2%} of the {answers.false_positives + answers.true_negatives} negatives "
            f"(false alarms); {answers.false_negatives} of {answers.positives} positives missed."
        )
    if apart := judged_apart(last):
        parts.append(f"Each distinct text was judged once; {apart}.")
    return parts


def _exposures(results: Sequence[RoundResult]) -> str:
    lines = []
    for exposure, alike in groupby(results, lambda result: result.exposure):
        numbers = [result.round for result in alike]
        rounds = f"round {numbers[0]}" if len(numbers) == 1 else f"rounds {numbers[0]} to {numbers[-1]}"
        lines += [f"- {rounds}: {exposure}"] if exposure else []
    if not lines:
        return "No two sums differed by fewer clients than the minimum cohort, as far as a key holder reported."
    return "Sums that tell more together than each alone, which key holders only reported:\n\n" + "\n".join(lines)


def _refusals(refusals: Counter[str]) -> str:
    if not refusals:
        return "Nothing was refused."
    lines = [f"- {reason}: {count}" for reason, count in sorted(refusals.items())]
    parts = ["Refused by the aggregator, or declined by key holders, by the name of the check:", "\n".join(lines)]
    if Reason.ROUND_NOT_OPEN in refusals:
        parts.append("`round_not_open` is usual where more clients are chosen than are wanted.")
    return "\n\n".join(parts)
