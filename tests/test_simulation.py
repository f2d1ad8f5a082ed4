"""`python -m simulation` as a user types it: real processes, real gRPC, small keys."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from pathlib import Path

import numpy as np
import pytest
from parties import Parties, processes_of

HEADER = "round,contributors,accuracy,loss,bytes_up_per_client,train_s,encrypt_s,add_s,decrypt_s"
QUICK = ("--clients", "3", "--rounds", "2", "--key-bits", "256", "--insecure-demo-keys")


def run(parties: Parties, *arguments: str | Path) -> tuple[int, str]:
    return parties.start("simulation", *arguments).end()


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One finished encrypted run: its folder and what it said."""
    folder = tmp_path_factory.mktemp("encrypted")
    parties = Parties(folder)
    code, said = run(parties, *QUICK, "--seed", "7", "--central", "--out", folder)
    parties.close()
    assert code == 0, said
    return folder, said


def test_the_history_has_one_row_a_round(encrypted: tuple[Path, str]) -> None:
    folder, _ = encrypted
    text = (folder / "history.csv").read_text()
    assert text.splitlines()[0] == HEADER
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["round"] for row in rows] == ["1", "2"]
    assert {row["contributors"] for row in rows} == {"3"}
    lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [{name: str(value) for name, value in line.items()} for line in lines] == rows


def test_it_learns_and_says_so(encrypted: tuple[Path, str]) -> None:
    folder, said = encrypted
    last = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))[-1]
    shown = re.search(r"test accuracy ([\d.]+)%", said)
    assert shown is not None
    assert float(shown.group(1)) == pytest.approx(100 * float(last["accuracy"]), abs=0.01)
    assert float(last["accuracy"]) > 0.8


def test_it_is_compared_with_all_mail_in_one_place(encrypted: tuple[Path, str]) -> None:
    shown = re.search(r"all mail in one place: ([\d.]+)% after 2 passes", encrypted[1])
    assert shown is not None
    assert 85 < float(shown.group(1)) < 99.5


def test_insecure_keys_are_stamped_on_the_output(encrypted: tuple[Path, str]) -> None:
    assert "INSECURE" in encrypted[1]


def test_the_picture_is_a_picture(encrypted: tuple[Path, str]) -> None:
    assert (encrypted[0] / "history.png").read_bytes().startswith(b"\x89PNG")


def test_no_process_is_left_behind(encrypted: tuple[Path, str]) -> None:
    assert processes_of(encrypted[0]) == []


@pytest.mark.parametrize(
    ("scheme", "stamp"), [("plain", "NOTHING IS ENCRYPTED"), ("damgard-jurik", "Damgård-Jurik, 256 bits")]
)
def test_every_scheme_gives_the_same_model_bit_for_bit(
    encrypted: tuple[Path, str], parties: Parties, tmp_path: Path, scheme: str, stamp: str
) -> None:
    code, said = run(parties, *QUICK, "--seed", "7", "--scheme", scheme, "--out", tmp_path)
    assert code == 0, said
    assert stamp in said
    one, other = np.load(encrypted[0] / "model.npz"), np.load(tmp_path / "model.npz")
    assert one.files == other.files
    for name in one.files:
        assert one[name].tobytes() == other[name].tobytes()
    assert any(one[name].any() for name in one.files)


def test_another_seed_gives_another_model(encrypted: tuple[Path, str], parties: Parties, tmp_path: Path) -> None:
    run(parties, *QUICK, "--seed", "8", "--scheme", "plain", "--out", tmp_path)
    one, other = np.load(encrypted[0] / "model.npz"), np.load(tmp_path / "model.npz")
    assert any(one[name].tobytes() != other[name].tobytes() for name in one.files)


def test_ctrl_c_ends_everything(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *QUICK, "--rounds", "1000", "--out", tmp_path)
    simulation.hear("round 1 of 1000")
    assert len(processes_of(tmp_path)) == 6, "the simulation, and five parties"
    simulation.process.send_signal(signal.SIGINT)
    code, said = simulation.end()
    assert code == 130
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


