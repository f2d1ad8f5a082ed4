"""Find the mistakes of an own task before a run does: `python -m simulation check-task FILE:NAME`.

It does what a run would do with the task, for one client and one round, twice, and says what does not hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import GrokfedError
from core.federated import client_rng, client_update, encode_update, encoding_for, evaluate_model, initial_model
from core.finite_json import dumps
from core.optim import DivergedError
from core.secagg.encoding import LARGEST_UPDATE
from core.tasks.own import load_task, own_code
from core.tasks.task import GENERATED, Task
from core.training import Dataset, Sums
from core.update import Update
from simulation.plan import divide

FloatArray = npt.NDArray[np.float64]
MOST_CUT = 0.01
"""The share of changes that a clip may cut: what is cut is lost in every round."""
SEED = 0
CHECKS = {
    "load": "the file can be run, and has the task",
    "data": "there is data for a client, the same for the same seed",
    "initial": "its initial model is a vector, the same for the same seed",
    "save": "a model can be saved and read again",
    "evaluate": "it judges models, the same way each time",
    "update": "its update fits the model, and is the same for the same rng, whoever trained before",
    "clip": f"its clip cuts at most {MOST_CUT:.0%} of the changes",
    "encode": "its update can be encoded and added",
}


@dataclass
class Checked:
    """What was found of a task.

    Attributes:
        problems: what does not hold, in a sentence, by the name of a check.
        passed: names of the checks that hold.
        facts: what it is like, by name.
    """

    task: str
    problems: dict[str, str] = field(default_factory=dict)
    passed: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_text(self) -> str:
        """Return it for people."""
        facts = ", ".join(f"{name} {str(value)[:16]}" for name, value in self.facts.items())
        lines = [f"{self.task}: {facts}" if facts else self.task]
        lines += [f"  {name:9} holds: {CHECKS[name]}" for name in self.passed]
        lines += [f"  {name:9} WRONG: {sentence}" for name, sentence in self.problems.items()]
        return "\n".join(
            [*lines, "the task can be federated" if self.holds else "the task cannot be federated like this"]
        )

    def as_json(self) -> str:
        """Return it as one JSON object."""
        problems = [{"check": name, "message": sentence} for name, sentence in self.problems.items()]
        return dumps(
            {"task": self.task, "holds": self.holds, "problems": problems, "passed": self.passed, **self.facts}
        )


class _WrongError(GrokfedError):
    """A check that does not hold."""


def check_task(said: str, data: Path | None = None) -> Checked:
    """Load a task, and try everything that a run does with it.

    Args:
        said: FILE:NAME, package.module:NAME, or the name of one of the project's tasks.
        data: a file or folder that the task reads; without one, what it makes up is tried.
    """
    checked = Checked(said)
    started = time.monotonic()
    task = _step(checked, "load", lambda: load_task(said))
    if task is not None:
        checked.facts["name"] = task.name
        _check_model(checked, task, _step(checked, "data", lambda: _data(task, data)), data)
    checked.facts["seconds"] = round(time.monotonic() - started, 2)
    return checked


def _check_model(checked: Checked, task: Task, data: Dataset | None, path: Path | None) -> None:
    model = _step(checked, "initial", lambda: _initial(task))
    if model is None:
        return
    checked.facts |= {"values": len(model), "clip": task.clip}
    if task.source is not None:
        checked.facts["source"] = task.source.digest.hex()
    _step(checked, "save", lambda: _saved(task, model))
    if data is None:
        return
    checked.facts["examples"] = len(data)
    _step(checked, "evaluate", lambda: _judged(task, model, data))
    update = _step(checked, "update", lambda: _updated(task, model, data, _of_another(task, data, path)))
    if update is not None:
        _step(checked, "clip", lambda: _cut(task, update))
        _step(checked, "encode", lambda: _encoded(task, update))


def _step(checked: Checked, name: str, act: Callable[[], Any]) -> Any:
    """Do one check; note whether it holds, and return what it gives."""
    try:
        found = act()
    except GrokfedError as error:
        checked.problems[name] = str(error)
        return None
    checked.passed.append(name)
    return found


def _require(holds: bool, sentence: str) -> None:
    if not holds:
        raise _WrongError(sentence)


# ------------------------------------------------------------------------------------------------ the checks


def _data(task: Task, path: Path | None) -> Dataset:
    """Return one client's data, from a file or made up, and see that what is made up depends on its seed alone."""
    if path is not None:
        return _prepared(task, _part(task, path))
    task.check_makes_up()
    data, again = (_prepared(task, task.generate(SEED, 1)) for _ in range(2))
    with own_code(task, "the length of the data"):
        _require(len(data) > 0, "it makes up no example for client 1; expected at least one")
        _require(len(data) == len(again), f"generate({SEED}, 1) gives {len(data)} examples, and then {len(again)}")
    _require(
        _same_judged(task, data, again),
        f"generate({SEED}, 1) gives other examples the second time; draw them from the seed",
    )
    task.load_test(GENERATED, SEED, 3)
    return data


