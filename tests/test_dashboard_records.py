"""The dashboard reads runs, and nothing else on the machine; what it reads is what the files say."""

from __future__ import annotations

import json
import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from asgi import get

from core.errors import SettingsError
from core.wire import federation_pb2 as pb
from dashboard.app import Shown, make_app
from dashboard.guard import Tokens
from dashboard.live import SERVER, Watched
from dashboard.openapi import document
from dashboard.records import RunsFolder
from dashboard.saw import Keeper
from dashboard.starting import Starter
from results.observed import FILE, EventLog, read_events

HOSTILE = "<img src=x onerror=alert(1)>"


def progress(round_number: int = 1, doing: str = "training", **more: Any) -> pb.Progress:
    party = pb.PartyState(name="client-1", role="client", doing=doing)
    return pb.Progress(run="0" * 16, phase="committing", round=round_number, rounds=2, parties=[party], **more)


def write_run(runs: Path, name: str, rounds: int = 2) -> Path:
    """A run's folder with made-up figures: round r has an accuracy of r tenths and cost r seconds."""
    folder = runs / name
    folder.mkdir(parents=True)
    rows = [
        {"round": r, "contributors": 5, "accuracy": r / 10, "loss": 1 / r, "bytes_up_per_client": 1024, "round_s": r}
        for r in range(1, rounds + 1)
    ]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with EventLog(folder) as log:
        for r in range(1, rounds + 1):
            log.add(progress(r, results=[pb.RoundResult(round=r, accuracy=r / 10)]))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    (tmp_path / "secret.jsonl").write_text('{"round": 1, "secret": "s3cret"}\n')
    write_run(tmp_path / "outside", "elsewhere")
    folder = tmp_path / "runs"
    write_run(folder, "spam-1")
    return folder


def app_of(runs: Path, watched: Watched | None = None) -> Any:
    return make_app(Shown(RunsFolder(runs), Tokens(None, allowed=True), Starter(runs), Keeper(), watched))


def test_a_run_is_a_row_with_its_last_figures(runs: Path) -> None:
    (row,) = get(app_of(runs), "/api/runs").json["runs"]
    assert (row["id"], row["rounds_done"], row["accuracy"], row["seconds"], row["kib"]) == ("spam-1", 2, 0.2, 3, 10.0)
    detail = get(app_of(runs), "/api/runs/spam-1").json
    assert [each["accuracy"] for each in detail["history"]] == [0.1, 0.2]


@pytest.mark.parametrize(
    "name",
    [
        "..", ".", "%2e%2e", "..%2foutside%2felsewhere", "..%2f..%2fetc%2fpasswd", "%2fetc", "spam-1%2f..%2f..", "spam-1%00",
        "link", "..%5coutside", ".hidden", "x" * 201,
    ],
)  # fmt: skip
def test_no_name_leads_out_of_the_folder_of_runs(runs: Path, name: str) -> None:
    (runs / "link").symlink_to(runs.parent / "outside" / "elsewhere")
    write_run(runs, ".hidden")
    app = app_of(runs)
    for rest in ("", "/events", "/saw/1"):
        assert get(app, f"/api/runs/{name}{rest}").status == 404
    assert get(app, "/api/runs/spam-1").status == 200


def test_a_link_in_a_runs_folder_is_not_followed(runs: Path) -> None:
    folder = runs / "spam-1"
    (folder / "history.jsonl").unlink()
    (folder / "history.jsonl").symlink_to(runs.parent / "secret.jsonl")
    (folder / "server").symlink_to(runs.parent)
    answer = get(app_of(runs), "/api/runs/spam-1")
    assert (answer.status, answer.json["history"]) == (200, [])
    assert b"s3cret" not in answer.body


@pytest.mark.parametrize("name", ["..%2fapp.py", "%2e%2e%2fapp.py", "app.py", "__main__.py", "%2fetc%2fpasswd"])
def test_only_the_pages_own_files_are_served(runs: Path, name: str) -> None:
    assert get(app_of(runs), f"/static/{name}").status == 404
    assert get(app_of(runs), "/static/app.js").status == 200


