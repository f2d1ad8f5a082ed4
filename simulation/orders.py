"""Run simulations whose settings come on standard input, one JSON object a line, one after the other.

Started by `results repeat` and by sweeps: a line {"way": ..., "settings": {...}} is answered by a line {"folder": ...}
or {"error": ...} on standard output; what people see goes to standard error.
"""

from __future__ import annotations

import core.one_thread  # isort: skip  # noqa: F401

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from core.console import end_on_signals
from core.errors import GrokfedError
from simulation.parent import end_with_parent
from simulation.running import run
from simulation.values import given_for


def main() -> None:
    """Answer every line."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever prints does so for people
    end_on_signals()
    for line in sys.stdin:
        order = json.loads(line)
        print(json.dumps(_answer(order), allow_nan=False), file=answers, flush=True)


def _answer(order: Mapping[str, Any]) -> dict[str, str]:
    quiet = bool(order.get("quiet"))
    console = Console(stderr=True, quiet=quiet, width=None if sys.stderr.isatty() else 80)
    try:
        return {"folder": str(run(console, given_for(order["way"], order["settings"]), way=order["way"]))}
    except GrokfedError as error:
        return {"error": str(error)}
    except OSError as error:
        return {"error": f"{error.filename or 'a file'} cannot be used: {error.strerror}"}


if __name__ == "__main__":
    end_with_parent()
    main()
