"""How programs end: on signals, on Ctrl-C while they start, and when the system refuses something."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.console import ending_signals, reporting_errors, shielded_from_signals
from simulation.processes import ROOT

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in HANDLED}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def ended_by(error: BaseException) -> int:
    with pytest.raises(SystemExit) as end, reporting_errors():
        raise error
    assert isinstance(end.value.code, int)
    return end.value.code


# ------------------------------------------------------------------------------------------------ what the system refuses


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "error: Too many open files; GROKFED_DEBUG=1 shows where\n"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "error: Broken pipe; GROKFED_DEBUG=1 shows where\n"),
        (OSError(errno.ENOENT, "no such file", "/data"), "error: /data cannot be used: no such file\n"),
    ],
)
def test_what_has_nothing_to_do_with_the_output_is_not_blamed_on_it(
    error: OSError, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert ended_by(error) == 1
    assert capfd.readouterr().err == said


PRINTING = """
import os, sys
from core.console import reporting_errors
with reporting_errors():
    {print}
    raise SystemExit(7)
"""


@pytest.mark.parametrize(
    ("output", "said"),
    [("unread", b""), ("full", b"error: standard output cannot be used: No space left on device\n")],
)
def test_output_that_no_one_reads_ends_a_program_silently_and_a_full_disk_with_a_sentence(
    output: str, said: bytes
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with Path("/dev/full").open("wb") as full:
        program = PRINTING.format(print="print('a line', flush=True)")
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            stdout=full if output == "full" else writer,
            stderr=subprocess.PIPE,
            timeout=60,
        )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, said)


# ------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_program_in_order_with_128_and_its_number(number: signal.Signals) -> None:
    with pytest.raises(SystemExit) as end, reporting_errors():
        os.kill(os.getpid(), number)
    assert end.value.code == 128 + number


def test_a_program_started_with_nohup_goes_on_when_its_terminal_closes() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with reporting_errors():
        os.kill(os.getpid(), signal.SIGHUP)
    assert ending_signals() == [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_waits_for_shielded_work_and_is_forgotten(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with shielded_from_signals():
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_second_signal_ends_shielded_work_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[int] = []
    monkeypatch.setattr("core.console.leave_at_once", left.append)
    with shielded_from_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        assert left == []
        os.kill(os.getpid(), signal.SIGINT)
    assert left == [signal.SIGINT]


@pytest.mark.parametrize("program", ["simulation", "results", "server"])
def test_ctrl_c_while_a_program_is_imported_shows_no_trace_back(tmp_path: Path, program: str) -> None:
    """A module that the program imports sends it the signal."""
    (tmp_path / "typer.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"stopped\n")
