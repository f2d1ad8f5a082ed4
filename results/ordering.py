"""A process that runs simulations on order, one after the other (simulation/orders.py)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from core.errors import RunFailedError
from results.machine import ROOT


class Orders:
    """The process, started at the first order. Leave it as a context manager, which ends it, and the run it is at.

    Args:
        folder: that relative paths in settings are meant from.
        quiet: whether it prints nothing of its runs.
    """

    def __init__(self, folder: Path, *, quiet: bool = False) -> None:
        self._folder = folder
        self._quiet = quiet
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Orders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, way: str, settings: Mapping[str, Any]) -> Path:
        """Run a simulation, and return the folder of its results. Raises RunFailedError with its own sentence."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(
                json.dumps({"way": way, "settings": settings, "quiet": self._quiet}, allow_nan=False) + "\n"
            )
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, ValueError):
            line = ""
        if not line:
            self.close()
            raise RunFailedError("its process ended before the run was over")
        answer = json.loads(line)
        if "error" in answer:
            raise RunFailedError(str(answer["error"]))
        return self._folder / str(answer["folder"])

    def close(self) -> None:
        """End the process; a run that it is at becomes an interrupted one."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def _started(self) -> subprocess.Popen[str]:
        if self._process is None:
            path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "simulation.orders"],
                cwd=self._folder,
                env={**os.environ, "PYTHONPATH": path, "GROKFED_PARENT": str(os.getpid())},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,  # Ctrl-C is for the command alone, which then ends this process in order
            )
        return self._process
