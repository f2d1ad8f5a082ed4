"""What the dashboard refuses: strangers' host names and forms, anything too long; and that the honest request passes."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from asgi import HOST, ask, get, post

from core.errors import SettingsError
from dashboard.app import Shown, make_app
from dashboard.guard import LARGEST_BODY, LONGEST_TARGET, POLICY, Tokens
from dashboard.records import RunsFolder
from dashboard.saw import Keeper
from dashboard.settings import DashboardSettings
from dashboard.starting import Started, Wanted, wanted_from

FORM = {"task": "spam", "clients": 5, "rounds": 2}
TOKEN = "0123456789abcdef"  # noqa: S105


class NoStarter:
    """Starts nothing, and remembers what it was to start."""

    def __init__(self) -> None:
        self.wanted: list[Wanted] = []

    async def start(self, wanted: Wanted) -> Any:
        self.wanted.append(wanted)

        class Process:
            returncode = None

        return Started("spam-1", Process())  # type: ignore[arg-type]


@pytest.fixture
def shown(tmp_path: Path) -> Shown:
    return Shown(RunsFolder(tmp_path), Tokens(None, allowed=True), NoStarter(), Keeper())  # type: ignore[arg-type]


def tokened(shown: Shown, **more: str) -> dict[str, str]:
    return {"x-form-token": shown.tokens.form, **more}


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "192.0.2.7", "localhost"])
def test_the_page_answers_to_addresses_and_to_localhost(shown: Shown, host: str) -> None:
    assert get(make_app(shown), "/api/about", host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8080", "localhost.evil.example", "", "[::1", "a@localhost.x"]
)
def test_no_name_that_a_stranger_can_own_is_answered(shown: Shown, host: str) -> None:
    assert get(make_app(shown), "/api/about", host=host).status in (400, 421)


def test_every_answer_carries_the_policy_that_allows_no_script_but_its_own(shown: Shown) -> None:
    app = make_app(shown)
    for target in ("/", "/api/runs", "/static/app.js", "/static/none", "/api/runs/none"):
        assert get(app, target).headers["content-security-policy"] == POLICY
    assert "unsafe" not in POLICY
    assert "script-src 'self';" in POLICY
    page = get(app, "/").body.decode()
    assert "<script>" not in page
    assert "http" not in page.replace("http-equiv", "")


def test_a_form_with_its_token_starts_a_run(shown: Shown) -> None:
    answer = post(make_app(shown), "/api/runs", FORM, tokened(shown, origin="http://127.0.0.1:8080"))
    assert (answer.status, answer.json["id"]) == (201, "spam-1")
    assert shown.starter.wanted == [Wanted(task="spam", clients=5, rounds=2)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"x-form-token": ""}, 403),
        ({"x-form-token": "wrong"}, 403),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/x-www-form-urlencoded"}, 415),
        ({"content-length": str(LARGEST_BODY + 1)}, 413),
        ({"content-length": ""}, 413),
    ],
)
def test_a_form_of_another_page_starts_nothing(shown: Shown, headers: dict[str, str], status: int) -> None:
    answer = post(make_app(shown), "/api/runs", FORM, tokened(shown) | headers)
    assert answer.status == status
    assert shown.starter.wanted == []  # type: ignore[attr-defined]


def test_a_body_longer_than_it_says_is_not_read(shown: Shown) -> None:
    headers = HOST | {"content-type": "application/json", "content-length": "2"} | tokened(shown)
    answer = asyncio.run(ask(make_app(shown), "POST", "/api/runs", headers, b" " * (LARGEST_BODY + 1) + b"{}"))
    assert answer.status == 400
    assert shown.starter.wanted == []  # type: ignore[attr-defined]


def test_where_others_can_reach_the_page_runs_are_started_with_the_typed_token_only(tmp_path: Path) -> None:
    shown = Shown(RunsFolder(tmp_path), Tokens(TOKEN, allowed=True), NoStarter(), Keeper())  # type: ignore[arg-type]
    app = make_app(shown)
    assert post(app, "/api/runs", FORM, tokened(shown)).status == 403
    assert post(app, "/api/runs", FORM, tokened(shown) | {"x-access-token": "f" * 16}).status == 403
    assert post(app, "/api/runs", FORM, tokened(shown) | {"x-access-token": TOKEN}).status == 201


def test_without_a_token_others_start_nothing_and_are_told_no_form_token(tmp_path: Path) -> None:
    shown = Shown(RunsFolder(tmp_path), Tokens(None, allowed=False), NoStarter(), Keeper())  # type: ignore[arg-type]
    app = make_app(shown)
    assert get(app, "/api/about").json["form_token"] is None
    answer = post(app, "/api/runs", FORM, tokened(shown))
    assert (answer.status, "--token" in answer.json["error"]) == (403, True)


def test_long_addresses_and_other_methods_are_refused(shown: Shown) -> None:
    app = make_app(shown)
    assert get(app, "/api/runs?" + "x" * (LONGEST_TARGET - 10)).status == 200
    assert get(app, "/api/runs?" + "x" * LONGEST_TARGET).status == 414
    for method in ("PUT", "DELETE", "PATCH"):
        assert asyncio.run(ask(app, method, "/api/runs", HOST)).status == 405


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([], "the form is not an object"),
        ({"shell": "rm"}, "the form has a field 'shell'"),
        ({"clients": "5"}, 'the form\'s clients is "5"; expected a whole number'),
        ({"clients": True}, "the form's clients is true; expected a whole number"),
        ({"clients": float("inf")}, "the form's clients is inf; expected a whole number"),
        ({"clients": [float("inf")]}, "the form's clients is [null]; expected a whole number"),
        ({"seed": None}, "the form's seed is null; expected a whole number"),
        ({"noise": "much"}, 'the form\'s noise is "much"; expected a number'),
        ({"task": 5}, "the form's task is 5; expected a text"),
        ({"clients": 101}, "--clients is 101; expected 2 to 100 clients"),
        ({"task": "spam --out /etc"}, "--task is 'spam --out /etc'; known are spam,"),
        ({"scheme": "rot13"}, "--scheme is 'rot13'; known are paillier"),
        ({"noise": float("nan")}, "--noise is nan"),
    ],
)
def test_a_form_with_anything_else_is_one_sentence(content: object, sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        wanted_from(content)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("body", [b"{bad", b"", b"\xff", b"[" * 10_000, b"1" * 5_000])
@pytest.mark.parametrize("call", ["/api/runs", "/api/dry-run"])
def test_what_is_no_json_is_called_so_in_plain_words(shown: Shown, body: bytes, call: str) -> None:
    headers = {**HOST, **tokened(shown), "content-type": "application/json", "content-length": str(len(body))}
    answer = asyncio.run(ask(make_app(shown), "POST", call, headers, body))
    said = 'the form is not JSON; expected an object such as {"clients": 5, "rounds": 5}'
    assert (answer.status, answer.json) == (400, {"error": said})


def test_what_is_no_call_is_answered_with_json_and_the_policy(shown: Shown) -> None:
    app = make_app(shown)
    answer = get(app, "/api/nope")
    said = "there is no call 'GET /api/nope'; /api/openapi.json describes those there are"
    assert (answer.status, answer.json) == (404, {"error": said})
    assert "content-security-policy" in answer.headers
    for wrong in ("/api/dry-run", "/api/runs/a/stop"):
        answer = get(app, wrong)
        assert (answer.status, answer.headers["allow"]) == (405, "POST")
        assert answer.json["error"].startswith(f"there is no call 'GET {wrong}'")


def test_the_form_becomes_the_command_that_a_person_would_type() -> None:
    assert wanted_from({"clients": 7, "noise": 1}).arguments == [
        "--task", "spam", "--clients", "7", "--rounds", "5", "--scheme", "paillier", "--key-bits", "2048", "--seed", "0",
        "--clip-norm", "1", "--noise-multiplier", "1", "--delta", "1e-5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("listen", "loopback"),
    [("127.0.0.1:8080", True), ("localhost:0", True), ("[::1]:80", True), ("0.0.0.0:8080", False)],
)
def test_only_this_machines_own_addresses_count_as_loopback(listen: str, loopback: bool) -> None:
    assert DashboardSettings(listen=listen).loopback is loopback


@pytest.mark.parametrize("name", ["identity", "passphrase_file"])
def test_what_only_watching_needs_is_refused_without_an_aggregator_to_watch(name: str) -> None:
    mine: dict[str, Any] = {name: Path("mine")}
    assert getattr(DashboardSettings(server="192.0.2.1:1", **mine), name) == Path("mine")
    said = f"--{name.replace('_', '-')} is mine, which is for watching an aggregator; add --server HOST:PORT"
    with pytest.raises(SettingsError, match=re.escape(said)):
        DashboardSettings(**mine)


@pytest.mark.parametrize("settings", [{"listen": "8080"}, {"listen": "127.0.0.1:99999"}, {"token": "short"}])
def test_settings_that_cannot_work_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError):
        DashboardSettings(**settings)
