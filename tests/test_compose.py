"""`docker compose up` as a user types it. Skipped, with its reason, where no engine answers; never in CI."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from recomputation import SPAM, check_every_model, plain_models

from core.federated import load_model

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
    compose("--profile", "more", "down", "--volumes", "--remove-orphans", "--timeout", "1")
    yield
    compose("--profile", "more", "down", "--volumes", "--remove-orphans", "--timeout", "1")


def results(folder: Path) -> Path:
    """Copy the server's state out of its volume: the database, and the model."""
    copied = compose("cp", "server:/state", str(folder))
    assert copied.returncode == 0, copied.stdout
    return folder / "state"


def wait_for_server() -> str:
    """Wait until the run is over, and give the server's log."""
    ended = compose("wait", "server")
    log = compose("logs", "--no-log-prefix", "server").stdout
    assert ended.returncode == 0, log
    assert "Traceback" not in compose("logs").stdout
    return log


def federation_of(service: str) -> str:
    shown = compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "cat", service, "/identity/party.json")
    return re.search(r'"federation": "(\w+)"', shown.stdout).group(1)  # type: ignore[union-attr]


def python(service: str, program: str) -> str:
    """What a program says that runs in a party's container."""
    return compose("exec", "-T", service, "python", "-c", program).stdout.strip()


# ------------------------------------------------------------------------------------------ whole runs


def test_up_runs_a_whole_federation_and_ends_with_the_table(tmp_path: Path) -> None:
    """And again: the registrar leaves the federation as it is, and deals the keys of another run."""
    up = compose("up", "--build")
    assert up.returncode == 0, up.stdout
    assert len(re.findall(r"exited with code 0", up.stdout)) == 10, up.stdout
    assert re.search(r"registrar-1 .*0 keys are unused, 7 are wanted", up.stdout)
    assert re.search(r"server-1 .*spam: 2 of 2 rounds, Paillier, 2048 bits", up.stdout)
    assert re.search(r"server-1 .*test accuracy: \d\d\.\d\d%", up.stdout)
    assert set(re.findall(r"joined client=(client-\d)", up.stdout)) == {f"client-{n}" for n in range(1, 6)}
    assert not re.search("Traceback|INSECURE", up.stdout)
    state = results(tmp_path)
    assert check_every_model(state / "aggregator.sqlite") == [[1, 2, 3, 4, 5]] * 2
    assert np.array_equal(load_model(state / "results" / "model.npz", SPAM), plain_models([[1, 2, 3, 4, 5]] * 2)[-1])

    before = federation_of("client-5")
    again = compose("up", SCHEME="plain", ALLOW_PLAIN="true", ROUNDS="1")
    assert again.returncode == 0, again.stdout
    assert re.search(
        rf"registrar-1 .*federation {before} is in /federation already, with roster version 1", again.stdout
    )
    assert re.search(r"client-1-1 .*INSECURE: a run that encrypts nothing", again.stdout)
    assert re.search(r"server-1 .*1 of 1 round, plain: NOTHING IS ENCRYPTED", again.stdout)
    assert federation_of("client-5") == before


# ------------------------------------------------------------------------------------------ parties that die


@pytest.fixture
def running() -> None:
    """A federation in the middle of round 2 of 5, whose deadlines are short and whose keys are small."""
    up = compose("up", "--detach", "--build", **QUICK)
    assert up.returncode == 0, up.stdout
    _follow_until(r"completed .*round=1")


QUICK = {
    "ROUNDS": "5", "KEY_BITS": "512", "INSECURE_DEMO_KEYS": "true", "ROUND_SECONDS": "4", "UPLOAD_SECONDS": "4",
}  # fmt: skip


@pytest.mark.usefixtures("running")
def test_a_killed_server_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    assert compose("kill", "server", **QUICK).returncode == 0
    assert compose("start", "server", **QUICK).returncode == 0
    log = wait_for_server()
    assert "going on with the unfinished run" in log
    assert re.search(r"spam: 5 of 5 rounds", log)
    cohorts = check_every_model(results(tmp_path) / "aggregator.sqlite")
    assert len(cohorts) == 5
    assert cohorts[0] == cohorts[-1] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("running")