def _of_another(task: Task, data: Dataset, path: Path | None) -> Dataset:
    """Return the data of the second client; that of the first where no run deals it out, as each has its own file."""
    if path is None:
        return _prepared(task, task.generate(SEED, 2))
    return data if task.corpus is None and not task.mail else _prepared(task, _part(task, path, 1))


def _part(task: Task, path: Path, place: int = 0) -> Any:
    """Return the examples that a client of a run with the usual number of them would be dealt, by its place from 0."""
    if task.corpus is None and not task.mail:
        return task.read_labelled(str(path)).examples  # no run deals it out: each client has a file of its own
    division = divide(task, path, None, None, SEED)
    assert division is not None
    return division.parts[place]


def _prepared(task: Task, examples: Any) -> Dataset:
    with own_code(task, "prepare"):
        return task.prepare(examples)


def _same_judged(task: Task, data: Dataset, again: Dataset) -> bool:
    """Return whether a model judges two data sets alike; true if it judges one of them in two ways, or cannot.

    Another check finds that.
    """
    try:
        model = initial_model(task, SEED) + 0.01
        once, twice = evaluate_model(task, model, data), evaluate_model(task, model, data)
        return once != twice or once == evaluate_model(task, model, again)
    except GrokfedError:
        return True


def _initial(task: Task) -> FloatArray:
    model, again = initial_model(task, SEED), initial_model(task, SEED)
    wrong = int(model.size - np.isfinite(model).sum())
    _require(not wrong, f"{wrong} of the {model.size} numbers of initial({SEED}) are not finite")
    _require(model.size <= LARGEST_UPDATE, f"it has {model.size} weights; at most {LARGEST_UPDATE} can be encoded")
    _require(
        len(model) == len(again) and np.array_equal(model, again),
        f"initial({SEED}) gives another model the second time: it does not depend on its seed alone, and parties would "
        "begin with different models",
    )
    _require(len(initial_model(task, SEED + 1)) == len(model), "its number of weights depends on the seed")
    return model


def _saved(task: Task, model: FloatArray) -> None:
    again = task.vector_of(task.named_weights(model))
    _require(np.array_equal(model, again), "the model as named arrays is not the model that was given")


def _judged(task: Task, model: FloatArray, data: Dataset) -> Sums:
    sums, again = evaluate_model(task, model, data), evaluate_model(task, model, data)
    _require(np.isfinite(sums.loss), f"evaluate gives a loss of {sums.loss}; expected a finite number")
    _require(sums == again, f"evaluate gives {sums}, and the second time {again}")
    _counts("evaluate", sums.examples, sums.correct, len(data))
    return sums


def _counts(what: str, examples: int, correct: int, length: int) -> None:
    for name, number in (("examples", examples), ("correct", correct)):
        whole = isinstance(number, int | np.integer)
        _require(whole, f"{what} gives {name} = {number!r}, a {type(number).__name__}; expected a whole number")
    _require(examples > 0, f"{what} counts {examples} examples, and the data has {length}")
    _require(0 <= correct <= examples, f"{what} says that {correct} of {examples} examples are right")


def _updated(task: Task, model: FloatArray, data: Dataset, of_another: Dataset) -> Update:
    before = model.copy()
    update, again = (client_update(task, model, data, client_rng(SEED, 1, 1)) for _ in range(2))
    client_update(task, model, of_another, client_rng(SEED, 1, 2))
    after_another = client_update(task, model, data, client_rng(SEED, 1, 1))
    _require(np.array_equal(model, before), "update changes the model that it is given; let it change a copy")
    wrong = int(update.delta.size - np.isfinite(update.delta).sum())
    _require(not wrong, f"{wrong} of the {update.delta.size} changes of its update are not finite")
    _require(np.isfinite(update.loss), f"update gives a loss of {update.loss}; expected a finite number")
    _require(
        np.array_equal(update.delta, again.delta) and update.loss == again.loss,
        "update gives another change the second time, with the same model, data and rng: let all chance come from rng",
    )
    _require(
        np.array_equal(update.delta, after_another.delta) and update.loss == after_another.loss,
        "update gives another change after another client has trained: it keeps something from client to client, so "
        "the model would depend on who trains where; let it depend on model, data and rng alone",
    )
    _counts("update", update.examples, update.correct, len(data))
    return update


def _cut(task: Task, update: Update) -> None:
    changes = np.abs(update.delta[update.delta != 0])
    _require(changes.size > 0, "update changes no weight; there is nothing to learn from it")
    share, largest = float((changes > task.clip).mean()), float(changes.max())
    enough = 2.0 ** np.ceil(np.log2(largest))
    _require(
        share <= MOST_CUT,
        f"its clip of {task.clip:g} cuts {share:.1%} of the changes, the largest of which is {largest:.3g}; a clip of "
        f"{enough:g} cuts none",
    )


def _encoded(task: Task, update: Update) -> None:
    encoding = encoding_for(task, len(update.delta), plaintext_bits=2047, max_cohort=64)
    try:
        encode_update(encoding, update, None)
    except (DivergedError, ValueError) as error:
        raise _WrongError(f"its update cannot be encoded: {error}") from error
