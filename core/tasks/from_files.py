"""Tasks made of labelled data with one line: a CSV file with a column of labels, or a folder of pictures per class.

    from core.tasks import csv_task, picture_task

    FLOWERS = csv_task("flowers", label="kind", classes=["setosa", "other"], columns=["length", "width"])
    SHAPES = picture_task("shapes", classes=["circle", "square"], side=16)

Classes and columns are said, and not found in the data: every party needs the same, and none may learn from them what
others have. An example is an array and the number of its class. A fifth of a file is kept to judge models by.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from math import isfinite, nan
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt

from core.data.arrays import ArrayDataset
from core.errors import DataError, SettingsError
from core.losses import cross_entropy
from core.metrics import correct_classes
from core.nn import Flatten, Linear, Module, ReLU, Sequential
from core.parameters import load_npz, save_npz
from core.tasks.task import Corpus, LocalTraining, Reading, Task
from core.wording import counted

Array = npt.NDArray[Any]
Example = tuple[Array, int]
Build = Callable[[np.random.Generator], Module]
PART = ".part"
"""The ending of the files that a simulation gives its clients."""
HELD_OUT = 0.2
GENERATED = 200
MOST_SHOWN = 40
"""Characters of a cell that a message repeats."""
PICTURES = (".png", ".jpg", ".jpeg", ".gif", ".bmp")


class OfLabelled(TypedDict):
    """What a task of labelled examples has in common with others: `Task(..., **labelled(read))`."""

    read: Callable[[Path], Reading]
    prepare: Callable[[Sequence[Example]], ArrayDataset]
    corpus: Corpus


def labelled(read: Callable[[Path], Reading | Sequence[Example]]) -> OfLabelled:
    """Return what follows from reading a file as examples: how they are prepared, dealt out, written and read again."""

    def read_any(path: Path) -> Reading:
        if path.suffix == PART:
            return Reading(_read_part(path))
        found = read(path)
        return found if isinstance(found, Reading) else Reading(found)

    def read_both(path: Path) -> tuple[list[Example], list[Example]]:
        reading = read_any(path)
        if reading.skipped:
            which = "; the first" * (reading.skipped > 1)
            how_many = counted(reading.skipped, "example")
            raise DataError(f"{how_many} of {path} cannot be read{which}: {reading.first_skipped}")
        return _divided(reading.examples, path)

    return {"read": read_any, "prepare": prepare, "corpus": Corpus(read_both, write, label=lambda each: each[1])}


def prepare(examples: Sequence[Example]) -> ArrayDataset:
    """Make a data set of examples. Raises DataError if there are none, or their shapes differ."""
    shapes = {np.shape(values) for values, _ in examples}
    if len(shapes) != 1:
        raise DataError(f"the examples have {len(shapes)} different shapes; expected one" if shapes else "no examples")
    return ArrayDataset(np.stack([values for values, _ in examples]), np.array([label for _, label in examples]))


def write(path: Path, examples: Sequence[Example]) -> None:
    """Write examples as plain arrays, which are read again bit for bit. Raises StorageError if that fails."""
    data = prepare(examples)
    save_npz(path, {"inputs": data.inputs, "targets": data.targets})


def _read_part(path: Path) -> list[Example]:
    arrays = load_npz(path)
    if set(arrays) != {"inputs", "targets"} or len(arrays["inputs"]) != len(arrays["targets"]):
        raise DataError(f"{path} holds {', '.join(sorted(arrays))}; expected inputs and targets, one row an example")
    return [(values, int(label)) for values, label in zip(arrays["inputs"], arrays["targets"], strict=True)]


def _divided(examples: Sequence[Example], path: Path) -> tuple[list[Example], list[Example]]:
    order = np.random.default_rng(0).permutation(len(examples))
    kept = int(len(examples) * HELD_OUT)
    if not kept:
        raise DataError(f"{path} holds {len(examples)} examples; at least 5 are needed to keep a fifth for the test")
    chosen = set(order[:kept].tolist())
    parts: tuple[list[Example], list[Example]] = ([], [])
    for place, example in enumerate(examples):
        parts[place in chosen].append(example)
    return parts


# ------------------------------------------------------------------------------------------------ tables


def csv_task(
    name: str,
    *,
    label: str,
    classes: Sequence[str],
    columns: Sequence[str],
    scale: Mapping[str, tuple[float, float]] | None = None,
    hidden: int = 0,
    local: LocalTraining | None = None,
    clip: float = 4.0,
) -> Task:
    """Return the task of telling the classes of a CSV file's rows apart.

    Args:
        label: the column that has the class of a row, one of `classes`.
        columns: those that the model sees, all numbers.
        scale: what is about the middle and the spread of a column; the model sees (number - middle) / spread.
        hidden: width of a layer between; 0 is logistic regression.
        local: how a client trains; five passes in batches of 16 by default.
    """
    middles = np.array([(scale or {}).get(column, (0.0, 1.0)) for column in columns], np.float64).reshape(-1, 2)

    def read(path: Path) -> Reading:
        return _read_table(path, label, classes, columns, middles)

    return Task(
        name,
        build=lambda rng: _network(len(columns), hidden, len(classes), rng),
        loss=cross_entropy,
        correct=correct_classes,
        generate=lambda seed, number: _clusters((len(columns),), len(classes), seed, number),
        local=local or LocalTraining(0.02, epochs=5, batch_size=16),
        clip=clip,
        **labelled(read),
    )


def _read_table(
    path: Path, label: str, classes: Sequence[str], columns: Sequence[str], middles: npt.NDArray[np.float64]
) -> Reading:
    """Read the rows of a CSV file with a header, separated by commas, semicolons or tabs."""
    if path.is_dir():
        raise DataError(f"{path} is a folder; expected a CSV file")
    examples: list[Example] = []
    skipped: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = file.readline()
            file.seek(0)
            rows = csv.DictReader(file, delimiter=max(",;\t", key=header.count))
            _check_header(path, rows.fieldnames, (*columns, label))
            for row in rows:
                try:
                    values = np.array([_number(row, column) for column in columns])
                    examples.append(((values - middles[:, 0]) / middles[:, 1], _class(row, label, classes)))
                except ValueError as error:
                    skipped.append(f"line {rows.line_num}: {error}")
    except (OSError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} cannot be read: it is not a text in UTF-8") from error
    if not examples:
        raise DataError(f"{path} has no row that could be read{f'; the first: {skipped[0]}' if skipped else ''}")
    return Reading(examples, len(skipped), skipped[0] if skipped else "")


def _check_header(path: Path, found: Sequence[str] | None, wanted: Sequence[str]) -> None:
    if not found:
        raise DataError(f"{path} is empty; expected a first line with the columns {', '.join(wanted)}")
    if missing := [each for each in wanted if each not in found]:
        raise DataError(f"{path} has no column {missing[0]!r}; it has {', '.join(found)}")


def _number(row: Mapping[str, str | None], column: str) -> float:
    """Return the number in a cell. Raises ValueError if there is none."""
    text = _cell(row, column)
    try:
        number = float(text)
    except ValueError:
        number = nan
    if not isfinite(number):
        raise ValueError(f"{column} is {text[:MOST_SHOWN]!r}; expected a finite number")
    return number


def _class(row: Mapping[str, str | None], label: str, classes: Sequence[str]) -> int:
    """Return the number of a row's class. Raises ValueError if it is not one of those known."""
    text = _cell(row, label)
    if text not in classes:
        raise ValueError(f"{label} is {text[:MOST_SHOWN]!r}; expected {', '.join(classes)}")
    return classes.index(text)


