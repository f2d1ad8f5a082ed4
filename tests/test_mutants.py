"""The script that counts which changes of a module its tests notice."""

from __future__ import annotations

from pathlib import Path

import mutants
import pytest

TOY = '''
"""A toy."""

def larger(a, b):
    """Return whether a is the larger number."""
    log.info("compared", times=1)
    return a > b
'''

TEST_OF_TOY = """
import toy

class Log:
    def info(self, event, times): pass

toy.log = Log()

def test_only_the_larger_number_is_larger():
    assert toy.larger(2, 1)
    assert not toy.larger(1, 2)
"""


def test_a_mutant_that_no_test_notices_is_reported_and_the_others_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No test compares equal numbers, so `>=` survives; `return None` does not."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text(TEST_OF_TOY)
    monkeypatch.chdir(tmp_path)
    mutants.main(["toy.py", "--tests", "test_toy.py"])
    assert capsys.readouterr().out.splitlines() == [
        "survived: toy.py:7: a > b  ->  a >= b  in: return a > b",
        "toy.py: 1 of 2 mutants killed",
    ]
    assert (tmp_path / "toy.py").read_text() == TOY


def test_without_tests_that_pass_nothing_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "toy.py").write_text("limit = 1\n")
    (tmp_path / "test_toy.py").write_text("import toy\ndef test_limit(): assert toy.limit == 2\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="the tests fail without any mutant"):
        mutants.main(["toy.py", "--tests", "test_toy.py"])


@pytest.mark.parametrize(
    ("source", "changes"),
    [
        ("a = b == 1", ["b != 1", "2", "0"]),
        ("def f():\n    x = [1 < a <= b]", ["1 <= a <= b", "1 < a < b", "2", "0"]),
        ("def f():\n    a = a | b", ["pass", "a & b"]),
        ("def f():\n    while not a: break", ["a", "pass"]),
        ("def f():\n    if a and b: raise E", ["not (a and b)", "a or b", "pass"]),
        ("def f() -> tuple[1]:\n    self.a = True", ["pass", "False"]),
        ("@frozen(True)\nclass A:\n    def __repr__(self): return 1", []),
    ],
)
def test_each_place_is_changed_in_the_ways_that_make_sense_there(source: str, changes: list[str]) -> None:
    assert [mutants.ast.unparse(mutant.new) for mutant in mutants.mutants_of(Path("m.py"), source)] == changes


def test_a_mutant_differs_in_one_place_and_leaves_no_trace_in_the_next() -> None:
    less, more, fewer = mutants.mutants_of(Path("m.py"), "a = b < 5")
    assert [less.source(), more.source(), fewer.source()] == ["a = b <= 5", "a = b < 6", "a = b < 4"]