def test_not_even_kill_9_leaves_parties_behind(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *QUICK, "--rounds", "1000", "--out", tmp_path)
    simulation.hear("round 1 of 1000")
    children = list(_children_of(simulation.process.pid))
    descriptors = [os.pidfd_open(pid) for pid in children]
    simulation.kill()
    for descriptor in descriptors:
        _wait_for_end(descriptor)
    assert len(children) == 5
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("victim", "sentence"), [("keyholder", "the key holder died"), ("server", "the aggregator died")]
)
def test_when_a_party_dies_that_nobody_can_do_without_it_ends_with_a_sentence(
    parties: Parties, tmp_path: Path, victim: str, sentence: str
) -> None:
    simulation = parties.start("simulation", *QUICK, "--rounds", "1000", "--out", tmp_path)
    simulation.hear("round 1 of 1000")
    os.kill(_pid_of(tmp_path, victim), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 1
    assert sentence in said
    assert "SIGKILL" in said
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


def test_when_a_client_dies_the_others_go_on(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start(
        "simulation", *QUICK, "--rounds", "40", "--round-seconds", "3", "--min-cohort", "2", "--out", tmp_path
    )
    simulation.hear("round 1 of 40: 3 clients")
    os.kill(_pid_of(tmp_path, "client-3"), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 0, said
    assert "client-3 is gone: it was ended by signal SIGKILL" in said
    assert "round 40 of 40: 2 clients" in said


def test_when_too_few_clients_are_left_it_ends_with_a_sentence(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *QUICK, "--rounds", "1000", "--min-cohort", "3", "--out", tmp_path)
    simulation.hear("round 1 of 1000")
    os.kill(_pid_of(tmp_path, "client-2"), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 1
    assert "2 of 3 clients are left; a round needs 3" in said


def test_when_the_run_fails_its_own_reason_is_what_one_reads(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start(
        "simulation", *QUICK, "--rounds", "1000", "--min-cohort", "3", "--round-seconds", "1", "--out", tmp_path
    )
    simulation.hear("round 1 of 1000")
    os.kill(_pid_of(tmp_path, "client-2"), signal.SIGSTOP)
    code, said = simulation.end()
    assert code == 1
    assert re.search(r"error: the run failed: round \d+ was abandoned 3 times", said)
    assert "died" not in said
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--clients", "0"), "the number of clients is 0"),
        (("--clients", "1"), "at least 2 are needed"),
        (("--rounds", "0"), "the number of rounds is 0"),
        (("--key-bits", "1024"), "1024 bits can be broken"),
        (("--key-bits", "100", "--insecure-demo-keys"), "must be a multiple of 16"),
        (("--task", "chess"), "chess"),
        (("--seed", "-1"), "the seed is -1"),
        (("--rounds", "10000000"), "at most 1000000"),
        (("--partition", "by-colour"), "expected iid, grouped, or dirichlet:ALPHA"),
        (("--partition", "dirichlet:0.5"), "--partition deals out one file"),
        (("--min-cohort", "0"), "the minimum cohort is 0"),
        (("--round-seconds", "inf"), "round_seconds is inf"),
        (("--data", "nowhere/at-all"), "nowhere/at-all"),
        (("--out", "/dev/null/x"), "/dev/null/x"),
    ],
)
def test_options_that_cannot_work_are_one_sentence(parties: Parties, arguments: tuple[str, ...], sentence: str) -> None:
    code, said = run(parties, *arguments)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


def _children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for_end(descriptor: int) -> None:
    import select

    assert select.select([descriptor], [], [], 20)[0], "a process outlived the simulation"
    os.close(descriptor)


def _pid_of(folder: Path, name: str) -> int:
    """The process whose log is folder/logs/name.log."""
    log = (folder / "logs" / f"{name}.log").resolve()
    for entry in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if entry.resolve() == log:
                return int(entry.parts[2])
        except OSError:
            continue
    raise AssertionError(f"no process writes to {log}")
