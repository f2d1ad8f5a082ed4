"""`python -m simulation` as a user types it: real processes, real gRPC, small keys."""

from __future__ import annotations

import csv
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from parties import Parties, processes_of, run_here

from server.results import ANSWERS
from simulation.processes import ROOT
from simulation.program import ENVIRONMENT

HEADER = (
    "round,contributors,accuracy,precision,false_alarm_rate,loss,bytes_up_per_client,train_s,encrypt_s,add_s,"
    "decrypt_s,round_s,exposure,insecure,"
    "true_positives,false_positives,false_negatives,true_negatives,"
    "cohort_true_positives,cohort_false_positives,cohort_false_negatives,cohort_true_negatives,"
    "repeats,repeats_correct,wordless,wordless_correct"
)
QUICK = ("--clients", "3", "--rounds", "2", "--key-bits", "256", "--insecure-demo-keys")
LONG = (*QUICK, "--rounds", "100")
PARTIES = 7
"""An aggregator, three key holders, three clients."""


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


def test_precision_and_false_alarms_follow_from_the_counts_in_the_same_row(encrypted: tuple[Path, str]) -> None:
    folder, said = encrypted
    for line in (folder / "history.jsonl").read_text().splitlines():
        row = json.loads(line)
        true, false = row["true_positives"], row["false_positives"]
        assert row["precision"] == pytest.approx(true / (true + false), abs=1e-6)
        assert row["false_alarm_rate"] == pytest.approx(false / (false + row["true_negatives"]), abs=1e-6)
        assert row["accuracy"] == pytest.approx((true + row["true_negatives"]) / 1000, abs=1e-6)
        assert sum(row[f"cohort_{name}"] for name in ANSWERS) == 3 * 300
        assert f"precision {row['precision']:.2%}, false alarms {row['false_alarm_rate']:.2%}" in said
    assert "(false alarms)" in (folder / "report.md").read_text()
    assert max(map(len, said[said.index("round clients accuracy") :].splitlines()[:4])) <= 80


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
    ("arguments", "stamp"),
    [
        (("--scheme", "plain", "--holders", "1"), "NOTHING IS ENCRYPTED"),
        (("--scheme", "damgard-jurik", "--threshold", "3"), "Damgård-Jurik, 256 bits"),
        (("--holders", "1", "--insecure-plaintext"), "INSECURE: connections are not encrypted"),
    ],
)
def test_no_scheme_no_number_of_holders_and_no_tls_changes_the_model(
    encrypted: tuple[Path, str], parties: Parties, tmp_path: Path, arguments: tuple[str, ...], stamp: str
) -> None:
    """To the bit: this is what the twin that encrypts nothing is for."""
    code, said = run(parties, *QUICK, "--seed", "7", *arguments, "--out", tmp_path)
    assert code == 0, said
    assert stamp in said
    one, other = np.load(encrypted[0] / "model.npz"), np.load(tmp_path / "model.npz")
    assert one.files == other.files
    for name in one.files:
        assert one[name].tobytes() == other[name].tobytes()
    assert any(one[name].any() for name in one.files)


@pytest.mark.slow
def test_another_seed_gives_another_model(encrypted: tuple[Path, str], parties: Parties, tmp_path: Path) -> None:
    run(parties, *QUICK, "--seed", "8", "--scheme", "plain", "--holders", "1", "--out", tmp_path)
    one, other = np.load(encrypted[0] / "model.npz"), np.load(tmp_path / "model.npz")
    assert any(one[name].tobytes() != other[name].tobytes() for name in one.files)


