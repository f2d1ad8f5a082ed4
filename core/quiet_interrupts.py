"""Let Ctrl-C end a program without a trace-back also while it is imported; imported by commands, before anything long.

Afterwards `core.console.reporting_errors` does so, with an exit code of its own.
"""

import sys
from types import TracebackType

before = sys.excepthook


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Show what ends the program; of Ctrl-C say only that it was stopped."""
    if issubclass(kind, KeyboardInterrupt):
        print("stopped", file=sys.stderr)
    else:
        before(kind, error, trace)


sys.excepthook = show
