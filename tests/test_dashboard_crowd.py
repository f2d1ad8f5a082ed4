"""The page with 30 and 100 real clients, of which one is killed: live, replayed, on a small window, and in the dark."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.request import urlopen

import pytest
from browser import Page, needs_browser
from dashboards import Dashboard, faults_found_by_axe, needs_axe, pid_of_client, python

pytestmark = [pytest.mark.slow, needs_browser]
HOLDERS, ROUNDS, KILLED = 4, 4, "client-7"
SECONDS = 150.0
"""That a run of a hundred processes may take on a busy machine."""
HEIGHT = 900
LANES = "document.querySelectorAll('.lanes canvas').length"
COUNTED = "[...document.querySelectorAll('section > .legend b')].reduce((sum, each) => sum + Number(each.innerText), 0)"
GONE = "document.querySelector('.legend .s-gone').parentElement.querySelector('b').innerText"
COLOURS = """[...document.querySelectorAll('.lanes[aria-label=clients] canvas')].map((each) => {
    const seen = new Set(), row = each.getContext('2d').getImageData(0, 8, each.width, 1).data;
    for (let at = 0; at < row.length; at += 4) if (row[at + 3] === 255) seen.add([row[at] >> 6, row[at + 1] >> 6, row[at + 2] >> 6].join());
    return [...seen]; })"""
"""Colours in each client's lane, those that differ clearly."""
CUT = """[...document.querySelectorAll('.lanes .who, .lanes .word')].filter(
    (each) => each.scrollWidth > each.clientWidth || parseFloat(getComputedStyle(each).fontSize) < 12).map((each) => each.innerText)"""
OVERLAPPING = """[...document.querySelectorAll('.lanes li')].filter((each, place, all) => all.some((other, later) => {
    const a = each.getBoundingClientRect(), b = other.getBoundingClientRect();
    return later > place && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1; })).length"""


@dataclass
class Crowd:
    """A run of many clients of which one was killed, and what a page said of it meanwhile.

    Attributes:
        alive: how many clients were gone before one was killed, and how many were counted.
        dead: the same at the end.
        errors: what the page complained of.
    """

    clients: int
    run: Path
    dashboard: Dashboard
    alive: tuple[str, int] = ("", 0)
    dead: tuple[str, int] = ("", 0)
    errors: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"{self.dashboard.address}/#/live/{self.run.name}"

    def show(self, page: Page, width: int) -> None:
        """Load the run's page anew in a window as wide as this."""
        page.resize(width, HEIGHT)
        page.open("about:blank")
        page.open(self.address)
        page.wait_for(f"{LANES} === {self.clients + HOLDERS}", SECONDS)

    def follow(self, page: Page) -> None:
        """Follow the run live to its end, and kill a client after the first round."""
        page.errors()
        self.show(page, 1400)
        page.wait_for("document.querySelectorAll('svg.chart path').length === 2", SECONDS)  # a round is over
        self.alive = (page.run(GONE), page.run(COUNTED))
        os.kill(pid_of_client(self.run / "federation" / KILLED), signal.SIGKILL)
        page.wait_for(f"{lane(KILLED)}.innerText.includes('gone') && {lane(KILLED)}.matches('.trouble')", SECONDS)
        page.wait_for("document.querySelector('.badge').innerText === 'finished'", SECONDS)
        self.dead = (page.run(GONE), page.run(COUNTED))
        self.errors = page.errors()


@pytest.fixture(scope="module", params=[30, 100])
def crowd(request: pytest.FixtureRequest, page: Page, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crowd]:
    runs = tmp_path_factory.mktemp("runs")
    words = ("--clients", str(request.param), "--rounds", str(ROUNDS), "--scheme", "plain", "--insecure-plaintext")
    simulation = python("simulation", *words, "--out", str(runs / "spam-1"))
    dashboard = Dashboard(runs)
    try:
        crowd = Crowd(request.param, runs / "spam-1", dashboard)
        crowd.follow(page)
        yield crowd
    finally:
        dashboard.stop()
        if simulation.poll() is None:
            simulation.send_signal(signal.SIGINT)
        simulation.communicate()


