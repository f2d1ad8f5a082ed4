"""A class in a room, as it would be: each student at a machine of their own, over a network that is slow and loses packets.

Three leave in the middle, of whom one comes back; one comes late, and one has no zip; one has changed the program and
sends rubbish; a lost laptop's keys are revoked, and tried by who found it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from dashboard.live import SERVER
from faults.air import Air, why_not
from faults.outcome import Options, Outcome, timed
from faults.page_reader import PageReader, Story
from faults.parties import scratch
from faults.room import Room
from faults.terminal import Terminal, wait_until

STUDENTS, ROUNDS, MIN_COHORT = 20, 5, 5
DELAY, LOSS = 0.030, 0.01
FIRST_ROUND_SECONDS = 60.0
"""At most so long from the zips to the first round, on a machine that does nothing else."""
RUN_SECONDS = 900.0
SILENT_SECONDS = 45.0
"""At most so long until the page says of a machine that it is gone, if no packet comes from it any more."""
ZOE, FINDER = "zoe", "finder"


def run(options: Options) -> Iterator[Outcome]:
    """One lesson of twenty students; quick: of nine."""
    students = options.count(long=STUDENTS, quick=9)
    what = f"{students} students at machines of their own, {DELAY * 1e3:g} ms and {LOSS:.0%} loss each way"
    with timed("class-room", what) as outcome:
        if reason := why_not():
            outcome.measured = f"not tried: {reason}"
        else:
            names = ["teacher", *(f"student-{number}" for number in range(1, students + 1)), ZOE, FINDER]
            with scratch() as folder, Air(names, DELAY, LOSS, options.seed) as air:
                lesson = Lesson(Room(folder, air, students, options.count(long=ROUNDS, quick=4)), air)
                outcome.add(lesson.give(), "lesson")
                outcome.measured = f"{lesson.measured}; {air.packets:,} packets, {air.lost} of them lost"
    yield outcome


class Lesson:
    """What happens in the room, and what is found wrong with it."""

    def __init__(self, room: Room, air: Air) -> None:
        self.measured = ""
        self._room, self._air = room, air
        self._cheat, self._silent, self._lost, self._returns, *_, self._late = room.names
        self._people: dict[str, Terminal] = {}
        self._noticed = 0.0

    def give(self) -> list[str]:
        """Give the lesson, and return what went wrong."""
        try:
            return self._given()
        except AssertionError as error:
            return [str(error)]
        finally:
            self._room.close()

    def _given(self) -> list[str]:
        room = self._room
        room.make()
        room.change_program(self._cheat)
        began = time.monotonic()
        teacher = room.teach("--clients", str(room.students - 1))
        page = PageReader(Path("/run/netns") / self._air.namespace("teacher"), room.page)
        self._people = {name: room.come(name) for name in room.names if name != self._late}
        try:
            self._play(page)
            page.wait_for(lambda story: story.phase in ("finished", "failed"), RUN_SECONDS, "the end of the run")
        finally:
            page.close()
        found = [*self._wrong_with_run(page, began), *self._wrong_with_people()]
        teacher.hear("the run is over", 60)
        room.done(
            "teacher", sys.executable, "-m", "results", "verify", room.made / "results",
            "--registrar", room.made / "parties" / "server",
        )  # fmt: skip
        teacher.interrupt()
        teacher.end()
        wait_until(lambda: not teacher.left(), 30, "Ctrl-C ends all that the teacher has started")
        return found

    def _play(self, page: PageReader) -> None:
        """Let everything happen that is to happen, most of it in the second round."""
        room = self._room
        page.wait_for(_begun(1), 300, "the first round")
        self._people[self._late] = room.come(self._late)
        self._people[ZOE] = room.join_without_zip(ZOE)
        page.wait_for(_begun(2), RUN_SECONDS, "the second round")
        self._air.unplug(self._silent)
        unplugged = time.monotonic()
        self._people[self._lost].kill()
        self._people[self._returns].interrupt()
        room.revoke(self._lost)
        self._people[FINDER] = room.find_laptop(self._lost, FINDER)
        room.throw_rubbish(FINDER)
        page.wait_for(lambda story: story.doing[self._returns] == "gone", 60, "the lane of one who has left")
        self._people[self._returns] = room.start(self._returns)
        page.wait_for(
            lambda story: story.doing[self._silent] == "gone", SILENT_SECONDS, "the lane of one who fell silent"
        )
        self._noticed = time.monotonic() - unplugged

    # -------------------------------------------------------------------------------- what came of it

    def _wrong_with_run(self, page: PageReader, began: float) -> Iterator[str]:
        story, rounds = page.story, self._room.rounds
        counts = [story.results[number]["contributors"] for number in sorted(story.results)]
        first = story.began["committing", 1] - began
        self.measured = (
            f"first round after {first:.0f} s, all {len(counts)} after {time.monotonic() - began:.0f} s; "
            f"contributors {', '.join(map(str, counts))}; a silent machine was gone after {self._noticed:.0f} s; at most {story.most} clients at a time; "
            f"/api/runs took at most {page.slowest * 1e3:.0f} ms"
        )
        if story.phase != "finished" or len(counts) != rounds or min(counts) < MIN_COHORT:
            yield f"{story.phase} after {len(counts)} of {rounds} rounds: {story.message}"
        shown = {run["id"]: run for run in page.runs}.get(SERVER, {})
        if (shown.get("state"), shown.get("rounds_done")) != ("finished", rounds):
            yield f"/api/runs says of the run that it is {shown}"
        if first > FIRST_ROUND_SECONDS:
            yield f"the first round began {first:.0f} s after the zips were there"
        if "wrong_proof" not in story.refused.get(self._cheat, ()) or self._cheat in story.uploaded:
            yield f"the page does not say that the one who cheats was refused, but {story.refused}"
        for name in (self._silent, self._lost):
            if story.doing[name] not in ("gone", "away"):
                yield f"{name} has left, and the page says {story.doing[name]!r}"
        for name in (self._returns, self._late, ZOE):
            if not any(number > 1 for number in story.uploaded.get(name, ())):
                yield f"{name} has taken part in no later round"

    def _wrong_with_people(self) -> Iterator[str]:
        left = {self._silent, self._lost}
        refused = {self._cheat: "the proof of ranges is false", FINDER: "is not in the roster|was revoked"}
        for name, terminal in self._people.items():
            if name in left:
                continue
            code = terminal.end(120)
            if name in refused:
                terminal.hear(refused[name], 1)
            if (code == 0) == (name in refused):
                yield f"{name} ended with {code}: {''.join(terminal.said[-3:])}"


def _begun(number: int) -> Callable[[Story], bool]:
    return lambda story: story.phase == "committing" and story.round >= number
