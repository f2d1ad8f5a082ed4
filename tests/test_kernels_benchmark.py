"""The benchmark of the kernels times the same work with each of them."""

from __future__ import annotations

import os

from benchmarks import kernels
from core.secagg import kernel


def test_each_kernel_that_runs_here_is_timed_beside_gmp_and_the_environment_is_left_as_it_was(monkeypatch):
    monkeypatch.setenv("GROKFED_KERNEL", "on")
    seconds = kernels.time_work(bits=128, repeats=1)
    usable = [each.name for each in kernel.KERNELS if kernel._library(each.library) is not None]
    assert len(seconds) == 7
    for times in seconds.values():
        assert list(times) == ["off", *usable]
        assert all(0 < time < 60 for time in times.values())
    assert os.environ["GROKFED_KERNEL"] == "on"


def test_it_prints_one_row_for_each_piece_of_work(capsys):
    kernels.main(["--bits", "128", "--repeats", "1"])
    printed = capsys.readouterr().out
    for words in ("secret exponent", "public exponent", "tables of one base", "products mod n²"):
        assert words in printed
