"""The phases that need a quorum of t key holders: to sign the list, to open the sum, to endorse the next model.

Asking works alike in all three: holders that are asked and leave or decline are replaced, a holder that reconnects is
asked again, and those not asked yet are asked too when the answers take long. The list is sent to every holder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from core.difference import WINDOW
from server.rounds.leaving_out import allowed_cohort, least_difference
from server.rounds.waiting import abandon, fail, wait
from server.rules import RoundRules
from server.states import (
    Agreeing,
    AnnounceList,
    Closing,
    CompleteRound,
    Endorsing,
    EndRun,
    Event,
    Finished,
    HolderCame,
    HolderLeft,
    LeaveOut,
    ListSigned,
    ModelEndorsed,
    ModelStored,
    Quorum,
    Releasing,
    RequestEndorsement,
    RequestList,
    RequestRelease,
    RequestShares,
    RequestSigned,
    RunState,
    SharesUnfit,
    SignatureOutdated,
    Step,
    SumOpened,
    SumRejected,
    TaskDeclined,
    Uploading,
)

A = TypeVar("A", Closing, Releasing, Endorsing)
_TASK = {Closing: "sign the list", Releasing: "open the sum", Endorsing: "endorse the model"}
Request = RequestList | RequestRelease | RequestEndorsement
_REQUEST: dict[type[Agreeing], type[Request]] = {
    Closing: RequestList,
    Releasing: RequestRelease,
    Endorsing: RequestEndorsement,
}

# ------------------------------------------------------------------------------------------------ one phase each


def in_closing(run: RunState, phase: Closing, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the step that follows an event while key holders sign the list."""
    if not isinstance(event, ListSigned):
        return _in_any(run, phase, event, now, rules)
    phase = _answered(phase, event.holder)
    if len(phase.quorum.answered) < rules.threshold:
        return replace(run, phase=phase), ()
    uploading = Uploading(phase.round, phase.attempt, now + rules.upload_seconds, phase.listed)
    return replace(run, phase=uploading), (AnnounceList(phase.round, phase.attempt),)


