"""Tasks made of a CSV file or of a folder of pictures per class with one line, and made-up data that is dealt out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError, SettingsError
from core.federated import client_rng, client_update, evaluate_model
from core.tasks import get_task
from core.tasks.from_files import csv_task, picture_task
from core.tasks.task import GENERATED, Task
from core.tasks.vector import VectorTask
from core.training import Sums
from core.update import Update
from simulation.plan import divide, make_plan

FLOWERS = csv_task("flowers", label="kind", classes=["a", "b"], columns=["x", "y"], scale={"x": (10.0, 2.0)})
TABLE = "\ufeffx;kind;y\n" + "".join(f"{10 + 4 * (row % 2)};{'ab'[row % 2]};{row}\n" for row in range(20))


def written(path: Path, text: str = TABLE) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# ------------------------------------------------------------------------------------------------ tables


def test_a_row_is_its_scaled_columns_and_the_number_of_its_class(tmp_path: Path) -> None:
    reading = FLOWERS.read(written(tmp_path / "flowers.csv"))
    assert [(values.tolist(), label) for values, label in reading.examples[:3]] == [
        ([0.0, 0.0], 0), ([2.0, 1.0], 1), ([0.0, 2.0], 0),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("1,?,b", "line 3: y is '?'; expected a finite number"),
        ("1,nan,b", "line 3: y is 'nan'; expected a finite number"),
        ("-inf,1,b", "line 3: x is '-inf'; expected a finite number"),
        ("1,,b", "line 3: y is ''; expected a finite number"),
        ("1,2,rosé", "line 3: kind is 'rosé'; expected a, b"),
        ("1,2", "line 3: the row ends before the column kind"),
        ("1", "line 3: the row ends before the column y"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_with_its_line_column_and_value(
    tmp_path: Path, row: str, sentence: str
) -> None:
    path = written(tmp_path / "flowers.csv", f"x,y,kind\n1,2,a\n{row}\n")
    reading = FLOWERS.read(path)
    assert (len(reading.examples), reading.skipped, reading.first_skipped) == (1, 1, sentence)
    with pytest.raises(DataError) as raised:
        divide(FLOWERS, path, 2, None, 0)
    assert str(raised.value) == f"1 example of {path} cannot be read: {sentence}"


def test_of_several_rows_that_cannot_be_read_the_first_is_named(tmp_path: Path) -> None:
    path = written(tmp_path / "flowers.csv", "x,y,kind\n1,2,a\n1,?,b\n1,2,c\n")
    with pytest.raises(DataError, match=r"^2 examples of .* cannot be read; the first: line 3: y is"):
        divide(FLOWERS, path, 2, None, 0)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x,kind\n1,a\n", "has no column 'y'; it has x, kind"),
        ("x,y,kind\n", "has no row"),
        ("", r"flowers\.csv is empty; expected a first line with the columns x, y, kind"),
        ("x,y,kind\n" + "1" * 200_000, "cannot be read: field larger than field limit"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        FLOWERS.read(written(tmp_path / "flowers.csv", text))


def test_what_is_no_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes("x,y,kind\n1,2,rosé\n".encode("latin-1"))
    for path, sentence in (
        (tmp_path, "is a folder; expected a CSV file"),
        (tmp_path / "nowhere.csv", "cannot be read: No such file or directory"),
        (tmp_path / "latin.csv", "cannot be read: it is not a text in UTF-8"),
    ):
        with pytest.raises(DataError) as raised:
            FLOWERS.read(path)
        assert str(raised.value) == f"{path} {sentence}"


def test_a_file_is_dealt_out_and_every_row_is_somewhere_once(tmp_path: Path) -> None:
    path = written(tmp_path / "flowers.csv")
    plan = make_plan(FLOWERS, path, 3, "iid", 0, tmp_path)
    parts = [FLOWERS.read_labelled(source).examples for source in plan.sources]
    rows = [values[1] for part in parts for values, _ in part]
    test = FLOWERS.load_test(plan.test, 0, None).data
    judged = test.batch(np.arange(len(test)))[0][:, 1].tolist()
    assert sorted([*rows, *judged]) == [float(row) for row in range(20)]
    assert (len(judged), sorted(map(len, parts))) == (4, [5, 5, 6])


def test_a_linear_model_learns_the_classes(tmp_path: Path) -> None:
    """x is 10 for the one class and 14 for the other; y says nothing."""
    task = csv_task("flowers", label="kind", classes=["a", "b"], columns=["x", "y"], scale={"x": (12, 2), "y": (10, 6)})
    data, model = task.prepare(task.read(written(tmp_path / "flowers.csv")).examples), task.initial_model(0)
    for number in range(1, 21):
        model = model + client_update(task, model, data, client_rng(0, number, 1)).delta
    assert evaluate_model(task, model, data).accuracy == 1.0


# ------------------------------------------------------------------------------------------------ pictures


def test_a_folder_of_pictures_per_class_is_read_scaled_and_written_again(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    shapes = picture_task("shapes", classes=["dark", "light"], side=2)
    for name, shade in (("dark", 0), ("light", 255)):
        (tmp_path / name).mkdir()
        image.fromarray(np.full((6, 8), shade, np.uint8)).save(tmp_path / name / "one.png")
    (tmp_path / "light" / "broken.png").write_bytes(b"no picture")
    (tmp_path / "light" / "notes.txt").write_text("no picture either")
    reading = shapes.read(tmp_path)
    assert [(values.tolist(), label) for values, label in reading.examples] == [
        ([[0.0, 0.0], [0.0, 0.0]], 0), ([[1.0, 1.0], [1.0, 1.0]], 1),
    ]  # fmt: skip
    assert (reading.skipped, reading.first_skipped.startswith("broken.png: ")) == (1, True)
    assert shapes.corpus is not None
    shapes.corpus.write(tmp_path / "part.part", reading.examples)
    again = shapes.read(tmp_path / "part.part").examples
    assert all(np.array_equal(a, b) for (a, _), (b, _) in zip(again, reading.examples, strict=True))
    with pytest.raises(DataError, match=r"has no folder 'grey'; expected one a class: grey"):
        picture_task("shades", classes=["grey"]).read(tmp_path)
    with pytest.raises(
        DataError, match=r"part\.part\.csv is no folder; expected one with a folder of pictures a class"
    ):
        shapes.read(written(tmp_path / "part.part.csv"))


@pytest.mark.parametrize("where", ["grey", ".", "light/more"])
def test_a_picture_in_no_folder_of_a_class_is_named(tmp_path: Path, where: str) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for folder in ("dark", "light", ".trash", where):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        image.new("L", (4, 4), 255).save(tmp_path / folder / "one.png")
    shades = picture_task("shades", classes=["dark", "light"], side=2)
    reading = shades.read(tmp_path)
    wrong = f"{Path(where, 'one.png')}: it is not in the folder of a class; expected dark, light"
    assert (len(reading.examples), reading.skipped, reading.first_skipped) == (2, 1, wrong)
    with pytest.raises(DataError, match=r"^1 example of .* cannot be read: "):
        divide(shades, tmp_path, 2, None, 0)


def test_a_picture_of_colours_is_three_numbers_a_pixel(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    (tmp_path / "red").mkdir()
    image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red" / "one.png")
    task = picture_task("colours", classes=["red"], side=1, colours=True)
    assert task.read(tmp_path).examples[0][0].tolist() == [[[1.0, 0.0, 0.0]]]


# ------------------------------------------------------------------------------------------------ made-up data


@pytest.mark.parametrize("name", ["spam", "flowers"])
def test_made_up_data_is_dealt_out_anew(name: str) -> None:
    task = FLOWERS if name == "flowers" else get_task(name)
    division = divide(task, None, 3, "dirichlet:0.1", 0)
    assert division is not None
    label = task.corpus.label if task.corpus else (lambda mail: mail.spam)
    own = [Counter(map(label, task.generate(0, number))) for number in (1, 2, 3)]
    dealt = [Counter(map(label, part)) for part in division.parts]
    assert sum(own, Counter()) == sum(dealt, Counter())
    assert dealt != own
    assert "dealt out among 3 clients (dirichlet:0.1)" in division.sentence


def nothing_to_go_by() -> Task:
    return VectorTask(
        name="plain",
        clip=1.0,
        initial=lambda _seed: np.zeros(1),
        update=lambda vector, _data, _rng: Update(vector, 1, 0.0, 0),
        evaluate=lambda _vector, _data: Sums(1, 0.0, 0),
    )


def test_data_that_a_task_cannot_deal_out_or_make_up_is_refused(tmp_path: Path) -> None:
    task = nothing_to_go_by()
    for data, partition, sentence in (
        (tmp_path, None, "the task plain does not say how its data is dealt out; give it a `corpus`"),
        (None, "iid", "--partition is 'iid', and the task plain does not say how"),
    ):
        with pytest.raises(SettingsError, match=sentence):
            divide(replace(task, generate=lambda _seed, _number: [0.0]), data, 2, partition, 0)
    with pytest.raises(DataError, match="the task plain makes up no data"):
        divide(task, None, 2, "iid", 0)
    with pytest.raises(DataError, match="makes up no data, because it has no `generate`"):
        task.load_test(GENERATED, 0, 2)
    with pytest.raises(DataError, match="the task reads no files, because it has no `read`"):
        task.load_test(str(tmp_path), 0, 2)
    with pytest.raises(SettingsError, match="for mail expected iid or dirichlet:ALPHA"):
        divide(get_task("spam"), None, 2, "grouped", 0)
    with pytest.raises(SettingsError, match="among at most 10000 clients, not 10001"):
        divide(FLOWERS, None, 10001, "iid", 0)
