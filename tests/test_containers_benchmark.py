"""The benchmark of containers takes the median of rounds, and leaves out the first, in which parties still start."""

from __future__ import annotations

import pytest

from benchmarks import containers


def test_steps_are_medians_of_the_rounds_after_the_first(tmp_path) -> None:
    history = tmp_path / "history.csv"
    rows = ["train_s,encrypt_s,add_s,decrypt_s,round_s", "9,9,9,9,99", "1,2,3,4,10", "2,2,3,4,20", "3,2,3,4,60"]
    history.write_text("\n".join(rows))
    found = containers.medians(history)
    assert found == {"train_s": 2, "encrypt_s": 2, "add_s": 3, "decrypt_s": 4, "round_s": 20}


def test_both_ways_are_run_turn_about_and_the_least_is_compared(monkeypatch, capsys) -> None:
    order = []

    def timed(way: str, seconds: list[float]):
        def run(rounds: int, _folder: object) -> containers.Steps:
            assert rounds == 4
            order.append(way)
            return dict.fromkeys(containers.STEPS, seconds.pop())

        return run

    monkeypatch.setattr(containers, "in_containers", timed("containers", [3.0, 6.0]))
    monkeypatch.setattr(containers, "in_processes", timed("processes", [2.0, 4.0]))
    containers.main(["--rounds", "4", "--repeats", "2"])
    assert order == ["containers", "processes"] * 2
    assert capsys.readouterr().out.count("1.50") == len(containers.STEPS)


def test_one_round_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        containers.main(["--rounds", "1"])
    assert "--rounds must be at least 2" in capsys.readouterr().err
