"""`docker compose up` as a user types it. Skipped, with its reason, where no engine answers; never in CI."""

from __future__ import annotations

import json
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
ENVIRONMENT = {
    **os.environ,
    "COMPOSE_PROJECT_NAME": "grokfed-test",
    "COMPOSE_ANSI": "never",
    "ROUNDS": "2",
    "DASHBOARD_SECONDS": "1",
    "DASHBOARD_PORT": "0",
}
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
    compose("down", "--volumes", "--remove-orphans", "--timeout", "1")
    yield
    compose("down", "--volumes", "--remove-orphans", "--timeout", "1")


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
    """What a program says that runs in a party's container; of several alike, `client-2` is the second."""
    name, _, index = service.partition("client-")
    where = ("--index", index, "client") if index else (name,)
    return compose("exec", "-T", *where, "python", "-c", program).stdout.strip()


def container(index: int) -> str:
    """The container of the client with this index; its name in the federation is another matter."""
    return f"{ENVIRONMENT['COMPOSE_PROJECT_NAME']}-client-{index}"


# ------------------------------------------------------------------------------------------ whole runs


def test_up_runs_a_whole_federation_and_ends_with_the_table(tmp_path: Path) -> None:
    """And again: the registrar leaves the federation as it is, and deals the keys of another run."""
    up = compose("up", "--build")
    assert up.returncode == 0, up.stdout
    assert len(re.findall(r"exited with code 0", up.stdout)) == 13, up.stdout
    assert re.search(r"registrar-1 .*0 keys are unused, 7 are wanted", up.stdout)
    assert re.search(r"server-1 .*spam: 2 of 2 rounds, Paillier, 2048 bits", up.stdout)
    assert re.search(r"server-1 .*test accuracy: \d\d\.\d\d%", up.stdout)
    members = {f"client-{n}" for n in range(1, 6)}
    assert set(re.findall(r"joined client=(client-\d)", up.stdout)) == members
    assert set(re.findall(r"registration-1 .*enrolled .*name=(client-\d)", up.stdout)) == members
    assert re.search(r"dashboard-1 .*the dashboard is at http://127\.0\.0\.1:8080", up.stdout)
    assert not re.search("Traceback|INSECURE", up.stdout)
    state = results(tmp_path)
    assert check_every_model(state / "aggregator.sqlite") == [[1, 2, 3, 4, 5]] * 2
    assert np.array_equal(load_model(state / "results" / "model.npz", SPAM), plain_models([[1, 2, 3, 4, 5]] * 2)[-1])

    before = federation_of("server")
    again = compose("up", SCHEME="plain", ALLOW_PLAIN="true", ROUNDS="1")
    assert again.returncode == 0, again.stdout
    assert re.search(
        rf"registrar-1 .*federation {before} is in /federation already, with roster version 6", again.stdout
    )
    assert re.search(r"client-1 .*INSECURE: a run that encrypts nothing", again.stdout)
    assert len(re.findall(r"/identity is the folder of client client-\d already", again.stdout)) == 5
    assert not re.search(r"enrolled .*name=", again.stdout)
    assert re.search(r"server-1 .*1 of 1 round, plain: NOTHING IS ENCRYPTED", again.stdout)
    assert "this run continues from the model of round 2 of run" in again.stdout
    assert federation_of("server") == before


# ------------------------------------------------------------------------------------------ parties that die


@pytest.fixture
def running() -> None:
    """A federation in the middle of round 2 of 5, whose deadlines are short and whose keys are small."""
    up = compose("up", "--detach", "--build", **QUICK)
    assert up.returncode == 0, up.stdout
    _follow_until(r"completed .*round=1")


