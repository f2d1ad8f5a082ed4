"""What observers are told that each party does, from the state of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from federations import SmallFederation

from core.identity.members import Member, Role, Roster
from core.wire import federation_pb2 as pb
from server.audience import Told
from server.lanes import MOST_LANES, Lanes
from server.states import Closing, Committing, Endorsing, Phase, Quorum, Releasing, RunState, Uploading, Waiting

ALL = frozenset({"client-1", "client-2", "client-3"})
HOLDERS = frozenset({"keyholder-1", "keyholder-2"})


@pytest.fixture(scope="module")
def roster(tmp_path_factory: pytest.TempPathFactory) -> Roster:
    federation = SmallFederation(tmp_path_factory.mktemp("lanes") / "federation")
    federation.close()
    return federation.roster


def doing(lanes: Lanes, roster: Roster, phase: Phase, present: frozenset[str] = ALL, **more: Any) -> dict[str, str]:
    state = RunState(phase, present, HOLDERS, **more)
    return {lane.name: lane.doing for lane in lanes.all(state, roster)}


def test_a_round_from_its_opening_to_its_model(roster: Roster) -> None:
    lanes = Lanes()
    names = ("client-1", "client-2", "client-3", "keyholder-1", "keyholder-2", "keyholder-3")

    def seen(phase: Phase, present: frozenset[str] = ALL) -> list[str]:
        found = doing(lanes, roster, phase, present)
        return [found[name] for name in names]

    one, two = frozenset({"client-1"}), frozenset({"client-1", "client-2"})
    asked = Quorum(HOLDERS, frozenset({"keyholder-1"}))
    assert seen(Waiting(1, 1, 0.0), two) == ["here", "here", "away", "here", "here", "away"]
    assert seen(Committing(1, 1, 9.0, ALL, one)) == ["committed", "training", "training", "here", "here", "away"]
    assert seen(Closing(1, 1, 0.0, two, asked)) == [
        "committed", "committed", "here", "signed the list", "checking the list", "away",
    ]  # fmt: skip
    assert seen(Uploading(1, 1, 9.0, two, one)) == ["uploaded", "uploading", "here", "here", "here", "away"]
    assert seen(Releasing(1, 1, 0.0, 1, asked)) == ["uploaded", "left out", "here", "opened", "opening", "away"]
    assert seen(Endorsing(1, 1, 0.0, asked), one) == [
        "uploaded",
        "gone",
        "gone",
        "endorsed",
        "checking the model",
        "away",
    ]
    assert seen(Committing(2, 1, 9.0, ALL), one) == ["training", "gone", "gone", "here", "here", "away"]


def test_the_update_that_completes_the_cohort_was_uploaded_too(roster: Roster) -> None:
    lanes = Lanes()
    doing(lanes, roster, Uploading(1, 1, 9.0, ALL, ALL - {"client-3"}))
    lanes.note_call("Submit", "client-3")
    assert doing(lanes, roster, Releasing(1, 1, 0.0, 3))["client-3"] == "uploaded"


def test_where_clients_are_drawn_in_secret_nothing_says_who_was(roster: Roster) -> None:
    lanes = Lanes(drawn_in_secret=True)
    drawn = frozenset({"client-1"})
    for phase in (
        Committing(1, 1, 9.0, drawn),
        Closing(1, 1, 0.0, drawn),
        Uploading(1, 1, 9.0, drawn),
        Releasing(1, 1, 0.0, 1),
    ):
        found = doing(lanes, roster, phase)
        assert {found[name] for name in ALL} == {"here"}


def test_a_refusal_is_told_with_its_check_until_the_next_round(roster: Roster) -> None:
    lanes = Lanes()
    doing(lanes, roster, Committing(1, 1, 9.0, ALL))
    lanes.note_refusal("client-2", "wrong_digest")
    refused = {lane.name: lane.refused for lane in lanes.all(RunState(Committing(1, 1, 9.0, ALL), ALL), roster)}
    assert (refused["client-2"], refused["client-1"]) == ("wrong_digest", "")
    assert {lane.refused for lane in lanes.all(RunState(Committing(2, 1, 9.0, ALL), ALL), roster)} == {""}


def test_only_what_has_changed_is_told_again(roster: Roster) -> None:
    lanes, told = Lanes(), Told()
    lanes.note_call("Join", "client-1")
    first, second, third = pb.Progress(), pb.Progress(), pb.Progress()
    now = lanes.all(RunState(Committing(1, 1, 9.0, ALL), ALL), roster)
    told.complete(first, 0, now, lanes.calls)
    told.complete(second, 0, now, lanes.calls)
    lanes.note_call("Join", "client-2")
    told.complete(
        third, 0, lanes.all(RunState(Committing(1, 1, 9.0, ALL, frozenset({"client-1"})), ALL), roster), lanes.calls
    )
    assert (len(first.parties), dict(first.calls)) == (6, {"Join": 1})
    assert (len(second.parties), dict(second.calls)) == (0, {})
    assert ([each.name for each in third.parties], dict(third.calls)) == (["client-1"], {"Join": 2})


def test_of_a_crowd_only_the_counts_are_told(roster: Roster) -> None:
    clients = tuple(Member(f"crowd-{n}", Role.CLIENT, n + 10, bytes(32)) for n in range(1, MOST_LANES + 1))
    crowd = Roster(roster.federation, 2, roster.threshold, (*roster.members, *clients))
    assert Lanes().all(RunState(Waiting(1, 1, 0.0)), crowd) == frozenset()


def test_an_observer_gets_a_folder_and_a_place_on_the_roster_of_its_own(tmp_path: Path) -> None:
    federation = SmallFederation(tmp_path / "federation")
    federation.add_observer("teacher")
    member = federation.roster.member("teacher")
    assert (member.role, member.number, federation["teacher"].role) == (Role.OBSERVER, 1, Role.OBSERVER)
    assert federation.roster.observers == (member,)
    assert len(federation.roster.clients) == 3
    federation.add_observer("another")
    assert federation.roster.member("another").number == 2
    federation.close()