def test_a_name_with_markup_is_given_as_it_is_in_json_and_nowhere_in_html(runs: Path) -> None:
    write_run(runs, HOSTILE)
    answer = get(app_of(runs), "/api/runs")
    assert HOSTILE in {row["id"] for row in answer.json["runs"]}
    assert answer.headers["content-type"] == "application/json"
    assert HOSTILE.encode() not in get(app_of(runs), "/").body


def test_the_page_sets_text_only_as_text() -> None:
    for path in (Path(__file__).parent.parent / "dashboard" / "page").glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", path.read_text()
        )


def test_events_are_given_page_by_page(runs: Path) -> None:
    app = app_of(runs)
    first = get(app, "/api/runs/spam-1/events").json
    assert [event["round"] for event in first["events"]] == [1, 2]
    assert first["events"][0]["parties"] == [{"name": "client-1", "role": "client", "doing": "training", "refused": ""}]
    assert get(app, f"/api/runs/spam-1/events?after={first['next']}").json["events"] == []
    for wrong in ("-1", "x", "1" * 16):
        assert get(app, f"/api/runs/spam-1/events?after={wrong}").status == 400


def test_events_of_a_run_that_is_over_are_streamed_to_their_end(runs: Path) -> None:
    answer = get(app_of(runs), "/api/runs/spam-1/events", accept="text/event-stream")
    assert answer.headers["content-type"].startswith("text/event-stream")
    parts = answer.body.decode().strip().split("\n\n")
    assert [part.partition("\n")[0].partition(":")[0] for part in parts] == ["id", "id", "event"]
    again = get(
        app_of(runs), "/api/runs/spam-1/events", **{"accept": "text/event-stream", "last-event-id": parts[0].split()[1]}
    )
    assert again.body.decode().count("data: {") == 2, "the second event and the end"


def test_a_line_half_written_is_left_for_later(runs: Path) -> None:
    path = runs / "spam-1" / FILE
    path.write_bytes(path.read_bytes()[:-10])
    (only,) = read_events(path)
    assert only[0]["round"] == 1
    path.write_bytes(path.read_bytes()[: only[1]] + b"[1]\n")
    assert len(list(read_events(path))) == 1, "what is no object ends the reading"


def test_the_events_of_a_run_that_goes_on_follow_those_there_are(runs: Path) -> None:
    path = runs / "spam-1" / FILE
    path.write_text(path.read_text() + json.dumps({"seconds": 100.0}) + "\n")
    with EventLog(runs / "spam-1") as log:
        log.add(progress(3))
    *_, earlier, last = (event for event, _ in read_events(path))
    assert (earlier["seconds"], last["round"]) == (100.0, 3)
    assert 100 <= last["seconds"] < 101


def test_the_secret_by_which_clients_are_drawn_is_left_out(runs: Path) -> None:
    folder = runs / "spam-1" / "server"
    folder.mkdir()
    settings = {"task": "spam", "scheme": "paillier", "seed": 1, "rules": {"target": 5, "selection_secret": "s3cret"}}
    with sqlite3.connect(folder / "aggregator.sqlite") as database:
        database.execute("CREATE TABLE runs (run, settings, status, sentence)")
        database.execute("INSERT INTO runs VALUES ('a', ?, 'failed', 'too few')", (json.dumps(settings),))
    database.close()
    answer = get(app_of(runs), "/api/runs/spam-1")
    assert b"s3cret" not in answer.body
    assert answer.json["settings"] == {"task": "spam", "scheme": "paillier", "seed": 1, "clients": 5}


