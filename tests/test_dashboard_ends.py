"""How runs end on the page, in a real browser: stopped, unreadable, virtual; and an aggregator that went home."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Page, needs_browser
from dashboards import Dashboard
from test_dashboard_records import progress, write_run

from results.observed import event_of

pytestmark = [pytest.mark.slow, needs_browser]


def say(folder: Path, **record: Any) -> None:
    (folder / "run.json").write_text(json.dumps({"run_settings": {"rules": {"rounds": 7}}, **record}))


def make_virtual(runs: Path, name: str, seconds_a_round: float) -> None:
    """A run of virtual clients in which a round takes so many simulated seconds; without events, as they are."""
    folder = write_run(runs, name, rounds=3)
    (folder / "events.jsonl").unlink()
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {"simulated_total_s": seconds_a_round * row["round"]} if seconds_a_round else {}
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    say(folder, state="completed", way="virtual")


@pytest.fixture(scope="module")
def dashboard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    runs = tmp_path_factory.mktemp("runs")
    stopped = write_run(runs, "stopped")
    waiting = progress(3, sentence="waiting for updates: 2 of 5 here", seconds_left=9.0)
    with (stopped / "events.jsonl").open("a") as file:
        file.write(json.dumps(event_of(waiting, 10.0)) + "\n")
    say(stopped, state="running")
    (write_run(runs, "damaged") / "run.json").write_text('{"state": "comp')
    for name, seconds in (("timed", 1000.0), ("untimed", 0.0)):
        make_virtual(runs, name, seconds)
    dashboard = Dashboard(runs)
    yield dashboard
    dashboard.stop()


def open_view(page: Page, dashboard: Dashboard, view: str) -> None:
    page.open("about:blank")
    page.open(f"{dashboard.address}/#/{view}")
    page.wait_for("document.querySelector('h1')")


def figure(page: Page, name: str) -> str | None:
    found = page.run(
        "Object.fromEntries([...document.querySelectorAll('.figures > div')].map((each) => "
        "[each.querySelector('dt').textContent, each.querySelector('dd').textContent]))"
    )
    return found.get(name)  # type: ignore[no-any-return]


def test_the_end_of_a_stopped_run_does_not_wait_for_anything(quiet: Page, dashboard: Dashboard) -> None:
    open_view(quiet, dashboard, "live/stopped")
    quiet.wait_for("document.body.innerText.includes('stopped after 2 of 7 rounds')")
    assert "waiting for updates" not in quiet.text()
    assert (figure(quiet, "phase"), figure(quiet, "deadline")) == ("stopped", "none")
    quiet.run(
        "(() => { const r = document.querySelector('input[type=range]'); r.value = 0; r.dispatchEvent(new Event('input')); })()"
    )
    assert "stopped after 2 of 7 rounds" not in quiet.text(), "at its first moment nobody knew"


def test_a_damaged_record_is_unreadable_in_the_table_and_in_the_run(quiet: Page, dashboard: Dashboard) -> None:
    open_view(quiet, dashboard, "runs")
    badges = "document.querySelector('tr[data-id=damaged] .badge.unreadable')"
    quiet.wait_for(badges)
    open_view(quiet, dashboard, "live/damaged")
    quiet.wait_for("document.body.innerText.includes('run.json is damaged')")


def test_virtual_clients_have_no_lanes_and_their_time_is_shown_where_there_is_some(
    quiet: Page, dashboard: Dashboard
) -> None:
    for name, shown in (("timed", "3,000"), ("untimed", None)):
        open_view(quiet, dashboard, f"live/{name}")
        quiet.wait_for("document.body.innerText.includes('Virtual clients have no lanes')")
        quiet.wait_for("document.querySelector('.figures').innerText.includes('30.00 %')")
        assert "No parties yet" not in quiet.text()
        assert figure(quiet, "simulated seconds") == shown


def test_runs_are_compared_over_simulated_seconds_where_one_has_some(quiet: Page, dashboard: Dashboard) -> None:
    axes = "[...document.querySelectorAll('fieldset label')].map((each) => each.textContent.trim())"
    open_view(quiet, dashboard, "compare/untimed/damaged")
    quiet.wait_for(f"{axes}.length > 2")
    assert "simulated seconds" not in quiet.run(axes)
    open_view(quiet, dashboard, "compare/timed/untimed")
    quiet.wait_for(f"{axes}.includes('simulated seconds')")
    quiet.run("document.querySelectorAll('fieldset input')[4].click()")
    label = quiet.run("document.querySelector('svg.chart').getAttribute('aria-label')")
    assert label == "accuracy over simulated seconds: timed ends at 30.0%", "the other has no such time"
