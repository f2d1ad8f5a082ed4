"""Mutation testing: change one place of a module at a time and count how often its tests fail.

    python tests/mutants.py server/store.py --tests tests/test_store.py tests/test_attempt.py

Run it in the root of the repository; it works on a copy. A mutant that survives is a line no test checks, or a change
without effect. With TMPDIR=/dev/shm the tests' databases need not reach a disk, which is several times faster.
"""

from __future__ import annotations

import argparse
import ast
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

SECONDS = 120.0
SWAPPED: dict[type[ast.AST], Any] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.BitOr: ast.BitAnd, ast.BitAnd: ast.BitOr,
}  # fmt: skip
DROPPED = (ast.Expr, ast.AugAssign, ast.Raise, ast.Delete, ast.Break, ast.Continue)
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list"}
CONDITIONS = {"test", "guard", "ifs"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Mutant:
    """One change: the node at a place of a module's tree, and what replaces it."""

    module: Path
    code: str
    tree: ast.Module
    parent: ast.AST
    field: str
    index: int | None
    old: Any
    new: ast.AST

    def __str__(self) -> str:
        old, new = (" ".join(ast.unparse(node).split())[:100] for node in (self.old, self.new))
        return f"{self.module}:{self.old.lineno}: {old}  ->  {new}" + (f"  in: {self.code}" if old != self.code else "")

    def source(self) -> str:
        """The module's text with this change, which is undone in the tree."""
        self._place(self.new)
        text = ast.unparse(ast.fix_missing_locations(self.tree))
        self._place(self.old)
        return text

    def _place(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def mutants_of(module: Path, source: str) -> list[Mutant]:
    """All mutants of a module, in the order of its text."""
    tree, lines = ast.parse(source), source.splitlines()
    return [
        Mutant(module, lines[old.lineno - 1].strip(), tree, parent, field, index, old, new)
        for parent, field, index, old, new in _changes(tree, inside=False)
    ]


def _changes(parent: ast.AST, inside: bool) -> Iterator[tuple[ast.AST, str, int | None, Any, ast.AST]]:
    """Each change below a node; statements are dropped only inside functions, where no import depends on them."""
    for field, value in ast.iter_fields(parent):
        children: list[tuple[int | None, Any]] = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for index, child in children:
            if field in SKIPPED_FIELDS or not isinstance(child, ast.AST) or _left_alone(child):
                continue
            if field in CONDITIONS and isinstance(child, ast.expr) and not _has_opposite(child):
                yield parent, field, index, child, ast.UnaryOp(ast.Not(), child)
            if inside and _can_be_dropped(child):
                yield parent, field, index, child, ast.Pass()
            for new in _replacements(child):
                yield parent, field, index, child, new
            yield from _changes(child, inside or isinstance(child, FUNCTIONS))


def _replacements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, ops, comparators):
            for index, op in enumerate(ops):
                yield ast.Compare(left, [*ops[:index], SWAPPED[type(op)](), *ops[index + 1 :]], comparators)
        case ast.BoolOp(op, values):
            yield ast.BoolOp(SWAPPED[type(op)](), values)
        case ast.BinOp(left, op, right) if type(op) in SWAPPED:
            yield ast.BinOp(left, SWAPPED[type(op)](), right)
        case ast.AugAssign(target, op, value) if type(op) in SWAPPED:
            yield ast.AugAssign(target, SWAPPED[type(op)](), value)
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value) | float(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Return(None):
            yield ast.Pass()
        case ast.Return(value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(None)


def _can_be_dropped(node: ast.AST) -> bool:
    """Return whether a statement is worth dropping: without the first assignment of a name, any test would fail."""
    match node:
        case ast.Assign([ast.Name(name)], value):
            return any(isinstance(part, ast.Name) and part.id == name for part in ast.walk(value))
        case ast.AnnAssign(ast.Name()):
            return False
    return isinstance(node, (*DROPPED, ast.Assign, ast.AnnAssign))


def _has_opposite(condition: ast.AST) -> bool:
    """Return whether swapping or dropping its operator already negates a condition."""
    match condition:
        case ast.UnaryOp(ast.Not()) | ast.Compare(ops=[ast.Eq() | ast.NotEq() | ast.In() | ast.NotIn()]):
            return True
        case ast.Compare(ops=[ast.Is() | ast.IsNot()]) | ast.Constant(bool()):
            return True
    return False


def _left_alone(node: ast.AST) -> bool:
    """Return whether a node is a docstring, a log call, an assertion or a __repr__."""
    match node:
        case ast.Expr(ast.Constant(str())) | ast.Assert() | ast.FunctionDef(name="__repr__"):
            return True
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("log" | "logger") | ast.Attribute(attr="_log"), _))):
            return True
    return False


def run_tests(root: Path, tests: Sequence[str]) -> str:
    """Run the tests and return "survived", "killed" or "out of time"."""
    shutil.rmtree(root / ".hypothesis", ignore_errors=True)  # its failed examples would help with the next mutant
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=0"]
    command += [f"--basetemp={root / '.basetemp'}", *tests]
    process = subprocess.Popen(
        command, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return "killed" if process.wait(SECONDS) else "survived"
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return "out of time"


def write(path: Path, text: str) -> None:
    """Write a module; its bytecode goes, since a change within the same second and of the same length looks fresh."""
    path.write_text(text)
    Path(cache_from_source(str(path))).unlink(missing_ok=True)


def count_killed(root: Path, modules: Sequence[Path], tests: Sequence[str], count: int, seed: int) -> tuple[int, int]:
    """Return how many of the drawn mutants were killed, and how many were drawn; print the rest."""
    sources = {module: (root / module).read_text() for module in modules}
    every = [mutant for module, source in sources.items() for mutant in mutants_of(module, source)]
    for module, source in sources.items():
        write(root / module, ast.unparse(ast.parse(source)))
    if run_tests(root, tests) != "survived":
        raise SystemExit(f"{' '.join(tests)}: the tests fail without any mutant; make them pass first")
    drawn = sorted(random.Random(seed).sample(range(len(every)), min(count, len(every))))
    killed = 0
    for mutant in (every[number] for number in drawn):
        write(root / mutant.module, mutant.source())
        outcome = run_tests(root, tests)
        write(root / mutant.module, sources[mutant.module])
        killed += outcome != "survived"
        if outcome != "killed":
            print(f"{outcome}: {mutant}", flush=True)
    return killed, len(drawn)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition(":")[0] + ".")
    parser.add_argument("modules", nargs="+", type=Path, help="files to change, relative to the root of the repository")
    parser.add_argument("--tests", nargs="+", required=True, help="test files, or anything else that pytest takes")
    parser.add_argument("--count", type=int, default=40, help="mutants drawn at random from all modules together")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="mutants-") as scratch:
        root = Path(scratch, "tree")
        shutil.copytree(Path.cwd(), root, ignore=shutil.ignore_patterns(".*", "runs", "__pycache__"))
        killed, drawn = count_killed(root, options.modules, options.tests, options.count, options.seed)
    print(f"{' + '.join(map(str, options.modules))}: {killed} of {drawn} mutants killed")


if __name__ == "__main__":
    main()
