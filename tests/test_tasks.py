"""Every subject as a task: it learns, federates without losing anything, and is dealt out without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from core.errors import DataError, SettingsError
from core.federated import client_update, evaluate_model, initial_model, named_weights
from core.tasks import TASKS, analogies
from core.tasks.shakespeare import STEPS
from core.tasks.shakespeare import prepare as characters_of
from simulation.plan import make_plan

SUBJECTS = sorted(set(TASKS) - {"spam", "spam-pairs"})


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_round_on_made_up_data_lowers_the_loss(name: str) -> None:
    task = TASKS[name]
    model = initial_model(task, 1)
    data = task.prepare(task.generate(1, 1))
    update = client_update(task, model, data, np.random.default_rng(1))
    assert update.examples == len(data)
    assert 0 <= update.correct <= update.examples
    assert evaluate_model(task, model + update.delta, data).mean_loss < update.loss / update.examples
    assert np.abs(update.delta).max() < task.clip


@pytest.mark.parametrize(
    ("name", "padding"),
    [("babi", {"asked": 0, "matched": 0, "read_out": 0}), ("analogies", {"words": analogies.PADDING})],
)
def test_the_padding_row_of_an_update_is_exactly_zero(name: str, padding: dict[str, int]) -> None:
    """An update that moved it would tell how much padding a client has."""
    task = TASKS[name]
    model = initial_model(task, 1)
    update = client_update(task, model, task.prepare(task.generate(1, 1)), np.random.default_rng(1))
    moved = named_weights(task, update.delta)
    for table, row in padding.items():
        assert not moved[f"{table}.weight"][row].any()
        assert moved[f"{table}.weight"].any()


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_written_part_is_read_as_it_was(name: str, tmp_path: Path) -> None:
    task = TASKS[name]
    assert task.corpus is not None
    examples = list(task.generate(1, 1))[:20]
    task.corpus.write(tmp_path / "first.part", examples)
    read = task.read(tmp_path / "first.part").examples
    task.corpus.write(tmp_path / "second.part", read)
    assert (tmp_path / "first.part").read_bytes() == (tmp_path / "second.part").read_bytes()
    rows = np.arange(len(task.prepare(read)))
    np.testing.assert_allclose(task.prepare(read).batch(rows)[1], task.prepare(examples).batch(rows)[1])


def test_a_plan_never_gives_test_examples_to_clients(tmp_path: Path) -> None:
    play = "".join(f"{'ABC'[n % 3]}:\nspeech number {n}\n\n" for n in range(40))
    (tmp_path / "play.txt").write_text(play)
    task = TASKS["shakespeare-rnn"]
    plan = make_plan(task, tmp_path / "play.txt", 3, None, 0, tmp_path)
    parts = [task.read(Path(source)).examples for source in plan.sources]
    test = task.read(Path(plan.test)).examples
    assert [speech.text for speech in test] == [f"speech number {n}" for n in range(36, 40)]
    assert [{speech.speaker for speech in part} for part in parts] == [{"A"}, {"B"}, {"C"}]
    assert sorted(s.text for part in (*parts, test) for s in part) == sorted(f"speech number {n}" for n in range(40))


def test_an_unknown_partition_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "play.txt").write_text("".join(f"A:\nline {n}\n\n" for n in range(20)))
    with pytest.raises(SettingsError, match="the partition is 'sorted'"):
        make_plan(TASKS["shakespeare-rnn"], tmp_path / "play.txt", 2, "sorted", 0, tmp_path)
    with pytest.raises(DataError, match="1 groups of examples are too few for 2 clients"):
        make_plan(TASKS["shakespeare-rnn"], tmp_path / "play.txt", 2, None, 0, tmp_path)


def test_characters_count_one_by_one_and_come_in_whole_sequences() -> None:
    data = characters_of(TASKS["shakespeare-rnn"].generate(1, 1))
    assert len(data) % STEPS == 0
    inputs, targets = data.batch(np.arange(STEPS, 3 * STEPS))
    assert inputs.shape == (2, STEPS)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    with pytest.raises(ValueError, match="whole sequences of 64"):
        data.batch(np.arange(10))


@pytest.mark.parametrize("name", SUBJECTS)
def test_no_examples_are_one_sentence(name: str) -> None:
    with pytest.raises(DataError):
        TASKS[name].prepare([])