def _cell(row: Mapping[str, str | None], column: str) -> str:
    text = row[column]
    if text is None:
        raise ValueError(f"the row ends before the column {column}")
    return text


# ------------------------------------------------------------------------------------------------ pictures


def picture_task(
    name: str,
    *,
    classes: Sequence[str],
    side: int = 28,
    colours: bool = False,
    build: Build | None = None,
    local: LocalTraining | None = None,
    clip: float = 1.0,
) -> Task:
    """Return the task of telling pictures apart that lie in one folder per class.

    Args:
        classes: the folders' names.
        side: pictures are made this many pixels wide and high.
        colours: three numbers a pixel instead of one.
        build: makes the model of arrays of shape (n, side, side) or (n, side, side, 3), 0 to 1; by default
            one with a layer of 32 between.
    """
    shape = (side, side, 3) if colours else (side, side)
    size = int(np.prod(shape))
    return Task(
        name,
        build=build or (lambda rng: _network(size, 32, len(classes), rng)),
        loss=cross_entropy,
        correct=correct_classes,
        generate=lambda seed, number: _clusters(shape, len(classes), seed, number),
        local=local or LocalTraining(0.002, epochs=2, batch_size=32),
        clip=clip,
        **labelled(lambda folder: _read_pictures(folder, classes, side, "RGB" if colours else "L")),
    )


