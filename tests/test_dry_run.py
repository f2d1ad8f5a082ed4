"""--dry-run: its keys, its exact numbers, and arithmetic that can be checked by hand."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.dry_run import Comparison, Measured, verdict
from core.errors import SettingsError
from core.federated import encoding_for, initial_model
from core.secagg.scheme import PublicKey
from core.tasks import get_task
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.__main__ import app, main
from simulation.forecast import (
    VIRTUAL_START,
    Forecast,
    Load,
    Work,
    epsilon_of_run,
    seconds_of_parties,
    seconds_of_virtual,
)
from simulation.in_process import play
from simulation.probe import Line, Probe
from simulation.settings import SimulationSettings

KEYS = {
    "bytes_up_per_client", "bytes_down_per_client", "seconds_per_round", "seconds_total", "memory_mb_total", "epsilon",
    "warnings",
}  # fmt: skip
IDLE = Probe(update=0.1, score=0.5, deal=0.0, slowness=1.0)
SPAM = get_task("spam")


def said(*arguments: str) -> str:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(main)
    result = CliRunner().invoke(app, [*arguments, "--dry-run"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def work_of(scheme: str = "plain", clients: int = 5, rounds: int = 2) -> Work:
    rules = RoundRules(rounds=rounds, min_cohort=2, max_cohort=clients)
    settings = RunSettings("spam", scheme, 2048, 0, rules)
    bits = PublicKey(scheme, 2048).plaintext_bits
    return Work(settings, encoding_for(SPAM, len(initial_model(SPAM, 0)), bits, clients), clients, clients)


def test_the_keys_of_the_json_are_these_and_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = json.loads(said("--virtual", "--clients", "3", "--json"))
    assert set(found) == KEYS == {each.name for each in fields(Forecast)}
    assert found["epsilon"] is None
    assert found["seconds_total"] > found["seconds_per_round"] > 0
    assert found["memory_mb_total"] > 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_people_are_told_who_reads_what_and_what_a_budget_allows() -> None:
    words = said("--virtual", "--clients", "6", "--rounds", "9", "--clip-norm", "1", "--noise-multiplier", "2",
                 "--epsilon-budget", "3")  # fmt: skip
    assert "nothing was trained, sent or written" in words
    assert "nothing is protected from anyone" in words
    assert re.search(
        r"the privacy budget allows \d of the 9 rounds asked for: in sums of 5, the minimum cohort, ", words
    )
    assert re.search(r"costs? an epsilon of [12]\.\d+ at delta 1e-05, if no client drops out", words)


def test_bytes_are_those_that_a_client_sends_and_is_sent() -> None:
    federation, work = play(SPAM, clients=3, scheme="plain", rounds=1), work_of(clients=3)
    assert work.bytes_up == pytest.approx(federation.results[0].bytes_up_per_client, rel=0.02)
    received = [message.content for message in federation.messages if message.receiver == "client-1"]
    assert work.bytes_down == pytest.approx(sum(map(_size, received)), rel=0.05)


def _size(content: object) -> int:
    parts = content if isinstance(content, tuple) else (content,)
    return sum(len(part) if isinstance(part, bytes) else part.ByteSize() for part in parts if part is not None)


def test_an_idle_machine_does_the_work_of_many_with_all_of_its_processors() -> None:
    load = Load(cores=2, others=0.0)
    assert load.seconds(6.0, processes=1) == 6.0
    assert load.seconds(6.0, processes=4) == 3.0


def test_on_a_busy_machine_processes_share_with_the_others() -> None:
    """Six other processes and two of the run share two processors: the run has a quarter of them."""
    assert Load(cores=2, others=6.0).seconds(1.0, processes=2) == 2.0


def test_virtual_rounds_are_the_clients_work_divided_among_workers_and_the_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """5 clients of 0.1 s on two workers, and 0.5 s to judge the model."""
    monkeypatch.setattr("simulation.forecast.cores", lambda: 2)
    a_round, total = seconds_of_virtual(work_of(), IDLE, workers=2)
    assert a_round == pytest.approx(5 * 0.1 / 2 + 0.5)
    assert total == pytest.approx(VIRTUAL_START + 2 * a_round)


def test_encrypted_virtual_rounds_make_tables_once_a_worker_and_open_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulation.forecast.cores", lambda: 2)
    work = work_of("paillier")
    count = work.encoding.plaintexts
    probe = replace(IDLE, deal=1.0, worker=Line(0.2, 0.05), open=Line(0.0, 0.01))
    a_round, _ = seconds_of_virtual(work, probe, workers=2)
    clients = 5 * (0.1 + 0.05) + 2 * 0.2
    assert a_round == pytest.approx(clients / 2 + 0.5 + 1.0 + 0.01 * count)


def test_each_groups_sum_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the holders' and the aggregator's work, opening, combining and checking are done once for each of 3 groups."""
    monkeypatch.setattr("simulation.forecast.cores", lambda: 1)
    one = work_of("paillier", clients=6)
    rules = replace(one.settings.rules, groups=3, threshold=1, holders=1)
    grouped = replace(one, settings=replace(one.settings, rules=rules))
    one = replace(one, settings=replace(one.settings, rules=replace(rules, groups=1)))
    probe = replace(IDLE, open=Line(0.0, 0.01), combine=Line(0.0, 0.02), verify=Line(0.0, 0.03))
    more = seconds_of_parties(grouped, probe)[0] - seconds_of_parties(one, probe)[0]
    assert more == pytest.approx(2 * (0.01 + 0.02 + 0.03) * one.encoding.plaintexts)
    assert grouped.bytes_up == one.bytes_up


def test_a_dry_run_with_groups_says_what_they_reveal() -> None:
    words = said("--clients", "6", "--groups", "3", "--min-cohort", "2", "--scheme", "plain")
    assert "every round opens 3 sums of at least 2 clients each instead of one" in words


def test_a_run_without_privacy_has_no_epsilon() -> None:
    assert epsilon_of_run(work_of()) is None


@pytest.mark.parametrize("folder", ["nowhere", "run"])
def test_a_run_that_goes_on_is_not_forecast_as_a_new_one(tmp_path: Path, folder: str) -> None:
    (tmp_path / "run").mkdir()
    done = CliRunner().invoke(app, ["--resume", str(tmp_path / folder), "--dry-run"])
    assert done.exit_code == 1
    assert f"error: --resume is '{tmp_path / folder}', and --dry-run is about a new run" in done.output


def test_json_without_a_dry_run_is_refused() -> None:
    with pytest.raises(SettingsError, match="--json is what --dry-run prints"):
        SimulationSettings(as_json=True)


def test_a_forecast_off_by_more_than_a_quarter_is_named() -> None:
    took = Measured(bytes_up=100, round=2.0, total=10.0, memory=80.0)
    assert verdict(Comparison("", replace(took, round=2.4, memory=61.0), took)) == "within 25 %"
    assert verdict(Comparison("", replace(took, round=2.6, memory=59.0), took)) == "off: round, memory"
