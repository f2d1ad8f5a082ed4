"""A task of a user's own, from a file or a package on this machine: FILE:NAME or package.module:NAME.

A local file is code of its owner, and is run as such. Only what was typed on this machine gets here: names that come
over the network are looked up among the project's own tasks, and compared with the one that a party was started with.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from signal import SIGHUP, SIGTERM
from types import ModuleType
from typing import Any

from core.errors import GrokfedError, SettingsError, TaskError
from core.tasks import TASKS, get_task
from core.tasks.task import Source, Task
from core.tasks.vector import VectorTask

LOADED: list[ModuleType] = []
"""The modules that tasks were found in: a cluster has to be given them, because it has not the file."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
LONGEST_NAME = 64
BY_SIGNAL = (128 + SIGTERM, 128 + SIGHUP)
"""Codes that a program is ended with from outside, which may come while own code runs."""
FUNCTIONS = ("initial", "update", "evaluate")
"""What an object must have to be taken for a task of the second form."""


def load_task(said: str) -> Task:
    """Return the task that somebody named on this machine: one of the project's, or an own one.

    Raises SettingsError if there is no such task, file or name; TaskError if the file cannot be run, or has no task.
    """
    if ":" not in said and not _is_file(said):
        return get_task(said)
    where, name = _parts(said)
    module, files = _module(where)
    LOADED.append(module)
    found = _found(module, name, where)
    if any(found is each for each in TASKS.values()):
        return get_task(found.name)
    task = _complete(_as_task(found, name, where))
    if task.name in TASKS:
        raise TaskError(f"the task of {said} has the name {task.name!r}, which is one of the project's; choose another")
    source = Source(str(module.__file__), _digest(files))
    return _guarded(replace(task, source=source))


def faithful(said: str) -> str:
    """Return a task's name so that another process finds the same file, whatever folder it runs in."""
    if ":" not in said:
        return said
    where, name = _parts(said)
    return f"{Path(where).expanduser().resolve()}:{name}" if _is_file(where) else said


def package_digest(said: str) -> str | None:
    """Return SHA-256 of the files of the package that an own task is in; None if it is in a FILE, or the project's.

    Raises SettingsError or TaskError if there is no such task.
    """
    if ":" not in said or _is_file(_parts(said)[0]):
        return None
    source = load_task(said).source
    return None if source is None else source.digest.hex()


# ------------------------------------------------------------------------------------------------ finding it


def _parts(said: str) -> tuple[str, str]:
    where, _, name = said.rpartition(":")
    if not where or not name.isidentifier():
        raise SettingsError(f"the task is {said!r}; expected a name, FILE.py:NAME or package.module:NAME")
    return where, name


def _is_file(where: str) -> bool:
    return where.endswith(".py") or "/" in where or "\\" in where


def _module(where: str) -> tuple[ModuleType, list[Path]]:
    """Run a file or import a module; return it with the files that make the task."""
    if not _is_file(where):
        return _imported(where)
    path = Path(where).expanduser().resolve()
    if not path.is_file():
        raise SettingsError(f"there is no file {where}")
    name = f"own_task_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"{where} is no Python file; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that nothing in it hides a module of the project
    with _naming(where):
        spec.loader.exec_module(module)
    return module, [path]


def _imported(name: str) -> tuple[ModuleType, list[Path]]:
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # parties are started without it
    with _naming(name):
        try:
            known = importlib.util.find_spec(name)
        except (ImportError, ValueError):
            known = None
    if known is None or known.origin is None:
        raise SettingsError(f"there is no module {name} here; expected FILE.py:NAME or package.module:NAME")
    with _naming(known.origin):
        module = importlib.import_module(name)
    path = Path(known.origin)
    top = sys.modules[name.partition(".")[0]]
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    return module, sorted(file for folder in folders for file in folder.rglob("*.py")) or [path]


def _found(module: ModuleType, name: str, where: str) -> Any:
    if not hasattr(module, name):
        tasks = [each for each, value in vars(module).items() if _looks_like_one(value) and not each.startswith("_")]
        there = f"it has {', '.join(tasks)}" if tasks else "it has no task"
        raise SettingsError(f"there is no {name} in {where}; {there}")
    return getattr(module, name)


