"""Running where an event loop runs already, or in a thread, as notebooks do."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from simulation.__main__ import main
from simulation.anywhere import run_anywhere


async def where() -> threading.Thread:
    await asyncio.sleep(0)
    return threading.current_thread()


async def test_a_coroutine_is_run_to_its_end_where_a_loop_runs_already() -> None:
    assert run_anywhere(where()) is not threading.current_thread()


def test_it_runs_in_this_thread_where_none_does() -> None:
    assert run_anywhere(where()) is threading.main_thread()


async def test_what_goes_wrong_is_raised() -> None:
    async def wrong() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_anywhere(wrong())


async def test_a_whole_simulation_runs_in_a_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(clients=2, rounds=1, key_bits=256, insecure_demo_keys=True, out=tmp_path)
    assert "test accuracy" in capsys.readouterr().out
    assert (tmp_path / "model.npz").exists()


def test_and_in_a_thread(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    thread = threading.Thread(
        target=main, kwargs={"clients": 2, "rounds": 1, "key_bits": 256, "insecure_demo_keys": True, "out": tmp_path}
    )
    thread.start()
    thread.join()
    assert (tmp_path / "model.npz").exists()


@pytest.mark.parametrize(("number", "ending"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_reaches_the_caller_and_shows_nothing_of_the_loop(
    number: signal.Signals, ending: type[BaseException]
) -> None:
    cleaned_up = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            await asyncio.Event().wait()
        finally:
            cleaned_up.append(True)

    with pytest.raises(ending) as raised:
        run_anywhere(work())
    assert cleaned_up
    assert raised.value.args == (() if ending is KeyboardInterrupt else (143,))
    assert raised.value.__context__ is None
    assert not [entry for entry in raised.traceback if "asyncio" in str(entry.path)]
