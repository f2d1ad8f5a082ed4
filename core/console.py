"""What every party's command line has in common: logs to standard error, errors in one sentence, ending on signals."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from types import FrameType
from typing import Any, NoReturn

from core.errors import GrokfedError
from core.plain_characters import print_on_any_console

INSECURE_STAMP = "INSECURE: keys below 2048 bits protect nothing; use this for demonstrations only"
PLAIN_STAMP = (
    "INSECURE: a run that encrypts nothing (scheme plain) is agreed to; the aggregator then reads every update"
)
PLAINTEXT_STAMP = "INSECURE: connections are not encrypted, and parties do not prove who they are"

UNBOUNDED_STAMP = "INSECURE: updates come without a proof of their bounds; one client can break a sum, or decide it"

CANNOT_PRINT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What is wrong where printing fails, and nothing names a file."""


def stamp(
    *,
    insecure_demo_keys: bool,
    allow_plain: bool = False,
    insecure_plaintext: bool = False,
    insecure_unbounded: bool = False,
) -> None:
    """Say on the output what was switched off."""
    for switched_off, sentence in (
        (insecure_demo_keys, INSECURE_STAMP),
        (allow_plain, PLAIN_STAMP),
        (insecure_plaintext, PLAINTEXT_STAMP),
        (insecure_unbounded, UNBOUNDED_STAMP),
    ):
        if switched_off:
            print(sentence, flush=True)


def help_of(doc: str | None) -> str:
    """Return a program's docstring as help, in which the examples keep their lines (\\b is click's mark for that)."""
    said, _, examples = (doc or "").strip().partition("\n\n")
    return f"{said}\n\n\b\n{examples}"


def configure_log(*, quiet: bool = False) -> None:
    """Log to standard error, one line an event: for people, or as JSON where GROKFED_LOG=json (as in containers).

    Never log keys or payloads.
    """
    import structlog  # where something is logged: it takes longer to import than some commands run

    as_json = os.environ.get("GROKFED_LOG") == "json"
    readable = structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        pad_event_to=0,
        # The default shows local variables, and with them keys and payloads.
        exception_formatter=structlog.dev.plain_traceback,
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True) if as_json else _stamp_second,
            *([structlog.processors.format_exc_info, structlog.processors.JSONRenderer()] if as_json else [readable]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING if quiet else logging.INFO),
        logger_factory=_StandardError,
    )


@contextmanager
def quiet_log(least: int = logging.WARNING) -> Iterator[None]:
    """Log nothing below a level for a while."""
    import structlog

    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(least))
    try:
        yield
    finally:
        structlog.configure(**before)


def _stamp_second(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event["timestamp"] = _time_of_day(int(time.time()))
    return event


@lru_cache(maxsize=1)  # of many lines a second
def _time_of_day(second: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(second))


class _StandardError:
    """A logger to standard error that ignores a full disk: a lost log line ends no round."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        with suppress(OSError):
            print(line, file=sys.stderr, flush=True)

    debug = info = warning = error = critical = exception = msg


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Show what goes wrong as one sentence and exit 1; end on Ctrl-C, SIGTERM and SIGHUP without a trace-back."""
    print_on_any_console()
    if threading.current_thread() is threading.main_thread():
        end_on_signals()
    try:
        yield
    except GrokfedError as error:
        _say(f"error: {error}")
        sys.exit(1)
    except (KeyboardInterrupt, asyncio.CancelledError):
        _end_quietly_from_now_on()
        _say("stopped")
        sys.exit(128 + signal.SIGINT)
    except OSError as error:
        _say_why(error)
        sys.exit(1)
    except Exception as error:
        if os.environ.get("GROKFED_DEBUG"):
            raise
        _say(f"error: an unexpected {type(error).__name__}, which is a fault of ours; GROKFED_DEBUG=1 shows where")
        sys.exit(1)


def _say_why(error: OSError) -> None:
    """Say what the system refused; nothing if that was to print, and the reader of what we print is gone."""
    if error.filename is not None:
        _say(f"error: {error.filename} cannot be used: {error.strerror}")
    elif isinstance(error, ConnectionError) and _no_one_reads():
        _print_nothing_more()
    elif error.errno in CANNOT_PRINT:
        _say(f"error: standard output cannot be used: {error.strerror}")
        _print_nothing_more()
    else:
        if os.environ.get("GROKFED_DEBUG"):
            raise error
        _say(f"error: {error.strerror or error}; GROKFED_DEBUG=1 shows where")


def _no_one_reads() -> bool:
    """Return whether standard output or standard error is a pipe or connection whose reader is gone."""
    looking = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # it may be no file
            looking.register(stream.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in looking.poll(0))


def _print_nothing_more() -> None:
    with suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def ending_signals() -> list[signal.Signals]:
    """Return the signals that end a program in order: SIGINT, SIGTERM, and SIGHUP unless `nohup` has it ignored."""
    hangs_up = signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *[signal.SIGHUP] * hangs_up]


def end_on_signals() -> None:
    """Raise SystemExit with 128 + its number when one of the ending signals comes; SIGINT is KeyboardInterrupt."""
    for number in ending_signals():
        if number != signal.SIGINT:
            signal.signal(number, _end_on_signal)


@contextmanager
def shielded_from_signals() -> Iterator[None]:
    """Let a short piece of work end although an ending signal comes, which is forgotten; a second one ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if came:
            leave_at_once(number)
        came.append(number)

    before = {number: signal.signal(number, note) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def leave_at_once(number: int) -> NoReturn:
    """End this process on a second signal, without clean-up of any kind."""
    _say("stopped")
    os._exit(128 + number)


def _end_quietly_from_now_on() -> None:
    """Let another Ctrl-C end the process without a trace-back, however far its end has come."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def _say(sentence: str) -> None:
    with suppress(OSError):
        print(sentence, file=sys.stderr, flush=True)


def _end_on_signal(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