def _looks_like_one(value: Any) -> bool:
    if value is Task or value is VectorTask:
        return False
    return isinstance(value, Task) or all(hasattr(value, function) for function in FUNCTIONS)


def _as_task(found: Any, name: str, where: str) -> Task:
    """Return what was found as a task: it is one, or an object or class with the three functions of the second form."""
    if isinstance(found, Task):
        task = found
    else:
        if isinstance(found, type):
            with _naming(where):
                found = found()
        given = {each.name: getattr(found, each.name) for each in fields(VectorTask) if hasattr(found, each.name)}
        for missing in (each for each in (*FUNCTIONS, "clip") if each not in given):
            raise TaskError(
                f"{name} of {where} has no `{missing}`; a task is a Task, or has initial, update, evaluate and clip "
                "(docs/own-task.md)"
            )
        task = VectorTask(**{"name": name.lower().replace("_", "-")} | given)
    if isinstance(task.name, str) and len(task.name) > LONGEST_NAME:
        raise TaskError(
            f"the task {name} of {where} has a name of {len(task.name)} characters, {task.name[:20]!r}...; at most "
            f"{LONGEST_NAME} are possible"
        )
    if not isinstance(task.name, str) or not NAME.fullmatch(task.name):
        raise TaskError(f"the task {name} of {where} has the name {task.name!r}; expected letters, digits, . _ and -")
    return task


def _complete(task: Task) -> Task:
    """Return the task with the usual function in place of each None: `read=None` is to leave it out."""
    usual = {each.name: each.default for each in fields(task) if callable(each.default)}
    return replace(task, **{name: value for name, value in usual.items() if getattr(task, name) is None})


def _digest(files: list[Path]) -> bytes:
    """Return SHA-256 of the source, in which the kind of line ends does not count."""
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes().replace(b"\r\n", b"\n")
        total.update(len(content).to_bytes(8, "big") + content)
    return total.digest()


# ------------------------------------------------------------------------------------------------ its mistakes


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say what goes wrong in a file of a user's own, and in which line, in one sentence."""
    try:
        yield
    except SyntaxError as error:
        raise TaskError(f"{error.filename or where}, line {error.lineno}: {error.msg}") from error
    except GrokfedError as error:
        raise TaskError(f"{where}{_line(error, where)}: {error}") from error
    except SystemExit as error:
        raise TaskError(f"{where}{_line(error, where)}: it ends the program, instead of making a task") from error
    except Exception as error:
        raise TaskError(f"{where}{_line(error, where)}: {type(error).__name__}: {error}") from error


def _line(error: BaseException, where: str) -> str:
    """Return the innermost line of the file that an exception came through; empty if there is none."""
    wanted = Path(where).expanduser().resolve()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).resolve() == wanted]
    return f", line {frames[-1].lineno}" if frames else ""


@contextmanager
def own_code(task: Task, doing: str) -> Iterator[None]:
    """Say what goes wrong in a task of a user's own in one sentence, as TaskError. Others' errors pass."""
    try:
        yield
    except GrokfedError:
        raise
    except (Exception, SystemExit) as error:
        if task.source is None or (isinstance(error, SystemExit) and error.code in BY_SIGNAL):
            raise
        what = "ends the program" if isinstance(error, SystemExit) else f"failed with {type(error).__name__}: {error}"
        where = f"{task.source.file}{_line(error, task.source.file)}"
        raise TaskError(f"{doing} of the task {task.name} {what} ({where})") from error


class _Guarded:
    """A function of an own task that names the task and the line when it fails."""

    def __init__(self, task: Task, name: str, function: Callable[..., Any]) -> None:
        self._task, self._name, self._function = task, name, function

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with own_code(self._task, self._name):
            return self._function(*arguments, **named)


def _guarded(task: Task) -> Task:
    given = {
        each.name: getattr(task, each.name) for each in fields(task) if getattr(task, each.name) is not each.default
    }
    guarded: dict[str, Any] = {name: _Guarded(task, name, value) for name, value in given.items() if callable(value)}
    if corpus := task.corpus:
        parts = {name: getattr(corpus, name) for name in ("read", "write", "label")}
        functions: dict[str, Any] = {name: _Guarded(task, name, part) for name, part in parts.items()}
        guarded["corpus"] = replace(corpus, **functions)
    return replace(task, **guarded)