def test_the_run_goes_on_without_a_killed_key_holder(tmp_path: Path) -> None:
    assert compose("kill", "keyholder-2", **QUICK).returncode == 0
    log = wait_for_server()
    assert "key holder disconnected holder=keyholder-2" in log
    assert check_every_model(results(tmp_path) / "aggregator.sqlite") == [[1, 2, 3, 4, 5]] * 5


@pytest.mark.usefixtures("running")
def test_the_run_goes_on_without_a_killed_client(tmp_path: Path) -> None:
    assert compose("kill", "client-3", **QUICK).returncode == 0
    wait_for_server()
    cohorts = check_every_model(results(tmp_path) / "aggregator.sqlite")
    assert len(cohorts) == 5
    assert cohorts[0] == [1, 2, 3, 4, 5]
    assert cohorts[-1] == [1, 2, 4, 5]
    holders = compose("logs", "keyholder-1", "keyholder-2", "keyholder-3").stdout
    assert "tells what 1 of the clients sent (client-3)" in holders


# ------------------------------------------------------------------------------------------ who can reach whom

REACH = """
import socket
try:
    socket.create_connection(("{host}", {port}), timeout=3)
    print("connected")
except OSError as error:
    print(type(error).__name__)
"""


def reach(service: str, host: str, port: int = 50551) -> str:
    """What comes of a connection: nobody listens but the server, so a refusal shows that a host can be reached."""
    return python(service, REACH.format(host=host, port=port))


def address_of(service: str) -> str:
    return python(service, "import socket; print(socket.gethostbyname(socket.gethostname()))")


def test_each_party_reaches_the_server_alone_and_can_do_nothing_else(tmp_path: Path) -> None:
    """The run waits for nine clients, of whom five are there; then the others come."""
    settings = QUICK | {"CLIENTS": "9", "ROUNDS": "1", "ROUND_SECONDS": "60"}
    up = compose("up", "--detach", "--build", "--wait", **settings)
    # `--wait` gives 1 because the registrar has ended, as it is meant to.
    assert "Healthy" in up.stdout, up.stdout
    states = compose("ps", "--all", "--format", "{{.Service}} {{.Health}} {{.State}} {{.ExitCode}}").stdout.split("\n")
    assert {line for line in states if re.match("server|keyholder|registrar", line)} == {
        "server healthy running 0", "registrar  exited 0", *(f"keyholder-{n} healthy running 0" for n in (1, 2, 3))
    }  # fmt: skip

    client, holder = address_of("client-2"), address_of("keyholder-1")
    assert reach("server", "client-2") == reach("server", "keyholder-1") == "ConnectionRefusedError"
    for party in ("client-1", "keyholder-2"):
        assert reach(party, "server") == "connected"
        assert reach(party, "client-2") == reach(party, "keyholder-1") == "gaierror"
        assert {reach(party, address) for address in (client, holder)} <= {"OSError", "TimeoutError"}

    about = "print(*(line for line in open('/proc/self/status') if line.startswith(('Uid', 'CapEff'))))"
    assert python("client-1", about).split() == ["Uid:", *["10001"] * 4, "CapEff:", "0" * 16]
    for place in ("/app", "/identity", "/run/secrets/grokfed_passphrase"):
        assert "Read-only file system" in python("client-1", f"open('{place}/x', 'w')")
    assert "client-1" in python("client-1", "import os; print(open('/identity/party.json').read())")
    assert "No such file" in python("client-1", "open('/federation/client-2/keys.enc')")

    more = compose("--profile", "more", "up", "--detach", **settings)
    assert more.returncode == 0, more.stdout
    wait_for_server()
    assert check_every_model(results(tmp_path) / "aggregator.sqlite") == [list(range(1, 10))]


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
