"""A whole lesson by what the sheets say, on this machine; `python -m faults class-room` gives it in network namespaces."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.page_reader import PageReader
from faults.room import Room, free_ports
from faults.terminal import OneMachine, wait_until

pytestmark = pytest.mark.slow

STUDENTS = 7


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Room]:
    room = Room(tmp_path, OneMachine(), STUDENTS, 1, free_ports())
    yield room
    room.close()


def test_a_lesson_with_one_absent_and_one_who_cheats_ends_well_without_the_update_of_either(room: Room) -> None:
    room.make()
    cheat, *honest, absent = room.names
    room.change_program(cheat)
    first = room.teach()
    first.hear("students can start")
    students = {name: room.come(name) for name in (cheat, *honest)}
    page = PageReader(None, room.page)
    try:
        page.wait_for(lambda story: story.most == STUDENTS - 1, 120, "all but one")
        assert page.story.round == 1
        assert not page.story.results
        first.interrupt()  # as the sheet says: end it, and start it with what there is
        wait_until(lambda: not first.left(), 30, "Ctrl-C ends all that the teacher has started")
        teacher = room.teach("--clients", str(STUDENTS - 1))
        page.wait_for(lambda story: story.phase == "finished", 240, "the end")
    finally:
        page.close()
    assert page.story.results[1]["contributors"] == len(honest)
    assert page.story.refused == {cheat: {"wrong_proof"}}
    assert set(page.story.uploaded) == set(honest)
    assert absent not in page.story.doing, "whoever has not enrolled has no lane"
    assert students[cheat].end() == 1
    students[cheat].hear("the proof of ranges is false", 1)
    assert [students[name].end() for name in honest] == [0] * len(honest)
    teacher.hear("the run is over")
    shares = room.made / "for-holders"
    assert not [each for each in shares.rglob("*") if each.is_file()], "a holder's shares are in one place only"