QUICK = {
    "ROUNDS": "5", "KEY_BITS": "512", "INSECURE_DEMO_KEYS": "true", "ROUND_SECONDS": "60", "UPLOAD_SECONDS": "60",
    "MIN_COHORT": "3",
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
    assert all(3 <= len(cohort) <= 5 for cohort in cohorts)  # who enrols or comes back late is in the next round
    assert cohorts[-1] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("running")
def test_the_run_goes_on_without_a_killed_key_holder(tmp_path: Path) -> None:
    assert compose("kill", "keyholder-2", **QUICK).returncode == 0
    log = wait_for_server()
    assert "key holder disconnected holder=keyholder-2" in log
    cohorts = check_every_model(results(tmp_path) / "aggregator.sqlite")
    assert len(cohorts) == 5
    assert all(3 <= len(cohort) <= 5 for cohort in cohorts)
    assert cohorts[-1] == [1, 2, 3, 4, 5]


@pytest.mark.usefixtures("running")
def test_the_run_goes_on_without_a_killed_client(tmp_path: Path) -> None:
    card = json.loads(python("client-3", "print(open('/identity/party.json').read())"))
    subprocess.run(["docker", "kill", container(3)], check=True, capture_output=True)
    wait_for_server()
    cohorts = check_every_model(results(tmp_path) / "aggregator.sqlite")
    assert len(cohorts) == 5
    assert cohorts[-1] == [n for n in range(1, 6) if n != card["number"]]
    holders = compose("logs", "keyholder-1", "keyholder-2", "keyholder-3", "keyholder-4").stdout
    assert f"tells what 1 of the clients sent ({card['name']})" in holders


@pytest.mark.usefixtures("running")
def test_clients_that_are_added_while_a_run_goes_on_take_part_from_the_next_round(tmp_path: Path) -> None:
    up = compose("up", "--detach", "--scale", "client=7", **QUICK)
    assert up.returncode == 0, up.stdout
    wait_for_server()
    cohorts = check_every_model(results(tmp_path) / "aggregator.sqlite")
    assert set(cohorts[0]) <= {1, 2, 3, 4, 5}
    assert cohorts[-1] == [1, 2, 3, 4, 5, 6, 7]
    assert "a new roster is in force" in compose("logs", "keyholder-1").stdout


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
    """The result of a connection: only the server listens, so a refusal shows that a host can be reached."""
    return python(service, REACH.format(host=host, port=port))


def address_of(service: str) -> str:
    return python(service, "import socket; print(socket.gethostbyname(socket.gethostname()))")


def test_each_party_reaches_the_server_alone_and_can_do_nothing_else(tmp_path: Path) -> None:
    """The run waits for nine clients, of whom five are there; then the others come."""
    settings = QUICK | {"CLIENTS": "9", "ROUNDS": "1", "ROUND_SECONDS": "60"}
    up = compose("up", "--detach", "--build", "--wait", "--scale", "client=5", **settings)
    # `--wait` gives 1 because the registrar has ended, as it is meant to.
    assert "Healthy" in up.stdout, up.stdout
    states = compose("ps", "--all", "--format", "{{.Service}} {{.Health}} {{.State}} {{.ExitCode}}").stdout.split("\n")
    assert {line for line in states if re.match("server|keyholder|registra", line)} == {
        "server healthy running 0", "registrar  exited 0", "registration  running 0", *(f"keyholder-{n} healthy running 0" for n in (1, 2, 3, 4))
    }  # fmt: skip

    client, holder = address_of("client-2"), address_of("keyholder-1")
    assert reach("server", container(2)) == reach("server", "keyholder-1") == "ConnectionRefusedError"
    for party, unreached in (
        ("client-1", "keyholder-1"),
        ("keyholder-2", container(2)),
        ("keyholder-2", "keyholder-1"),
    ):
        assert reach(party, "server") == "connected"
        assert reach(party, unreached) == "gaierror"
    assert reach("client-1", "registration", 50552) == "connected"
    assert reach("keyholder-2", "registration", 50552) == reach("server", "registration", 50552) == "gaierror"
    assert {reach("client-1", holder), *(reach("keyholder-2", each) for each in (client, holder))} <= {
        "OSError", "TimeoutError",
    }  # fmt: skip

    about = "print(*(line for line in open('/proc/self/status') if line.startswith(('Uid', 'CapEff'))))"
    assert python("client-1", about).split() == ["Uid:", *["10001"] * 4, "CapEff:", "0" * 16]
    for place in ("/app", "/invitation"):
        assert "Read-only file system" in python("client-1", f"open('{place}/x', 'w')")
    names = {
        python(f"client-{n}", "import json; print(json.load(open('/identity/party.json'))['name'])") for n in (1, 2)
    }
    assert len(names) == 2, "each has a folder of its own"
    assert "No such file" in python("client-1", "open('/run/secrets/grokfed_passphrase/keyholder-1')")

    more = compose("up", "--detach", **settings)
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
