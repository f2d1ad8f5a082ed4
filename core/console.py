"""What every party's command line has in common: logs to standard error, errors in one sentence, ending on signals."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from core.errors import GrokfedError

INSECURE_STAMP = "INSECURE: keys below 2048 bits protect nothing; use this for demonstrations only"
PLAINTEXT_STAMP = (
    "INSECURE: connections are not encrypted; whoever sees the network sees who sends when, and the models"
)


def configure_log(*, quiet: bool = False) -> None:
    """Log to standard error, one line an event, coloured on a terminal. Never log keys or payloads."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


@contextmanager
def sentences() -> Iterator[None]:
    """Show what goes wrong as one sentence and exit 1; end on Ctrl-C and on SIGTERM without a trace-back."""
    signal.signal(signal.SIGTERM, _end_on_signal)
    try:
        yield
    except GrokfedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        # Whoever read our output went away; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _end_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