def in_releasing(run: RunState, phase: Releasing, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the step that follows an event while key holders open the sum."""
    match event:
        case SumOpened():
            # Those who opened the sum have its updates; checking the model is least work for them.
            openers = sorted(phase.quorum.working(run.holders))[: rules.threshold]
            endorsing = Endorsing(phase.round, phase.attempt, since=now)
            return _ask_more(run, endorsing, rules.threshold, first=openers)
        case SumRejected(message=message):
            return fail(run, f"round {phase.round} was opened and cannot be used, nor opened again: {message}")
        case SharesUnfit():
            return _ask_more(run, phase, rules.holders)
        case RequestSigned(holder=holder):
            return _lend(run, phase, holder, rules)
    return _in_any(run, phase, event, now, rules)


def _lend(run: RunState, phase: Releasing, holder: str, rules: RoundRules) -> Step:
    """Ask for shares once t have agreed: then all of these, and later each that agrees, or does so again.

    Only those that serve: one that has started again since is asked to agree again first.
    """
    before, phase = phase.signed, replace(phase, signed=phase.signed | {holder})
    run = replace(run, phase=phase)
    if len(phase.signed) < rules.threshold:
        return run, ()
    lenders = (frozenset({holder}) if len(before) >= rules.threshold else phase.signed) & run.holders
    return run, (RequestShares(phase.round, phase.attempt, lenders),) if lenders else ()


def in_endorsing(run: RunState, phase: Endorsing, event: Event, now: float, rules: RoundRules) -> Step:
    """Return the step that follows an event while key holders endorse the model."""
    match event:
        case ModelEndorsed(holder=holder) if holder not in phase.quorum.answered:
            phase = _answered(phase, holder)
            # Exactly at the threshold, so once; the phase is left by ModelStored, for until then the model is not safe.
            complete = len(phase.quorum.answered) == rules.threshold
            return replace(run, phase=phase), (CompleteRound(phase.round, phase.attempt),) if complete else ()
        case ModelStored() if phase.round == rules.rounds:
            return replace(run, phase=Finished()), (EndRun(True, rules.ending),)
        case ModelStored():
            return wait(run, phase.round + 1, 1, now)
    return _in_any(run, phase, event, now, rules)


# ------------------------------------------------------------------------------------------------ entering and timing


def close_list(run: RunState, round_number: int, attempt: int, listed: frozenset[str], now: float) -> Step:
    """Close the list of commitments and ask every key holder to sign it."""
    closing = Closing(round_number, attempt, now, listed, Quorum(asked=run.holders))
    return replace(run, phase=closing), (RequestList(round_number, attempt, run.holders),)


def fix_contributors(run: RunState, phase: Uploading, now: float, rules: RoundRules) -> Step:
    """Fix whose updates are in the sum, and ask t key holders to open it.

    Where they would find it too similar to an earlier one, others are left out besides, or the attempt is given up.
    """
    chosen, least = allowed_cohort(run, phase.received, rules), least_difference(run, rules)
    rule = f"key holders open no sum whose contributors differ from those of an earlier one by fewer than {least}"
    if chosen is None:
        message = f"{rule}, and no {rules.least} or more of the {len(phase.received)} clients that are here do not"
        return abandon(run, phase, message, now, rules)
    out = phase.received - chosen
    left_out = (LeaveOut(phase.round, phase.attempt, out, rule),) if out else ()
    run = replace(run, opened=(chosen, *run.opened)[:WINDOW])
    releasing = Releasing(phase.round, phase.attempt, since=now, contributors=len(chosen))
    run, commands = _ask_more(run, releasing, rules.threshold)
    return run, (*left_out, *commands)


def due(run: RunState, phase: Agreeing, rules: RoundRules) -> float:
    """Return the time at which other holders are asked, or, if all have been, at which patience is over."""
    all_asked = run.holders <= phase.quorum.asked
    return phase.since + (rules.patience_seconds if all_asked else rules.answer_seconds)


# ------------------------------------------------------------------------------------------------ alike in all three


def _in_any(run: RunState, phase: A, event: Event, now: float, rules: RoundRules) -> Step:
    quorum = phase.quorum
    match event:
        case HolderCame(holder) if holder in quorum.asked or _too_few_work(run, phase, rules):
            return _ask(run, phase, frozenset({holder}))
        case HolderLeft(holder) if holder in quorum.asked:
            return _ask_more(run, phase, 1)
        case SignatureOutdated(holder=holder):
            return _ask_again(run, phase, holder)
        case TaskDeclined(holder=holder, message=message):
            phase = replace(phase, quorum=replace(quorum, declined=quorum.declined | {holder}))
            if rules.holders - len(phase.quorum.declined) < rules.threshold:
                return _without_quorum(run, phase, holder, message, now, rules)
            return _ask_more(run, phase, 1)
    if now >= phase.since + rules.patience_seconds:
        return fail(run, f"the key holders did not {_TASK[type(phase)]} within {rules.patience_seconds:g} seconds")
    if now >= phase.since + rules.answer_seconds:
        return _ask_more(run, phase, rules.holders)
    return run, ()


def _too_few_work(run: RunState, phase: Agreeing, rules: RoundRules) -> bool:
    return isinstance(phase, Closing) or len(phase.quorum.working(run.holders)) < rules.threshold


def _without_quorum(run: RunState, phase: Agreeing, holder: str, message: str, now: float, rules: RoundRules) -> Step:
    if isinstance(phase, Endorsing):
        return fail(run, f"round {phase.round} was opened, but {holder} does not endorse it: {message}")
    return abandon(run, phase, f"{holder} does not {_TASK[type(phase)]}: {message}", now, rules)


def _answered(phase: A, holder: str) -> A:
    return replace(phase, quorum=replace(phase.quorum, answered=phase.quorum.answered | {holder}))


def _ask_again(run: RunState, phase: Agreeing, holder: str) -> Step:
    """Forget a holder's answer, and ask it once more if it is connected."""
    phase = replace(phase, quorum=replace(phase.quorum, answered=phase.quorum.answered - {holder}))
    if isinstance(phase, Releasing):
        phase = replace(phase, signed=phase.signed - {holder})
    return _ask(run, phase, run.holders & {holder})


def _ask_more(run: RunState, phase: Agreeing, more: int, first: Sequence[str] = ()) -> Step:
    """Ask at most `more` connected holders that were not asked yet, `first` those; each round starts with another."""
    names = sorted(run.holders)
    turn = phase.round % len(names) if names else 0
    order = dict.fromkeys([*first, *names[turn:], *names[:turn]])
    return _ask(run, phase, frozenset([name for name in order if name not in phase.quorum.asked][:more]))


def _ask(run: RunState, phase: Agreeing, holders: frozenset[str]) -> Step:
    asked = replace(phase, quorum=replace(phase.quorum, asked=phase.quorum.asked | holders))
    run = replace(run, phase=asked)
    return run, (_REQUEST[type(phase)](phase.round, phase.attempt, holders),) if holders else ()
