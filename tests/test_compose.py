"""`docker compose up` as a user types it. Skipped, with its reason, where no engine answers; never in CI."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.federated import initial_model
from core.tasks import get_task

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = {**os.environ, "COMPOSE_PROJECT_NAME": "grokfed-test", "COMPOSE_ANSI": "never", "ROUNDS": "2"}
pytestmark = pytest.mark.containers


def compose(*arguments: str, seconds: float = 300, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["docker", "compose", *arguments],
        cwd=ROOT,
        env=ENVIRONMENT | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    """Skip without an engine, unless containers are required."""
    try:
        answered = (
            subprocess.run(["docker", "compose", "ls"], capture_output=True, timeout=30, check=False).returncode == 0
        )
    except FileNotFoundError:
        answered = False
    if not answered:
        if os.environ.get("GROKFED_REQUIRE_CONTAINERS"):
            pytest.fail("containers are required here and no Docker engine with Compose answers")
        pytest.skip("no Docker engine with Compose answers on this machine")


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    compose("down", "--volumes", "--remove-orphans")
    yield
    compose("down", "--volumes", "--remove-orphans")


def test_up_runs_a_whole_federation_and_ends_with_the_table(tmp_path: Path) -> None:
    up = compose("up", "--build", "--scale", "client=3")
    assert up.returncode == 0, up.stdout
    assert len(re.findall(r"exited with code 0", up.stdout)) == 5, up.stdout
    assert re.search(r"server-1 .*spam: 2 of 2 rounds, Paillier, 2048 bits", up.stdout)
    assert re.search(r"server-1 .*test accuracy: \d\d\.\d\d%", up.stdout)
    assert set(re.findall(r"joined client=\w+ number=(\d)", up.stdout)) == {"1", "2", "3"}
    assert "Traceback" not in up.stdout

    copied = compose("cp", "server:/state/results/model.npz", str(tmp_path))
    assert copied.returncode == 0, copied.stdout
    with np.load(tmp_path / "model.npz") as arrays:
        flat = np.concatenate([arrays[name].reshape(-1) for name in arrays.files])
    assert flat.shape == initial_model(get_task("spam"), 0).shape
    assert flat.any()


def test_a_killed_server_goes_on_when_it_is_started_again() -> None:
    settings = {"ROUNDS": "4", "KEY_BITS": "2048", "ROUND_SECONDS": "60"}
    up = compose("up", "--detach", "--build", "--wait", "--scale", "client=3", **settings)
    assert up.returncode == 0, up.stdout
    _follow_until(r"update .*round=2")
    assert compose("kill", "server", **settings).returncode == 0
    assert compose("start", "server", **settings).returncode == 0
    ended = compose("wait", "server", **settings)
    assert ended.returncode == 0, compose("logs", "server").stdout
    log = compose("logs", "--no-log-prefix", "server").stdout
    assert "going on with the unfinished run" in log
    assert re.search(r"spam: 4 of 4 rounds", log)


def test_the_twin_that_encrypts_nothing_needs_everyones_consent() -> None:
    up = compose("up", "--build", "--scale", "client=2", SCHEME="plain", ALLOW_PLAIN="true", ROUNDS="1")
    assert up.returncode == 0, up.stdout
    assert re.search(r"client-1 .*INSECURE: a run that encrypts nothing", up.stdout)
    assert re.search(r"server-1 .*1 of 1 rounds, plain: NOTHING IS ENCRYPTED", up.stdout)


def test_nothing_runs_as_root_and_the_image_cannot_be_written() -> None:
    shown = compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "sh", "client", "-c", "id -u; touch /app/x")
    assert shown.stdout.splitlines()[-2:] == ["10001", "touch: cannot touch '/app/x': Read-only file system"], (
        shown.stdout
    )


def _follow_until(pattern: str) -> None:
    """Read the server's log as it grows until a line matches."""
    follow = subprocess.Popen(
        ["docker", "compose", "logs", "--follow", "--no-log-prefix", "server"],
        cwd=ROOT, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert follow.stdout is not None
    with follow, follow.stdout as lines:
        found = any(re.search(pattern, line) for line in lines)
        follow.kill()
    assert found, f"{pattern!r} never appeared"
