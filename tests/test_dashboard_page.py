"""The page in a real browser: live, killed, replayed, compared, started and stopped, cut off, by keyboard, small and dark."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Page, needs_browser
from dashboards import Dashboard, faults_found_by_axe, needs_axe, pid_of_client, python
from test_dashboard_records import HOSTILE, write_run

from dashboard.live import SERVER

pytestmark = [pytest.mark.slow, needs_browser]
SHORT = ["--clients", "5", "--insecure-demo-keys", "--key-bits", "512", "--min-cohort", "3"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs, "spam-1", rounds=2)
    write_run(runs, "spam-2", rounds=5)
    write_run(runs, HOSTILE)
    return runs


@pytest.fixture(scope="module")
def dashboard(runs: Path) -> Iterator[Dashboard]:
    dashboard = Dashboard(runs)
    yield dashboard
    dashboard.stop()


def test_the_table_sorts_compares_and_shows_markup_as_text(quiet: Page, dashboard: Dashboard) -> None:
    quiet.open(f"{dashboard.address}/#/runs")
    quiet.wait_for("document.querySelectorAll('tbody tr').length === 3")
    assert HOSTILE in quiet.text()
    assert quiet.run("document.querySelectorAll('td img').length") == 0
    quiet.click("button[data-key=accuracy]")
    assert quiet.run("document.querySelector('tbody tr').dataset.id") == "spam-2"
    assert quiet.run("document.querySelector('[aria-sort]').getAttribute('aria-sort')") == "descending"
    quiet.click("input[aria-label='compare spam-1']")
    quiet.click("input[aria-label='compare spam-2']")
    quiet.click("a.button")
    quiet.wait_for("document.querySelectorAll('svg.chart path').length === 4")
    assert "accuracy ends at 50.0%" in quiet.run(
        "document.querySelector('svg.chart').getAttribute('aria-label')"
    ).replace("spam-2 ", "accuracy ")
    quiet.click("input[type=radio]:nth-of-type(1)")


def test_a_name_with_markup_is_text_in_every_view(quiet: Page, dashboard: Dashboard) -> None:
    for view in ("live", "saw", "compare"):
        quiet.open("about:blank")
        quiet.open(f"{dashboard.address}/#/{view}/%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E")
        quiet.wait_for("document.querySelector('h1')")
        assert quiet.run("document.querySelectorAll('main img').length") == 0
        assert HOSTILE in quiet.text()


def test_a_finished_run_is_replayed_with_the_slider(quiet: Page, dashboard: Dashboard, runs: Path) -> None:
    events = [
        {"seconds": float(n), "run": "0" * 16, "phase": "committing", "round": n, "rounds": 3, "attempt": 1, "present": 1,
         "holders": 1, "received": 0, "expected": 1, "message": f"message {n}", "seconds_left": 9.0, "epsilon_budget": 0.0,
         "parties": [{"name": "client-1", "role": "client", "doing": doing, "refused": refused}], "calls": {"Commit": n},
         "results": [{"round": n, "contributors": 5, "accuracy": n / 10, "loss": 0.1, "bytes_up_per_client": 1024.0, "seconds": 1.0}]}
        for n, (doing, refused) in enumerate([("training", ""), ("uploaded", "wrong_digest"), ("gone", "")], 1)
    ]  # fmt: skip
    (runs / "spam-1" / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    quiet.open("about:blank")
    quiet.open(f"{dashboard.address}/#/live/spam-1")
    quiet.wait_for("document.body.innerText.includes('message 3')")
    assert "gone" in quiet.run("document.querySelector('.lanes li').innerText")
    quiet.run(
        "(() => { const r = document.querySelector('input[type=range]'); r.value = 2.5; r.dispatchEvent(new Event('input')); })()"
    )
    assert "uploaded refused: wrong_digest" in quiet.run("document.querySelector('.lanes li').innerText").replace(
        "\n", " "
    )
    assert "20.00 %" in quiet.text()
    assert "30.00 %" not in quiet.text()


def test_a_run_is_started_followed_and_its_words_are_read(quiet: Page, dashboard: Dashboard) -> None:
    quiet.open("about:blank")
    quiet.open(f"{dashboard.address}/#/start")
    quiet.wait_for("document.querySelector('form')")
    quiet.run(
        "(() => { const s = document.querySelectorAll('form select, form input'); s[2].value = 2; s[3].value = 'plain'; })()"
    )
    quiet.click("form button[type=submit]")
    name = quiet.wait_for("document.querySelector('pre.log') && document.querySelector('section a').innerText")
    quiet.open(f"{dashboard.address}/#/live/{name}")
    quiet.wait_for("document.querySelectorAll('.lanes canvas').length === 9", 30)
    quiet.wait_for("document.querySelector('.badge').innerText === 'finished'", 40)
    assert "all rounds are completed" in quiet.text()
    quiet.open(f"{dashboard.address}/#/saw/{name}/1")
    quiet.wait_for("document.querySelectorAll('.words li').length > 40")
    assert "This run encrypted nothing" in quiet.text()


def test_a_run_is_stopped(quiet: Page, dashboard: Dashboard) -> None:
    quiet.open("about:blank")
    quiet.open(f"{dashboard.address}/#/start")
    quiet.wait_for("document.querySelector('form')")
    quiet.click("form button[type=button]")
    quiet.wait_for("document.body.innerText.includes('bytes up per client')", 30)
    quiet.run("(() => { document.querySelectorAll('form select, form input')[2].value = 50; })()")
    quiet.click("form button[type=submit]")
    quiet.wait_for("[...document.querySelectorAll('pre.log')].some((log) => log.innerText.includes('listens on'))", 30)
    quiet.click("button[aria-label^=stop]")
    quiet.wait_for("!document.querySelector('button[aria-label^=stop]')", 30)
    assert "stopped after 0 of 50 rounds" in quiet.text()


def test_a_killed_client_and_an_aggregator_that_comes_back_are_shown_to_an_observer(
    quiet: Page, tmp_path: Path
) -> None:
    run = tmp_path / "runs" / "spam-9"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    simulation = python("simulation", *SHORT, "--rounds", "12", "--out", str(run), "--port", str(port))
    identity = run / "federation" / "observer"
    end = time.monotonic() + 20
    while not (identity / "party.json").exists() and time.monotonic() < end:
        time.sleep(0.05)
    dashboard = Dashboard(tmp_path / "none", "--server", f"127.0.0.1:{port}", "--identity", str(identity))
    try:
        quiet.open(f"{dashboard.address}/#/live/{SERVER}")
        quiet.wait_for("document.querySelectorAll('svg.chart path').length > 0", 40)
        os.kill(pid_of_client(run / "federation" / "client-2"), signal.SIGKILL)
        quiet.wait_for(
            "[...document.querySelectorAll('.lanes li')].some((li) => li.innerText.startsWith('client-2') && li.innerText.includes('gone'))",
            30,
        )
        simulation.send_signal(signal.SIGINT)
        simulation.communicate()
        quiet.wait_for("document.querySelector('.badge').innerText === 'away'", 20)
        server = python(
            "server",
            "--identity",
            str(run / "federation/server"),
            "--state",
            str(tmp_path / "state"),
            "--listen",
            f"127.0.0.1:{port}",
            "--clients",
            "5",
        )
        try:
            quiet.wait_for("document.querySelector('.badge').innerText === 'waiting'", 30)
        finally:
            server.terminate()
            server.communicate()
    finally:
        quiet.open("about:blank")
        dashboard.stop()
        if simulation.poll() is None:
            simulation.kill()
            simulation.communicate()


def test_a_dashboard_that_goes_away_and_comes_back_is_found_again(page: Page, runs: Path) -> None:
    dashboard = Dashboard(runs)
    page.open("about:blank")
    page.open(f"{dashboard.address}/#/runs")
    page.wait_for("document.querySelectorAll('tbody tr').length >= 3")
    assert dashboard.stop() in (0, 130)
    page.wait_for("document.body.innerText.includes('does not answer')")
    dashboard.start()
    page.wait_for("!document.body.innerText.includes('does not answer')")
    dashboard.stop()
    page.errors()  # refused connections, which are meant


@pytest.mark.parametrize(("width", "dark"), [(1400, False), (420, True)])
def test_nothing_is_wider_than_the_window(quiet: Page, dashboard: Dashboard, width: int, dark: bool) -> None:
    quiet.resize(width, 900)
    quiet.dark(dark)
    for view in ("runs", "live/spam-1", "saw/spam-1", "start", "compare/spam-1/spam-2"):
        quiet.open("about:blank")
        quiet.open(f"{dashboard.address}/#/{view}")
        quiet.wait_for("document.querySelector('h1')")
        assert quiet.run("document.documentElement.scrollWidth <= window.innerWidth"), view
    light = quiet.run("getComputedStyle(document.body).backgroundColor")
    assert (light == "rgb(17, 22, 28)") is dark


@pytest.mark.parametrize("width", [420, 1000, 1400])
def test_the_longest_word_fits_the_box_of_its_figure(quiet: Page, dashboard: Dashboard, width: int) -> None:
    quiet.resize(width, 900)
    quiet.open("about:blank")
    quiet.open(f"{dashboard.address}/#/live/spam-1")
    quiet.wait_for("document.querySelector('.figures dd')")
    quiet.run("document.querySelectorAll('.figures dd').forEach((each) => each.innerText = 'committing')")
    assert quiet.run(
        "[...document.querySelectorAll('.figures > div')].every((each) => each.scrollWidth <= each.clientWidth)"
    )


def test_the_keyboard_reaches_everything(quiet: Page, dashboard: Dashboard) -> None:
    quiet.resize(1400, 900)
    quiet.open("about:blank")
    quiet.open(f"{dashboard.address}/#/runs")
    quiet.wait_for("document.querySelectorAll('tbody tr').length >= 3")
    reached = set()
    for _ in range(40):
        quiet.press("\ue004")  # the tab key
        reached.add(
            quiet.run("document.activeElement.innerText || document.activeElement.getAttribute('aria-label') || ''")
        )
    assert {"Skip to the content", "Runs", "Live", "Start a run", "accuracy", "spam-1", "compare spam-1"} <= reached


@needs_axe
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_no_serious_fault(page: Page, dashboard: Dashboard, dark: bool) -> None:
    page.dark(dark)
    for view in ("runs", "live/spam-1", "saw/spam-1", "start", "compare/spam-1/spam-2"):
        page.open("about:blank")
        page.open(f"{dashboard.address}/#/{view}")
        page.wait_for("document.querySelector('h1')")
        time.sleep(0.3)
        assert faults_found_by_axe(page) == [], view


def test_the_browser_runs_no_script_but_the_pages_own(page: Page, dashboard: Dashboard) -> None:
    page.open(f"{dashboard.address}/#/runs")
    page.wait_for("document.querySelector('h1')")
    page.errors()
    page.run(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1'; document.head.append(s); "
        "const i = document.createElement('img'); i.src = 'http://192.0.2.1/x.png'; document.body.append(i); })()"
    )
    page.wait_for("window.ran === undefined")
    said = " ".join(page.errors())
    assert "script-src" in said
    assert "img-src" in said


def test_the_browser_starts_no_run_without_the_pages_token(page: Page, dashboard: Dashboard) -> None:
    page.open(f"{dashboard.address}/#/runs")
    page.wait_for("document.querySelector('h1')")
    post = (
        "fetch('/api/runs', {method: 'POST', headers: {'content-type': 'application/json', 'x-form-token': TOKEN}, "
        "body: '{\"clients\": 0}'}).then((answer) => answer.status)"
    )
    assert page.run(post.replace("TOKEN", "'wrong'")) == 403
    given = "fetch('/api/about').then((answer) => answer.json()).then((about) => "
    assert page.run(f"{given}{post.replace('TOKEN', 'about.form_token')})") == 400, "it is read, and has no clients"
    page.errors()  # two answers that are errors, which are meant


def test_the_first_paint_takes_less_than_a_second(quiet: Page, dashboard: Dashboard) -> None:
    quiet.open("about:blank")
    quiet.open(f"{dashboard.address}/#/runs")
    quiet.wait_for("document.querySelectorAll('tbody tr').length >= 3")
    assert quiet.run("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 1000