def test_a_watched_aggregator_is_a_run_too_and_shows_no_update(runs: Path) -> None:
    watched = Watched("192.0.2.1:50551")
    app = app_of(runs, watched)
    assert get(app, "/api/runs").json["runs"][0]["state"] == "away"
    watched.take(progress(2, results=[pb.RoundResult(round=1, accuracy=0.5, contributors=5, bytes_up_per_client=2048)]))
    row = get(app, "/api/runs").json["runs"][0]
    assert (row["id"], row["state"], row["accuracy"], row["kib"]) == (SERVER, "committing", 0.5, 10.0)
    watched.lose("no answer from 192.0.2.1:50551")
    watched.lose("no answer from 192.0.2.1:50551")
    events = get(app, f"/api/runs/{SERVER}/events").json["events"]
    assert [event.get("lost", "") for event in events] == ["", "no answer from 192.0.2.1:50551"]
    assert "an observer is shown no update" in get(app, f"/api/runs/{SERVER}/saw/1").json["why"]


@pytest.mark.parametrize(
    ("phase", "done", "state", "message"),
    [
        ("endorsing", 1, "away", "no answer"),
        ("endorsing", 2, "finished", "all 2 rounds are done"),
        ("finished", 2, "finished", "the end"),
        ("failed", 1, "failed", "the end"),
    ],
)
def test_an_aggregator_that_is_gone_after_its_last_round_is_not_away(
    runs: Path, phase: str, done: int, state: str, message: str
) -> None:
    watched = Watched("192.0.2.1:50551")
    results = [pb.RoundResult(round=each) for each in range(1, done + 1)]
    watched.take(pb.Progress(run="0" * 16, phase=phase, round=done, rounds=2, sentence="the end", results=results))
    watched.lose("no answer")
    row = get(app_of(runs, watched), "/api/runs").json["runs"][0]
    assert (row["state"], row["message"]) == (state, message)


def test_the_description_names_every_call_and_no_other(runs: Path) -> None:
    said = get(app_of(runs), "/api/openapi.json").json
    assert said == document()
    routes = {
        (r.path.replace(":int", ""), m.lower())
        for r in app_of(runs).routes
        for m in r.methods - {"HEAD"}
        if "/api/" in r.path
    }
    assert routes == {(path, method) for path, methods in said["paths"].items() for method in methods}
    (row,) = get(app_of(runs), "/api/runs").json["runs"]
    summary = said["paths"]["/api/runs"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(row) == set(summary["properties"]["runs"]["items"]["properties"])


@pytest.mark.parametrize(
    ("said", "shown"),
    [("completed", "finished"), ("failed", "failed"), ("interrupted", "stopped"), ("running", "stopped")],
)
def test_run_json_says_what_the_run_was_and_how_it_ended(runs: Path, said: str, shown: str) -> None:
    about = {
        "state": said, "message": "why", "way": "virtual", "clients": 1000,
        "run_settings": {"task": "spam", "scheme": "plain", "seed": 3, "rules": {"rounds": 2}, "privacy": {"noise_multiplier": 1.5}},
    }  # fmt: skip
    (runs / "spam-1" / "run.json").write_text(json.dumps(about))
    (row,) = get(app_of(runs), "/api/runs").json["runs"]
    assert (row["state"], row["message"], row["clients"], row["privacy"]) == (shown, "why", 1000, "noise 1.5")
    assert row["way"] == "virtual"
    settings = get(app_of(runs), "/api/runs/spam-1").json["settings"]
    assert settings == {
        "task": "spam",
        "scheme": "plain",
        "seed": 3,
        "rounds": 2,
        "noise_multiplier": 1.5,
        "clients": 1000,
        "way": "virtual",
    }


@pytest.mark.parametrize("said", ["running", "interrupted"])
def test_a_stopped_run_says_so_and_not_what_it_was_waiting_for(runs: Path, said: str) -> None:
    with EventLog(runs / "spam-1") as log:
        log.add(progress(3, sentence="waiting for updates: 2 of 5 here"))
    assert get(app_of(runs), "/api/runs").json["runs"][0]["message"] == "waiting for updates: 2 of 5 here"
    (runs / "spam-1" / "run.json").write_text(json.dumps({"state": said, "run_settings": {"rules": {"rounds": 7}}}))
    (row,) = get(app_of(runs), "/api/runs").json["runs"]
    assert (row["state"], row["message"]) == ("stopped", "stopped after 2 of 7 rounds")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"state": "comp',
        b"\xff\xfe\x00random\x80",
        b"[]",
        b"{}",
        b'{"state": "well"}',
        b"[" * 100_000,
        b" " * (1 << 23),
    ],
)
def test_a_run_whose_record_is_damaged_is_unreadable_and_not_finished(runs: Path, content: bytes) -> None:
    (runs / "spam-1" / "run.json").write_bytes(content)
    (row,) = get(app_of(runs), "/api/runs").json["runs"]
    said = "run.json is damaged: it is not the record of a run"
    assert (row["state"], row["message"], row["rounds_done"]) == ("unreadable", said, 2)
    detail = get(app_of(runs), "/api/runs/spam-1").json
    assert (detail["state"], len(detail["history"])) == ("unreadable", 2)