def test_ctrl_c_ends_everything(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *LONG, "--out", tmp_path)
    simulation.hear("round 1 of 100:")
    assert len(processes_of(tmp_path)) >= 1 + PARTIES, (
        "the simulation, all parties, perhaps the dealer of the round keys"
    )
    simulation.process.send_signal(signal.SIGINT)
    code, said = simulation.end()
    assert code == 130
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_not_even_kill_9_leaves_parties_behind(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *LONG, "--out", tmp_path)
    simulation.hear("round 1 of 100:")
    descriptors = [os.pidfd_open(pid) for pid in _children_of(simulation.process.pid)]
    assert len(descriptors) >= PARTIES, "and perhaps the dealer of the round keys"
    simulation.kill()
    for descriptor in descriptors:
        _wait_for_end(descriptor)
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_not_even_kill_9_of_make_leaves_parties_behind(tmp_path: Path) -> None:
    arguments = shlex.join([*LONG, "--out", str(tmp_path)])
    make = subprocess.Popen(
        ["make", "--old-file=setup", "simulate", f"PY={sys.executable}", f"ARGS={arguments}"],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert make.stdout is not None
    assert any("round 1 of 100:" in line for line in make.stdout)
    descriptors = [os.pidfd_open(pid) for pid in _children_of(make.pid)]
    assert len(descriptors) > PARTIES
    make.kill()
    make.wait()
    for descriptor in descriptors:
        _wait_for_end(descriptor)
    assert make.stdout.read().endswith(f"their history, picture and model are in {tmp_path}\n")
    make.stdout.close()


def test_when_the_aggregator_dies_it_ends_with_a_sentence(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *LONG, "--holders", "1", "--out", tmp_path)
    simulation.hear("round 1 of 100:")
    os.kill(_pid_of(tmp_path, "server"), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 1
    assert "the aggregator died: it was ended by signal SIGKILL" in said
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


@pytest.mark.slow
def test_one_key_holder_of_four_can_be_done_without_but_not_two(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *LONG, "--out", tmp_path)
    simulation.hear("round 1 of 100:")
    os.kill(_pid_of(tmp_path, "keyholder-1"), signal.SIGKILL)
    simulation.hear("keyholder-1 is gone: it was ended by signal SIGKILL")
    for _ in range(3):  # whichever is asked first
        simulation.hear(r"round \d+ of 100: 3 clients")
    os.kill(_pid_of(tmp_path, "keyholder-3"), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 1
    assert "error: 2 of 4 key holders are left, and 3 are needed: it was ended by signal SIGKILL" in said
    assert "Traceback" not in said
    assert processes_of(tmp_path) == []


def test_when_a_client_dies_the_others_go_on_and_the_holders_report_what_that_tells(
    parties: Parties, tmp_path: Path
) -> None:
    simulation = parties.start(
        "simulation",
        *LONG,
        "--holders",
        "1",
        "--rounds",
        "12",
        "--round-seconds",
        "2",
        "--min-cohort",
        "2",
        "--out",
        tmp_path,
    )
    simulation.hear("round 1 of 12: 3 clients")
    os.kill(_pid_of(tmp_path, "client-3"), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 0, said
    assert "client-3 is gone: it was ended by signal SIGKILL" in said
    assert "round 12 of 12: 2 clients" in said
    assert "tells what 1 of the clients sent (client-3)" in (tmp_path / "logs" / "keyholder-1.log").read_text()


@pytest.mark.slow
def test_when_too_few_clients_are_left_it_ends_with_a_sentence(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start("simulation", *LONG, "--holders", "1", "--min-cohort", "3", "--out", tmp_path)
    simulation.hear("round 1 of 100:")
    os.kill(_pid_of(tmp_path, "client-2"), signal.SIGKILL)
    code, said = simulation.end()
    assert code == 1
    assert "2 of 3 clients are left; a round needs 3" in said


@pytest.mark.slow
def test_when_the_run_fails_its_own_reason_is_what_one_reads(parties: Parties, tmp_path: Path) -> None:
    simulation = parties.start(
        "simulation",
        *LONG,
        "--holders",
        "1",
        "--min-cohort",
        "3",
        "--round-seconds",
        "1",
        "--insecure-unbounded",
        "--out",
        tmp_path,
    )
    simulation.hear("round 1 of 100:")
    os.kill(_pid_of(tmp_path, "client-2"), signal.SIGSTOP)
    code, said = simulation.end()
    assert code == 1
    assert re.search(r"error: the run failed: round \d+ was abandoned 3 times", said)
    assert "died" not in said
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--clients", "0"), "--clients is 0; expected at least 1 client"),
        (("--clients", "1"), "at least 2 are needed"),
        (("--rounds", "0"), "--rounds is 0"),
        (("--key-bits", "1024"), "1024 bits can be broken"),
        (("--key-bits", "100", "--insecure-demo-keys"), "--key-bits is 100; expected 128 to 8192 bits"),
        (("--task", "chess"), "chess"),
        (("--seed", "-1"), "--seed is -1"),
        (("--rounds", "10000000"), "expected 1 to 1000000 rounds"),
        (("--partition", "by-colour"), "expected iid, grouped, or dirichlet:ALPHA"),
        (("--partition", "grouped"), "for mail expected iid or dirichlet:ALPHA"),
        (("--min-cohort", "0"), "--min-cohort is 0"),
        (("--round-seconds", "inf"), "--round-seconds is inf"),
        (("--data", "nowhere/at-all"), "nowhere/at-all"),
        (("--out", "/dev/null/x"), "/dev/null/x"),
        (("--threshold", "5"), "5 of 4 key holders"),
        (("--holders", "0"), "--holders is 0; expected 1 to 10 key holders"),
    ],
)
def test_options_that_cannot_work_are_one_sentence(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], sentence: str
) -> None:
    code, said = run_here(capsys, "simulation", *arguments)
    assert code == 1
    assert sentence in said
    assert "Traceback" not in said


def _children_of(pid: int) -> list[int]:
    """The processes that this one has started, and those that they have."""
    children = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [*children, *(below for child in children for below in _children_of(child))]


def _wait_for_end(descriptor: int) -> None:
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