def lane(name: str) -> str:
    return f"[...document.querySelectorAll('.lanes li')].find((li) => li.querySelector('.who').title === '{name}')"


def move(page: Page, seconds: float) -> None:
    """Move the slider to a moment of the run."""
    page.run(
        "(() => { const range = document.querySelector('input[type=range]'); "
        f"range.value = {seconds}; range.dispatchEvent(new Event('input')); }})()"
    )


def moments_of(crowd: Crowd) -> dict[str, float]:
    """Return the second at which a party was first said to be doing something, for each such word."""
    found: dict[str, float] = {}
    for event in map(json.loads, (crowd.run / "events.jsonl").read_text().splitlines()):
        for party in event["parties"]:
            found.setdefault(party["doing"], event["seconds"])
    return found


def test_every_client_is_counted_and_the_killed_one_is_seen_to_be_gone(crowd: Crowd) -> None:
    assert (crowd.alive, crowd.dead, crowd.errors) == (("", crowd.clients), ("1", crowd.clients), [])


def test_the_others_go_on_without_the_killed_one(quiet: Page, crowd: Crowd) -> None:
    crowd.show(quiet, 1400)
    assert quiet.run("[...document.querySelectorAll('.lanes .trouble .who')].map((who) => who.innerText)") == [KILLED]
    with urlopen(f"{crowd.dashboard.address}/api/runs/{crowd.run.name}", timeout=20) as answer:  # noqa: S310  our own
        contributors = [row["contributors"] for row in json.load(answer)["history"]]
    assert (len(contributors), contributors[0], contributors[-1]) == (ROUNDS, crowd.clients, crowd.clients - 1)


def test_a_replay_shows_the_killed_client_before_and_after(quiet: Page, crowd: Crowd) -> None:
    crowd.show(quiet, 1400)
    move(quiet, moments_of(crowd)["gone"] - 0.02)
    assert (quiet.run(GONE), quiet.run(COUNTED)) == ("", crowd.clients)
    move(quiet, 1e6)
    assert (quiet.run(GONE), quiet.run(COUNTED)) == ("1", crowd.clients)
    colours = quiet.run(COLOURS)
    assert min(map(len, colours)) >= 2, "each lane has several states in it"
    assert len(set().union(*colours)) >= 4


@pytest.mark.parametrize(("width", "screens"), [(420, 2.0), (1000, 1.5), (1400, 1.0)])
def test_lanes_are_readable_and_not_endless(quiet: Page, crowd: Crowd, width: int, screens: float) -> None:
    crowd.show(quiet, width)
    moments = moments_of(crowd)
    assert {"away", "here", "training", "uploaded", "gone", "checking the model"} <= set(moments)
    for seconds in moments.values():
        move(quiet, seconds + 0.01)
        assert quiet.run(CUT) == []
        assert quiet.run(OVERLAPPING) == 0
        assert quiet.run("document.documentElement.scrollWidth <= window.innerWidth")
    height = quiet.run("document.querySelector('.lanes[aria-label=clients]').getBoundingClientRect().height")
    assert height <= screens * HEIGHT


def test_the_first_paint_of_many_lanes_takes_less_than_a_second(quiet: Page, crowd: Crowd) -> None:
    crowd.show(quiet, 1400)
    assert quiet.run("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 1000


@needs_axe
@pytest.mark.parametrize(("width", "dark"), [(1400, False), (420, True)])
def test_axe_finds_no_serious_fault_in_many_lanes(page: Page, crowd: Crowd, width: int, dark: bool) -> None:
    page.dark(dark)
    crowd.show(page, width)
    assert faults_found_by_axe(page) == []
    page.dark(False)
