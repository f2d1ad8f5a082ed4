"""What a run leaves on the disk: every round at once, nothing written over, and what there is when it is stopped."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from manual_parties import ManualParties, play
from parties import Parties
from test_simulation import QUICK

from core.new_paths import new_file, new_folder
from results.runs import read_run
from simulation.program import Program

pytestmark = pytest.mark.slow

PLAIN = (*QUICK, "--scheme", "plain", "--holders", "1")


def rows(folder: Path) -> list[int]:
    return [json.loads(line)["round"] for line in (folder / "history.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------------------------------------ while it runs


@pytest.fixture
def after_one_round(parties: Parties, manual: ManualParties) -> tuple[Program, str]:
    """A server that has completed the first of three rounds, and its address."""
    server, address = parties.server("--clients", "2", "--rounds", "3")
    manual.holders(address)
    clients = manual.clients(address, 1, 2)
    play(clients)
    for client in clients:
        assert client.until("round_closed").completed
    return server, address


def test_a_round_is_in_the_history_when_the_clients_hear_that_it_is_over(
    parties: Parties, after_one_round: tuple[Program, str]
) -> None:
    assert rows(parties.folder / "out") == [1]


def test_it_is_still_there_when_the_aggregator_is_killed_and_goes_on_where_it_was(
    parties: Parties, manual: ManualParties, after_one_round: tuple[Program, str]
) -> None:
    server, address = after_one_round
    server.kill()
    assert rows(parties.folder / "out") == [1]
    again, _ = parties.server("--clients", "2", "--rounds", "3", port=int(address.rpartition(":")[2]))
    again.process.send_signal(signal.SIGTERM)
    again.end()
    assert rows(parties.folder / "out") == [1]
    assert not (parties.folder / "out-2").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_the_aggregator_leaves_history_picture_and_model_of_the_completed_rounds(
    parties: Parties, after_one_round: tuple[Program, str], number: signal.Signals
) -> None:
    after_one_round[0].process.send_signal(number)
    code, said = after_one_round[0].end()
    assert code == 130
    assert "stopped after 1 of 3 rounds; the results are in" in said
    assert "Traceback" not in said
    out = parties.folder / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {
        "history.csv",
        "history.jsonl",
        "history.png",
        "model.npz",
        "record.jsonl",
        "report.md",
        "run.json",
    }
    run = read_run(out)
    assert (run.state, run.way, run.rounds_done, run.rounds) == ("interrupted", "server", 1, 3)
    assert run.record["data"] == {}, "neither keys nor databases are read for their digests"
    assert rows(out) == [1]
    assert "it was stopped after 1 of 3 rounds" in (out / "report.md").read_text()


# ------------------------------------------------------------------------------------------------ nothing is written over


def test_a_second_run_of_the_aggregator_gets_a_folder_of_its_own(parties: Parties) -> None:
    out = parties.folder / "out"
    out.mkdir()
    (out / "history.jsonl").write_text('{"round": 1, "accuracy": 0.5}\n')
    server, _ = parties.server("--clients", "2")
    server.process.send_signal(signal.SIGINT)
    assert f"results go to {out}-2" in server.end()[1]
    assert (out / "history.jsonl").read_text() == '{"round": 1, "accuracy": 0.5}\n'


def test_so_does_a_second_simulation_with_the_same_out(parties: Parties, tmp_path: Path) -> None:
    first, second = (parties.start("simulation", *PLAIN, "--rounds", "1", "--out", tmp_path / "a") for _ in range(2))
    for each in (first, second):
        code, said = each.end()
        assert code == 0, said
    assert rows(tmp_path / "a") == rows(tmp_path / "a-2") == [1]


def test_a_folder_that_is_taken_gives_the_next_number(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    assert new_folder(tmp_path / "a") == tmp_path / "a", "an empty folder is not taken"
    assert new_folder(tmp_path / "a") == tmp_path / "a-2", "one that this process has claimed is"
    (tmp_path / "b.1").mkdir()
    (tmp_path / "b.1" / "history.csv").touch()
    assert new_folder(tmp_path / "b.1") == tmp_path / "b.1-2"


def test_a_file_that_is_there_gives_the_next_number(tmp_path: Path) -> None:
    assert new_file(tmp_path / "model.npz") == tmp_path / "model.npz"
    (tmp_path / "model.npz").touch()
    assert new_file(tmp_path / "model.npz") == tmp_path / "model-2.npz"


# ------------------------------------------------------------------------------------------------ the simulation, stopped


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_simulation_that_is_stopped_keeps_what_there_is(
    parties: Parties, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    simulation = parties.start("simulation", *PLAIN, "--rounds", "100", "--out", tmp_path)
    simulation.hear("round 2 of 100:")
    simulation.process.send_signal(number)
    ended, said = simulation.end()
    assert ended == code
    assert "of 100 rounds; their history, picture and model are in" in said
    assert "Traceback" not in said
    assert {"history.csv", "history.jsonl", "history.png", "model.npz"} <= {path.name for path in tmp_path.iterdir()}
    assert rows(tmp_path)[:2] == [1, 2]


def test_a_second_ctrl_c_ends_it_at_once_and_shows_no_trace_back(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *PLAIN, "--rounds", "100", "--out", tmp_path)
    simulation.hear("round 1 of 100:")
    for _ in range(2):
        simulation.process.send_signal(signal.SIGINT)
    code, said = simulation.end()
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def test_a_second_ctrl_c_to_an_aggregator_shows_no_trace_back(
    parties: Parties, after_one_round: tuple[Program, str]
) -> None:
    for _ in range(2):
        after_one_round[0].process.send_signal(signal.SIGINT)
    code, said = after_one_round[0].end()
    assert code in (130, -signal.SIGINT)
    assert "Traceback" not in said
