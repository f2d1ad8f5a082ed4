"""The command that runs virtual clients: what it leaves behind, what it says, and what it refuses before it starts."""

from __future__ import annotations

import json
import math
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from core.errors import DataError
from simulation.__main__ import main
from simulation.settings import SimulationSettings
from simulation.values import given_from
from simulation.virtual.checkpoint import read_checkpoint, save_checkpoint
from simulation.virtual.on_ray import require_answer
from simulation.virtual.run import VirtualResult, VirtualRun


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """A program that ends on a signal leaves others than it found, which would end the tests."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


BRIEF = ("--virtual", "--clients", "3", "--rounds", "2", "--workers", "1")


def invoke(*arguments: str | Path) -> tuple[int, str]:
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(main)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, " ".join(result.output.split())


def test_a_run_leaves_the_files_of_every_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, said = invoke(
        "--virtual", "--clients", "1000", "--cohort", "3", "--rounds", "2", "--workers", "2", "--out", out
    )
    assert code == 0, said
    assert "1000 virtual clients, 3 of them a round, 2 rounds, 2 workers" in said
    assert "nothing is protected from anyone" in said
    names = {"history.csv", "history.jsonl", "history.png", "model.npz", "report.md", "run.json"}
    assert {path.name for path in out.iterdir()} == names
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [(row["round"], row["contributors"]) for row in rows] == [(1, 3), (2, 3)]
    assert "nothing is protected from anyone" in (out / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--workers", "2"], "--workers is 2, which only --virtual clients have; add --virtual"),
        (["--engine", "ray"], "which only --virtual clients have; add --virtual"),
        (["--virtual", "--ray-address", "auto"], "which only --engine ray has; add --engine ray"),
        (["--virtual", "--engine", "ray", "--workers", "2"], "so leave it out"),
        (["--virtual", "--engine", "ray", "--ray-address", ""], "--ray-address is ''; expected auto or HOST:PORT"),
        (
            ["--virtual", "--engine", "ray"],
            "--engine ray needs Ray, which is not installed; pip install 'grokfed[ray]'",
        ),
        (["--virtual", "--availability", "0.5"], "it needs --speeds, which simulates time"),
        (["--virtual", "--clients", "5", "--cohort", "6"], "--cohort is 6, and there are 5 clients"),
        (["--virtual", "--speeds", "fast"], "--speeds is 'fast'; expected lognormal"),
        (["--virtual", "--speeds", "lognormal:1"], "expected lognormal:EXAMPLES_PER_SECOND"),
        (["--virtual", "--speeds", "lognormal:0,1,1,1"], "speeds must be more than 0"),
        (["--virtual", "--speeds", "lognormal:9,1,9,1", "--availability", "0"], "a chance must be above 0"),
        (["--virtual", "--clients", "2000000000"], "at most 1000000000 can"),
        (
            ["--virtual", "--clients", "1000001"],
            "1000001 clients are too many for one round, which has at most 1000000",
        ),
        (["--virtual", "--central"], "leave it or --virtual out"),
        (["--virtual", "--holders", "3"], "--holders is 3, and a run with virtual clients has no key holders"),
        (["--virtual", "--threshold", "9"], "--threshold is 9, and a run with virtual clients has no key holders"),
        (["--virtual", "--holders", "2", "--threshold", "5"], "--holders is 2, and a run with virtual clients has no"),
        (["--virtual", "--difference-rule", "enforce"], "--difference-rule is enforce, and a run with virtual clients"),
        (["--virtual", "--insecure-plaintext"], "--insecure-plaintext switches off TLS, and virtual clients connect"),
        (
            ["--virtual", "--insecure-unbounded"],
            "--insecure-unbounded leaves out the proofs of encrypted updates, and --virtual encrypts nothing",
        ),
        (["--virtual", "--round-seconds", "9"], "--round-seconds is 9, and only --speeds simulates the time"),
        (
            ["--virtual", "--cohort", "2", "--over-selection", "2"],
            "--over-selection is 2, and only --speeds simulates",
        ),
        (["--virtual", "--over-selection", "50"], "--over-selection is 50.0; expected 1 to 10 times the cohort"),
        (
            ["--virtual", "--speeds", "lognormal:9,1,9,1", "--over-selection", "2"],
            "--over-selection is 2, which is times --cohort; add --cohort",
        ),
        (["--virtual", "--port", "8080"], "--port is 8080, and virtual clients have no aggregator"),
        (["--virtual", "--clients", "3", "--min-cohort", "4"], "the minimum cohort is 4"),
    ],
)
def test_impossible_settings_get_a_sentence_before_anything_starts(
    arguments: list[str], sentence: str, tmp_path: Path
) -> None:
    code, said = invoke(*arguments, "--out", tmp_path / "run")
    assert code == 1
    assert sentence in said
    assert not (tmp_path / "run").exists()
    assert "Traceback" not in said


def _strict(text: str) -> dict[str, float]:
    def refuse(name: str) -> float:
        raise AssertionError(f"{name} is no JSON")

    found: dict[str, float] = json.loads(text, parse_constant=refuse)
    return found


def test_a_round_that_a_client_left_lasts_the_deadline_that_run_json_says(tmp_path: Path) -> None:
    trace, out = tmp_path / "trace.csv", tmp_path / "run"
    trace.write_text("client,from_s,until_s\n" + "".join(f"{k},0,100000\n" for k in range(1, 6)) + "6,0,1\n")
    arguments = [
        "--virtual",
        "--clients",
        "6",
        "--rounds",
        "2",
        "--speeds",
        "lognormal:50,0,100000,0",
        "--workers",
        "1",
    ]
    code, said = invoke(*arguments, "--availability", trace, "--out", out)
    assert code == 0, said
    rows = [_strict(line) for line in (out / "history.jsonl").read_text().splitlines()]
    assert [(row["simulated_s"], row["simulated_total_s"], row["dropped"]) for row in rows] == [
        (120.0, 120.0, 1),
        (120.0, 240.0, 1),
    ]
    settings = json.loads((out / "run.json").read_text())["run_settings"]
    assert settings["rules"]["round_seconds"] == 120.0


def test_a_checkpoint_keeps_a_loss_that_is_not_finite_and_refuses_a_time_that_is_not(tmp_path: Path) -> None:
    result = VirtualResult(
        round=1, contributors=2, accuracy=0.5, loss=float("inf"), bytes_up_per_client=1, train_seconds=0,
        encrypt_seconds=0, add_seconds=0, decrypt_seconds=0, cohort_accuracy=0, cohort_loss=0,
    )  # fmt: skip
    run = SimpleNamespace(results=[result], now=3.0, vector=np.zeros(2))
    save_checkpoint(tmp_path, cast("VirtualRun", run))
    found = read_checkpoint(tmp_path)
    assert found is not None
    assert (found.now, found.results[0].contributors, math.isnan(found.results[0].loss)) == (3.0, 2, True)
    run.now = float("inf")
    save_checkpoint(tmp_path, cast("VirtualRun", run))
    with pytest.raises(DataError, match="is damaged"):
        read_checkpoint(tmp_path)


def test_a_ray_cluster_that_does_not_answer_is_one_sentence_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.virtual.on_ray.imported_ray", lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        free = listening.getsockname()[1]
        for address in (f"127.0.0.1:{free}", f"ray://127.0.0.1:{free}", "auto", None):
            require_answer(address)
    for address in (f"127.0.0.1:{free}", f"ray://127.0.0.1:{free}", f"[::1]:{free}", "127.0.0.1:99999"):
        arguments = ["--virtual", "--engine", "ray", "--ray-address", address]
        code, said = invoke(*arguments, "--out", tmp_path / "run")
        assert (code, said.startswith(f"error: no Ray cluster answers at '{address}' (")) == (1, True), said
        assert "`ray start --head` starts one" in said
    assert not (tmp_path / "run").exists()


def test_options_that_virtual_clients_do_have_are_taken() -> None:
    usual = {"virtual": True, "speeds": "lognormal:9,1,9,1"}
    options = given_from({**usual, "round-seconds": 9.0, "over-selection": 2.0}).make(SimulationSettings)
    assert (options.round_seconds, options.over_selection) == (9.0, 2.0)
    given_from({"virtual": True, "scheme": "paillier", "insecure-unbounded": True}).make(SimulationSettings)
    parties = {"holders": 3, "threshold": 2, "insecure-plaintext": True, "round-seconds": 9.0, "over-selection": 2.0}
    assert given_from(parties).make(SimulationSettings).holders == 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("where", ["draw_history", "save_model"])
def test_a_signal_while_the_results_are_written_does_not_undo_a_run_whose_rounds_are_over(
    where: str, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import server.results

    usual = getattr(server.results, where)

    def interrupted(*arguments: object) -> None:
        os.kill(os.getpid(), number)
        usual(*arguments)

    monkeypatch.setattr(server.results, where, interrupted)
    code, said = invoke(*BRIEF, "--out", tmp_path / "run")
    assert (code, "results are in" in said) == (0, True), said
    assert (tmp_path / "run" / "history.png").exists()
    assert not (tmp_path / "run" / "checkpoint.npz").exists()
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == "completed"


@pytest.mark.parametrize(("after", "code", "state"), [(1, 130, "interrupted"), (2, 0, "completed")])
def test_a_run_is_stopped_between_rounds_and_not_after_the_last(
    after: int, code: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(folder: Path, run: VirtualRun) -> None:
        save_checkpoint(folder, run)
        if len(run.results) == after:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("simulation.virtual.command.save_checkpoint", interrupted)
    ended, said = invoke(*BRIEF, "--out", tmp_path / "run")
    assert (ended, "stopped after 1 of 2 rounds" in said) == (code, after == 1), said
    assert json.loads((tmp_path / "run" / "run.json").read_text())["state"] == state
    assert (tmp_path / "run" / "history.png").exists()
    assert (tmp_path / "run" / "checkpoint.npz").exists() == (after == 1)


def test_too_many_workers_are_one_sentence_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simulation.virtual.workers._open_files", lambda: 64)
    code, said = invoke("--virtual", "--clients", "100", "--workers", "60", "--out", tmp_path / "run")
    assert code == 1
    assert said.startswith("error: --workers is 60, which needs 332 open files, and the limit is 64; choose at most 6")
    assert not (tmp_path / "run").exists()
