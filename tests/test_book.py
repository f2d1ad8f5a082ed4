"""The frame of the chapters: findings, verdicts, tables, files, and the command line."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from book.chapters import chapter_02, chapter_04, chapter_06, get_chapter, numbers
from book.finding import Finding, Verdict, at_least, at_most, exact, shown
from book.report import Timed, summary, table, timed, write_csv
from book.run import Run
from core.errors import SettingsError, StorageError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


class TestVerdict:
    def test_an_exact_figure_may_differ_by_less_than_a_millionth(self):
        assert exact("weight", 0.11275, 0.11275).verdict(comparable=False) is Verdict.REACHED
        assert exact("weight", 1 + 9e-7, 1).verdict(comparable=False) is Verdict.REACHED
        assert exact("weight", 1 + 2e-6, 1).verdict(comparable=False) is Verdict.MISSED

    def test_an_exact_zero_is_compared_too(self):
        assert exact("error", 0.0, 0.0).verdict(comparable=False) is Verdict.REACHED
        assert exact("error", 1e-3, 0.0).verdict(comparable=False) is Verdict.MISSED

    def test_a_small_goal_is_not_reached_by_zero(self):
        assert exact("error", 0.0, 1.5e-14).verdict(comparable=False) is Verdict.MISSED
        assert exact("error", 1.5e-14, 1.5e-14).verdict(comparable=False) is Verdict.REACHED

    @pytest.mark.parametrize(
        ("value", "verdict"),
        [
            (5.40344999e16, Verdict.REACHED),
            (5.40335001e16, Verdict.REACHED),
            (5.40346e16, Verdict.MISSED),
            (5.4034e15, Verdict.MISSED),
            (-5.4034e16, Verdict.MISSED),
            (0.0, Verdict.MISSED),
            (float("nan"), Verdict.MISSED),
        ],
    )
    def test_of_a_figure_printed_with_five_digits_five_are_compared(self, value, verdict):
        found = exact("error", value, 5.4034e16, digits=5)
        assert found.verdict(comparable=False) is verdict
        assert found.book == "5.4034e+16"

    def test_at_least_is_reached_by_the_goal_itself(self):
        assert at_least("accuracy", 0.9, 0.9).verdict(comparable=True) is Verdict.REACHED
        assert at_least("accuracy", 0.8999, 0.9).verdict(comparable=True) is Verdict.MISSED

    def test_at_most_is_reached_by_the_goal_itself(self):
        assert at_most("perplexity", 5.65, 5.65).verdict(comparable=True) is Verdict.REACHED
        assert at_most("perplexity", 5.66, 5.65).verdict(comparable=True) is Verdict.MISSED

    def test_what_needs_the_books_data_is_not_compared_without(self):
        assert at_least("accuracy", 0.1, 0.9).verdict(comparable=False) is Verdict.NOT_COMPARED
        assert at_least("gap", 0.1, 0.9, anywhere=True).verdict(comparable=False) is Verdict.MISSED

    def test_what_is_only_shown_has_no_verdict(self):
        assert shown("words", "good fine").verdict(comparable=True) is Verdict.NONE

    def test_not_a_number_reaches_nothing(self):
        for finding in (at_least("a", float("nan"), 0), at_most("a", float("nan"), 0), exact("a", float("nan"), 0)):
            assert finding.verdict(comparable=True) is Verdict.MISSED


class TestComparable:
    @pytest.mark.parametrize(
        ("data", "quick", "comparable"), [(None, False, False), ("x", True, False), ("x", False, True)]
    )
    def test_only_the_full_form_on_given_data_is(self, tmp_path, data, quick, comparable):
        assert Run(tmp_path, data and Path(data), quick).comparable is comparable

    def test_streams_of_one_seed_draw_independently_and_the_same_again(self, tmp_path):
        run = Run(tmp_path, seed=4)
        assert run.rng(1).random() == run.rng(1).random() != run.rng(2).random()
        assert run.rng(1).random() != Run(tmp_path, seed=5).rng(1).random()


FOUND = [
    exact("weight", 2.0, 2.0),
    at_least("accuracy", 0.5, 0.9),
    at_most("loss", 2.0, 1.0, anywhere=True),
    shown("word", "good"),
]


class TestReport:
    def test_times_are_those_between_findings(self):
        ticks = iter([10.0, 12.0, 12.0, 15.5, 15.5])
        entries = list(timed(iter(FOUND[:2]), clock=lambda: next(ticks)))
        assert [entry.seconds for entry in entries] == [2.0, 3.5]

    def test_the_summary_counts_what_was_compared(self):
        assert summary(FOUND, comparable=True) == "1 of 3 goals reached"
        assert summary(FOUND, comparable=False) == (
            "1 of 2 goals reached; 1 more hold for the full form on the book's data only"
        )
        assert summary(FOUND[3:], comparable=True) == "no goals compared"

    def test_the_table_leaves_empty_columns_out(self):
        headings = [column.header for column in table("t", [Timed(FOUND[3], 0.1)], comparable=True).columns]
        assert headings == ["what", "here", "s"]
        assert len(table("t", [Timed(found, 0.1) for found in FOUND], comparable=True).columns) == 6

    def test_a_long_value_leaves_room_for_what_was_found(self):
        findings = [exact("share of what it calls spam", 0.5, 0.5), shown("words", "pizza 4 call 2 ! 1 again 1 " * 4)]
        page = Console(width=80, file=io.StringIO())
        page.print(table("t", [Timed(found, 0.1) for found in findings], comparable=True))
        assert "share of what it calls spam" in page.file.getvalue()

    def test_the_file_has_a_line_for_each_finding(self, tmp_path):
        write_csv(tmp_path / "deep" / "table.csv", FOUND, comparable=True)
        with (tmp_path / "deep" / "table.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["verdict"] for row in rows] == ["reached", "missed", "missed", ""]
        assert rows[1] == {"what": "accuracy", "value": "0.5", "book": "", "goal": "≥ 90.00%", "verdict": "missed"}

    def test_a_folder_that_cannot_be_written_is_named(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(StorageError, match="cannot be written"):
            write_csv(tmp_path / "file" / "table.csv", FOUND, comparable=True)


PICTURES = {
    2: {"crowds", "soft-groups"},
    3: {"two-layers", "similarities"},
    4: {"bowl", "step-by-step", "overshooting", "diverging"},
}


class TestChapters:
    def test_every_chapter_of_the_book_that_computes_has_experiments(self):
        assert numbers() == list(range(2, 17))

    def test_another_number_is_refused_in_one_sentence(self):
        with pytest.raises(SettingsError, match="chapter 1 has no experiments; there are 2, 3"):
            get_chapter(1)

    @pytest.mark.parametrize("number", [2, 3, 4, 5, 6, 7, 15, 16])
    def test_the_quick_form_reaches_what_it_can_without_data(self, number, tmp_path):
        chapter = get_chapter(number)
        findings = list(chapter.run(Run(tmp_path, quick=True, say=lambda _: None)))
        assert chapter.number == number
        assert findings
        assert [found.what for found in findings if found.verdict(comparable=False) is Verdict.MISSED] == []
        pictures = {path.stem for path in tmp_path.glob("*.png")}
        assert pictures >= PICTURES.get(number, set())
        assert pictures

    def test_soft_groups_are_as_sure_as_they_are_right_and_not_always_sure(self, tmp_path):
        found = {finding.what.strip(): finding.value for finding in chapter_02.home_or_away(Run(tmp_path, quick=True))}
        assert 0.1 < found["matches that belong to both groups by more than 20%"] < 0.4
        assert found["how sure soft groups are of these"] == pytest.approx(
            found["share of these that are right"], abs=0.1
        )

    def test_a_walk_that_may_stay_does_not_move_and_one_that_may_not_does(self):
        found = {finding.what: finding for finding in chapter_04.try_both_sides()}
        stays = found["step 10, allowed to stay: moves made"]
        assert stays.value == 0
        assert stays.verdict(comparable=False) is Verdict.REACHED

    def test_figures_printed_with_few_digits_are_goals_too(self):
        few = [finding for finding in (*chapter_04.follow_the_slope(), *chapter_06.two_layers()) if finding.digits]
        assert [finding.book for finding in few] == ["5.4034e+16", "1.50556e-05"]
        assert {finding.verdict(comparable=False) for finding in few} == {Verdict.REACHED}

    def test_the_same_seed_gives_the_same_findings(self, tmp_path):
        def findings(seed: int) -> list[Finding]:
            return list(get_chapter(16).run(Run(tmp_path, quick=True, seed=seed)))

        assert findings(1) == findings(1) != findings(2)


def run_program(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "book", *arguments],
        cwd=cwd, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip


class TestCommandLine:
    def test_it_writes_a_table_and_pictures(self, tmp_path):
        done = run_program("3", "6", "--quick", "--out", "found", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "Chapter 3" in done.stdout
        assert "17 of 17 goals reached" in done.stdout
        written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
        assert written >= {
            "found/chapter-03/table.csv",
            "found/chapter-06/pressure.png",
            "found/chapter-06/pressure.svg",
        }

    def test_a_chapter_whose_data_is_missing_is_left_out_and_the_others_run(self, tmp_path):
        (tmp_path / "empty").mkdir()
        done = run_program("3", "15", "7", "--quick", "--data", "empty", "--out", "found", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("chapter 15 is left out: empty holds none of enron1.tsv.gz")
        assert "Chapter 3:" in done.stdout
        assert "Chapter 7:" in done.stdout
        assert "mail is" not in done.stdout

    def test_nothing_asked_lists_what_there_is(self, tmp_path):
        done = run_program(cwd=tmp_path)
        assert done.returncode == 0
        assert "14  " in done.stdout
        assert "16  " in done.stdout
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("1",), "error: chapter 1 has no experiments"),
            (
                ("3", "--data", "nowhere"),
                "error: nowhere is not a folder; expected one with the public files",
            ),
        ],
    )
    def test_what_goes_wrong_is_one_sentence(self, arguments, sentence, tmp_path):
        done = run_program(*arguments, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith(sentence)
        assert done.stderr.count("\n") == 1
