"""What all studies have in common: the list, the table, the Markdown page and the page of all of them in a browser."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from book.run import Run
from core.errors import SettingsError, StorageError
from experiments import studies
from experiments.__main__ import app
from experiments.study import Row, Study, columns_of, write_files, written
from experiments.web_page import Answered, write_page

pytestmark = pytest.mark.slow

FOLDER = Path(studies.__file__).parent
PNG = b"\x89PNG not really"


def rows_of(_run: Run) -> Iterator[Row]:
    yield {"clients": 1, "recall": 0.123456, "note": "<b> & co"}
    yield {"clients": 30, "recall": 1.0, "extra": "only here"}


STUDY = Study(
    name="a-study",
    title="Words & sums",
    question="Does 1 < 2?",
    adversary="Sees `c mod n`.",
    method="Counts.",
    limits="One run.",
    run=rows_of,
    conclude=lambda rows: f"{len(rows)} rows.",
)


def answered(folder: Path, *, quick: bool = True) -> Answered:
    run = Run(folder, quick=quick, seed=7)
    rows: Sequence[Row] = list(STUDY.run(run))
    write_files(STUDY, rows, run)
    (folder / "picture.png").write_bytes(PNG)
    return Answered(STUDY, rows, run)


class Reader(HTMLParser):
    """The tags that are open at the end, all text, and what each tag says of itself."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text())
    assert reader.open == []
    return reader


def test_every_study_in_the_folder_is_in_the_list_once_under_its_own_name() -> None:
    modules = sorted(path.stem.replace("_", "-") for path in FOLDER.glob("[a-z]*.py"))
    assert sorted(studies.NAMES) == modules
    for name in studies.NAMES:
        study = studies.get_study(name)
        assert study.name == name
        assert all((study.title, study.question, study.adversary, study.method, study.limits))


def test_an_unknown_study_is_refused_with_the_list() -> None:
    with pytest.raises(SettingsError, match=r"no experiment 'sums'; there are word-leakage, .*dp-audit"):
        studies.get_study("sums")


def test_numbers_are_written_with_four_digits_and_columns_in_the_order_in_which_they_come() -> None:
    assert [written(value) for value in (0.123456, 1234567.0, 30, "30 %")] == ["0.1235", "1.235e+06", "30", "30 %"]
    assert columns_of(list(rows_of(Run(Path())))) == ["clients", "recall", "note", "extra"]


def test_the_table_has_an_empty_cell_where_a_row_has_no_such_column(tmp_path: Path) -> None:
    answered(tmp_path)
    assert (tmp_path / "table.csv").read_text() == ("clients,recall,note,extra\n1,0.1235,<b> & co,\n30,1,,only here\n")


def test_the_markdown_page_names_the_command_that_makes_it_again(tmp_path: Path) -> None:
    answered(tmp_path, quick=False)
    page = (tmp_path / "page.md").read_text()
    assert page.startswith("# Words & sums\n\n    python -m experiments a-study --seed 7\n")
    assert "| 30 | 1 |  | only here |" in page
    assert "**Result.** 2 rows." in page


def test_one_page_has_every_study_with_its_pictures_inside_and_text_as_text(tmp_path: Path) -> None:
    write_page(tmp_path / "index.html", [answered(tmp_path / "a-study")], [("other", "no <data>")])
    reader = read(tmp_path / "index.html")
    text = " ".join(reader.words)
    for words in ("Does 1 < 2?", "<b> & co", "no <data>", "2 rows.", "a-study --quick --seed 7", "only here"):
        assert words in text
    assert "`" not in text
    assert "code" in [tag for tag, _ in reader.attributes]
    sources = [attributes["src"] or "" for tag, attributes in reader.attributes if tag == "img"]
    assert [source[:22] for source in sources] == ["data:image/png;base64,"]
    assert ("a", {"href": "#a-study"}) in reader.attributes
    assert ("section", {"id": "a-study"}) in reader.attributes


def test_the_page_asks_nothing_of_the_network_and_runs_no_script(tmp_path: Path) -> None:
    write_page(tmp_path / "index.html", [answered(tmp_path / "a-study")], [])
    reader = read(tmp_path / "index.html")
    assert not {"script", "link", "iframe"} & {tag for tag, _ in reader.attributes}
    assert "http" not in (tmp_path / "index.html").read_text()


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        write_page(tmp_path / "file" / "index.html", [], [])
    with pytest.raises(StorageError, match="cannot be written"):
        write_files(STUDY, [{"a": 1}], Run(tmp_path / "file" / "out"))


def test_with_json_there_is_one_object_on_the_output_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange = replace(STUDY, run=lambda _run: iter([{"clients": np.int64(1), "recall": np.nan, "note": "a"}]))
    monkeypatch.setattr(studies, "get_study", lambda _name: strange)
    ran = CliRunner().invoke(app, ["weak-key", "--json", "--quick", "--seed", "7", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0
    assert json.loads(ran.stdout) == {
        "study": "a-study",
        "command": "python -m experiments a-study --quick --seed 7",
        "folder": str(tmp_path / "out"),
        "rows": [{"clients": 1, "recall": None, "note": "a"}],
        "result": "1 rows.",
        "unexpected": 0,
    }
    assert "its page" in ran.stderr
    ran = CliRunner().invoke(app, ["all", "--json", "--out", str(tmp_path / "all")])
    assert len(json.loads(ran.stdout)["studies"]) == len(studies.NAMES)