@pytest.mark.parametrize("odd", [[], "x", 5, {"rules": [], "privacy": "x"}, {"privacy": {"noise_multiplier": "x"}}])
def test_settings_of_another_kind_in_a_record_are_left_out(runs: Path, odd: object) -> None:
    (runs / "spam-1" / "run.json").write_text(json.dumps({"state": "completed", "run_settings": odd}))
    (row,) = get(app_of(runs), "/api/runs").json["runs"]
    assert row["state"] == "finished"


def test_a_file_is_no_folder_of_runs_and_one_that_is_not_there_yet_has_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(
        SettingsError, match="file, which is no folder; expected the folder that holds the runs' folders"
    ):
        RunsFolder(tmp_path / "file")
    assert RunsFolder(tmp_path / "later").all() == []


def test_a_run_with_infinite_numbers_does_not_break_the_page(runs: Path) -> None:
    folder = write_run(runs, "odd", rounds=1)
    (folder / "history.jsonl").write_text('{"round": 1, "accuracy": NaN, "loss": Infinity, "round_s": Infinity}\n')
    (folder / "run.json").write_text(
        '{"state": "completed", "clients": Infinity, "run_settings": {"privacy": {"noise_multiplier": "x"}}}\n'
    )
    (folder / "events.jsonl").write_text('{"seconds": Infinity, "round": 1}\n')
    app = app_of(runs)
    rows = {row["id"]: row for row in get(app, "/api/runs").json["runs"]}
    assert (rows["odd"]["accuracy"], rows["odd"]["loss"], rows["odd"]["seconds"]) == (None, None, 0)
    assert rows["spam-1"]["accuracy"] == 0.2
    detail = get(app, "/api/runs/odd")
    assert (detail.status, detail.json["history"]) == (
        200,
        [{"round": 1, "accuracy": None, "loss": None, "round_s": None}],
    )
    assert get(app, "/api/runs/odd/events").json["events"] == [{"seconds": None, "round": 1}]
    live = get(app, "/api/runs/odd/events", accept="text/event-stream")
    assert b'{"seconds": null, "round": 1}' in live.body


@pytest.mark.parametrize("target", ["/nowhere", "/api/nowhere"])
def test_what_is_not_there_is_answered_in_json(runs: Path, target: str) -> None:
    answer = get(app_of(runs), target)
    said = f"there is no call 'GET {target}'; /api/openapi.json describes those there are"
    assert (answer.status, answer.json) == (404, {"error": said})


def test_an_unexpected_failure_is_answered_in_json_and_raised_for_the_log(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> dict[str, Any]:
        raise KeyError("a secret")

    monkeypatch.setattr("dashboard.app.summary_of", broken)
    app, heard = app_of(runs), []

    async def without_raising(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        except KeyError as error:
            heard.append(error)

    answer = get(without_raising, "/api/runs")
    assert (answer.status, len(heard)) == (500, 1)
    assert "an unexpected KeyError" in answer.json["error"]
    assert "a secret" not in answer.json["error"]
