"""What no sequence of events can break."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from round_cases import CHOSEN, HOLDERS, RULES, names

from server import rounds as r
from server import states as s
from server.progress import waiting_for
from server.rounds import resuming
from server.rules import RoundRules

pytestmark = pytest.mark.slow

CLIENTS, KEYHOLDERS = st.sampled_from("abcde"), st.sampled_from(["h1", "h2", "h3"])
ROUNDS, ATTEMPTS = st.integers(1, 2), st.integers(1, 3)
OF_CLIENT = (s.CommitmentStored, s.SubmissionStored)
OF_HOLDER = (s.ListSigned, s.ModelEndorsed)
WITHOUT_PARTY = (s.KeyChosen, s.SharesUnfit, s.SumOpened, s.ModelStored)
ON, AGAIN_THE_SAME = "what lets an honest run go on", "the same event again"
Timed = tuple[s.Event | str, float]
"""An event, and the seconds before it."""


def anything() -> st.SearchStrategy[s.Event]:
    return st.one_of(
        st.builds(s.ClientJoined, CLIENTS),
        st.builds(s.ClientLeft, CLIENTS),
        st.builds(s.HolderCame, KEYHOLDERS),
        st.builds(s.HolderLeft, KEYHOLDERS),
        st.just(s.Tick()),
        *(st.builds(event, ROUNDS, ATTEMPTS, CLIENTS) for event in OF_CLIENT),
        *(st.builds(event, ROUNDS, ATTEMPTS, KEYHOLDERS) for event in OF_HOLDER),
        *(st.builds(event, ROUNDS, ATTEMPTS) for event in WITHOUT_PARTY),
        st.builds(s.SumRejected, ROUNDS, ATTEMPTS, st.just("bad")),
        st.builds(s.TaskDeclined, ROUNDS, ATTEMPTS, KEYHOLDERS, st.just("no")),
    )


def honest(state: s.RunState) -> s.Event:
    """What would happen next if all parties were there and did their part."""
    phase = state.phase
    id = (getattr(phase, "round", 1), getattr(phase, "attempt", 1))
    if missing := sorted(HOLDERS - state.holders):
        return s.HolderCame(missing[0])
    match phase:
        case s.Waiting(key_ready=False):
            return s.KeyChosen(*id)
        case s.Waiting():
            return s.ClientJoined(min(names("abcde") - state.present, default="a"))
        case s.Committing():
            return s.CommitmentStored(*id, min(phase.expected - phase.committed, default="a"))
        case s.Closing():
            return s.ListSigned(*id, min(HOLDERS - phase.quorum.answered))
        case s.Uploading():
            return s.SubmissionStored(*id, min(phase.listed - phase.received, default="a"))
        case s.Releasing():
            return s.SumOpened(*id)
        case s.Endorsing() if len(phase.quorum.answered) >= 2:
            return s.ModelStored(*id)
        case s.Endorsing():
            return s.ModelEndorsed(*id, min(HOLDERS - phase.quorum.answered))
    return s.Tick()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 9).flatmap(lambda n: st.just((ON, AGAIN_THE_SAME)[n > 6]) if n < 9 else anything()),
            st.sampled_from([*[0.0] * 10, 0.1, 1.0, 25.0, 110.0]),
        ),
        min_size=30,
        max_size=80,
    ),
    st.sampled_from([RULES, CHOSEN, replace(RULES, target=None, threshold=3)]),
)
def test_no_sequence_of_events_loses_the_order_or_completes_a_round_twice(
    story: list[Timed], rules: RoundRules
) -> None:
    state, now, likely = resuming.start(1, 1, 0.0), 0.0, honest(resuming.start(1, 1, 0.0))
    opened: list[tuple[int, int]] = []
    completed: list[int] = []
    ended: list[s.EndRun] = []
    places = [(1, 1)]
    for event, seconds in story:
        now += seconds
        was = state.phase
        likely = honest(state) if event == ON else likely if isinstance(event, str) else event
        state, commands = r.advance(state, likely, now, rules)
        if isinstance(state.phase, s.Attempted):
            places.append((state.phase.round, state.phase.attempt))
        for command in commands:
            match command:
                case s.OpenRound(number, attempt, expected):
                    opened.append((number, attempt))
                    assert rules.min_cohort <= len(expected) <= rules.max_cohort
                    assert expected <= state.present
                case s.RequestRelease() | s.RequestEndorsement() | s.RequestKey() | s.RequestList():
                    assert command.holders <= state.holders
                case s.CompleteRound(number, _):
                    completed.append(number)
                    assert isinstance(state.phase, s.Endorsing)
                    assert len(state.phase.quorum.answered) >= rules.threshold
                case s.EndRun():
                    ended.append(command)
        if isinstance(was, s.Finished | s.Failed):
            assert (state.phase, commands) == (was, ())
        assert waiting_for(state, rules)
        due = r.next_wakeup(state, rules)
        assert (due is None) == isinstance(state.phase, s.Finished | s.Failed)
    assert places == sorted(places), "rounds and attempts only go forward"
    assert all(number <= 2 and attempt <= rules.max_attempts for number, attempt in places)
    assert opened == sorted(set(opened)), "an attempt is opened once"
    assert completed == sorted(set(completed)), "a round is completed once"
    assert len(ended) == isinstance(state.phase, s.Finished | s.Failed)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(anything(), st.sampled_from([0.0, 1.0, 25.0])), max_size=30))
def test_whatever_happened_before_honest_parties_or_patience_bring_the_run_to_an_end(
    story: list[tuple[s.Event, float]],
) -> None:
    state, now = resuming.start(1, 1, 0.0), 0.0
    for event, seconds in story:
        now += seconds
        state, _ = r.advance(state, event, now, RULES)
    for _ in range(200):
        now += 1.0
        state, _ = r.advance(state, honest(state), now, RULES)
    for _ in range(20):
        now += 110.0
        state, _ = r.advance(state, s.Tick(), now, RULES)
    assert isinstance(state.phase, s.Finished | s.Failed)