def _read_pictures(folder: Path, classes: Sequence[str], side: int, mode: str) -> Reading:
    """Read the pictures of a folder per class, scaled to 0 ... 1, in the order of their names."""
    try:
        from PIL import Image
    except ImportError as error:
        raise SettingsError("pictures need Pillow, which is not installed; pip install pillow") from error
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder; expected one with a folder of pictures a class: {', '.join(classes)}")
    if missing := [name for name in classes if not (folder / name).is_dir()]:
        raise DataError(f"{folder} has no folder {missing[0]!r}; expected one a class: {', '.join(classes)}")
    examples: list[Example] = []
    skipped: list[str] = []
    for number, name in enumerate(classes):
        for path in sorted(each for each in (folder / name).iterdir() if each.suffix.lower() in PICTURES):
            try:
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert(mode).resize((side, side)), np.float32)
            except (OSError, ValueError, Image.DecompressionBombError) as error:
                skipped.append(f"{path.name}: {error}")
                continue
            examples.append((pixels / np.float32(255), number))
    skipped += _elsewhere(folder, classes)
    if not examples:
        raise DataError(
            f"{folder} has no picture that could be read; expected {', '.join(PICTURES)} in {classes[0]}/ ..."
        )
    return Reading(examples, len(skipped), skipped[0] if skipped else "")


def _elsewhere(folder: Path, classes: Sequence[str]) -> list[str]:
    """Return what is wrong with the pictures that lie in no folder of a class; hidden ones do not count."""
    inside = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    return [
        f"{path}: it is not in the folder of a class; expected {', '.join(classes)}"
        for path in inside
        if not ((len(path.parts) == 2 and path.parts[0] in classes) or any(part[0] == "." for part in path.parts))
    ]


# ------------------------------------------------------------------------------------------------ what both have


def _network(inputs: int, hidden: int, outputs: int, rng: np.random.Generator) -> Module:
    if not hidden:
        return Linear(inputs, outputs, rng=rng)
    first, last = Linear(inputs, hidden, rng=rng), Linear(hidden, outputs, rng=rng)
    return Sequential(Flatten(), first, ReLU(), last)


def _clusters(shape: tuple[int, ...], classes: int, seed: int, number: int) -> list[Example]:
    """Make up examples around one point a class, the same for all clients, of which each has its own shares."""
    points = 3 * np.random.default_rng([seed, 0, 3]).normal(size=(classes, *shape))
    rng = np.random.default_rng([seed, number, 3, 1])
    shares = np.full(classes, 1 / classes) if number == 0 else rng.dirichlet(np.full(classes, 2.0))
    labels = rng.choice(classes, GENERATED, p=shares)
    return [(points[label] + rng.normal(size=shape), int(label)) for label in labels]
