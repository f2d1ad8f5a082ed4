"""A task of a user's own: found by file or module, the same for all parties or refused, and never loaded by a name alone."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from parties import Parties
from refusals import refused_with
from test_private_rounds import POLICY, Small, small
from test_virtual import played, settings_for

from client.participant import Participant
from core.clock import SYSTEM_CLOCK
from core.errors import Reason, Refused, SettingsError, TaskError
from core.federated import (
    client_rng,
    client_update,
    encoding_for,
    identity_in_rounds,
    load_model,
    save_model,
    task_digest,
    task_identity,
)
from core.local_settings import LocalSettings
from core.protocol import RoundDescription, digest
from core.task_checks import check_same_task, served_task
from core.task_identity import TaskIdentity
from core.tasks import TASKS, get_task
from core.tasks.own import faithful, load_task
from core.tasks.task import Task
from core.wire import federation_pb2 as pb
from core.wire.messages import description_from_bytes, description_to_bytes
from core.wire.streams import model_bytes
from core.wire.task_messages import identity_from_wire, identity_to_wire
from keyholder.difference import DifferenceRule
from keyholder.holder import KeyHolder
from keyholder.ledger import Ledger
from keyholder.orders import ListOrder
from server.rules import RoundRules
from server.settings import RunSettings
from simulation.in_process import InProcessFederation, play
from simulation.registered import registered
from simulation.virtual.population import Generated

__all__ = ["small"]
MEAN = '''
"""Learn the mean of numbers: one step half the way to a client's own mean."""
import numpy as np
from core.tasks import Sums, Update, VectorTask

def initial(seed):
    return np.zeros(VALUES)

def generate(seed, number):
    return np.full((4, VALUES), float(number))

def evaluate(vector, data):
    return Sums(len(data), float(((data - vector) ** 2).sum()), 0)

def update(vector, data, rng):
    before = evaluate(vector, data)
    return Update((data.mean(axis=0) - vector) / 2, before.examples, before.loss, 0)

MEAN = VectorTask(name="mean", clip=CLIP, initial=initial, update=update, evaluate=evaluate, generate=generate)
'''


def written(folder: Path, text: str = MEAN, values: int = 2, clip: float = 4.0, name: str = "my_task.py") -> str:
    """Write a file with a task; return how it is said."""
    path = folder / name
    path.write_text(text.replace("VALUES", str(values)).replace("CLIP", str(clip)))
    return f"{path}:MEAN"


@pytest.fixture
def mean(tmp_path: Path) -> Task:
    return load_task(written(tmp_path))


# ------------------------------------------------------------------------------------------------ finding it


def test_a_file_is_found_from_any_folder_once_its_name_is_faithful(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    monkeypatch.chdir(tmp_path)
    said = faithful("my_task.py:MEAN")
    monkeypatch.chdir("/")
    assert said == f"{tmp_path}/my_task.py:MEAN"
    assert load_task(said).name == "mean"
    assert (faithful("spam"), faithful("package.module:NAME")) == ("spam", "package.module:NAME")


def test_a_module_of_a_package_is_found_in_the_folder_where_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its digest is of all files of the package: any of them may be part of the task."""
    package = tmp_path / "packaged_tasks"
    package.mkdir()
    (package / "__init__.py").touch()
    written(package, name="means.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = load_task("packaged_tasks.means:MEAN").source
    (package / "helper.py").write_text("HALF = 0.5\n")
    after = load_task("packaged_tasks.means:MEAN").source
    assert before is not None
    assert after is not None
    assert before.digest != after.digest


def test_a_task_of_the_project_is_itself_however_it_is_named() -> None:
    assert load_task("spam") is load_task("core.tasks.spam:SPAM") is TASKS["spam"]


def test_an_object_or_class_with_the_three_functions_is_a_task_too(tmp_path: Path) -> None:
    more = MEAN + (
        "\nclass Means:\n    clip = 4.0\n    def initial(self, seed): return initial(seed)\n"
        "    def update(self, vector, data, rng): return update(vector, data, rng)\n"
        "    def evaluate(self, vector, data): return evaluate(vector, data)\n"
    )
    said = written(tmp_path, more).replace(":MEAN", ":Means")
    assert load_task(said).name == "means"
    assert load_task(said).initial_model(0).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("text", "said", "sentence"),
    [
        (MEAN, "nothing.py:MEAN", r"there is no file nothing\.py$"),
        (MEAN, "no.such.module:MEAN", r"there is no module no\.such\.module here"),
        (MEAN, "my_task.py:MEDIAN", r"there is no MEDIAN in my_task\.py; it has MEAN"),
        (MEAN, "my_task.py", r"the task is 'my_task\.py'; expected a name, FILE\.py:NAME or package"),
        ("import numpy\ndef initial(:\n", "my_task.py:MEAN", r"my_task\.py, line 2: "),
        ("\nimport no_such_library\n", "my_task.py:MEAN", r"my_task\.py, line 2: ModuleNotFoundError: No module named"),
        ("x = 1\ny = x / 0\n", "my_task.py:MEAN", r"my_task\.py, line 2: ZeroDivisionError"),
        ("raise SystemExit\n", "my_task.py:MEAN", r"my_task\.py, line 1: it ends the program"),
        (
            MEAN.replace("CLIP", "3.0"),
            "my_task.py:MEAN",
            r"my_task\.py, line 19: clip of task mean is 3\.0; it must be a",
        ),
        (MEAN.replace('"mean"', '"spam"'), "my_task.py:MEAN", "has the name 'spam', which is one of the project's"),
        (MEAN.replace('"mean"', '"../mean"'), "my_task.py:MEAN", r"has the name '\.\./mean'; expected letters"),
        (
            "class MEAN:\n    initial = update = 1\n",
            "my_task.py:MEAN",
            "MEAN of my_task.py has no `evaluate`; a task is",
        ),
    ],
)
def test_a_task_that_cannot_be_loaded_says_where_and_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str, sentence: str
) -> None:
    written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((SettingsError, TaskError), match=sentence):
        load_task(said)


# ------------------------------------------------------------------------------------------------ its mistakes


@pytest.mark.parametrize(
    ("right", "wrong", "sentence"),
    [
        ("np.zeros(VALUES)", "np.zeros((2, 2))", r"gives an array of float64 of shape \(2, 2\); expected a vector"),
        ("np.zeros(VALUES)", "np.zeros(2, np.float32)", "gives an array of float32 of shape .2,.; expected float64"),
        ("np.zeros(VALUES)", "[1][2]", r"the initial model|initial of the task mean failed with IndexError.*line 7"),
        ("(data.mean(axis=0) - vector) / 2", "np.zeros(3)", r"a delta of shape \(3,\); expected \(2,\)"),
        ("(data.mean(axis=0) - vector) / 2", "np.zeros(2, int)", "a delta of int64; expected float64"),
        ("    return Update(", "    return tuple(", "failed with TypeError"),
        (
            "before = evaluate(vector, data)",
            "before = 1 / 0",
            r"update of the task mean failed with ZeroDivisionError: .*line 16",
        ),
    ],
)
def test_what_its_functions_do_wrong_is_one_sentence(tmp_path: Path, right: str, wrong: str, sentence: str) -> None:
    assert right in MEAN
    task = load_task(written(tmp_path, MEAN.replace(right, wrong)))
    with pytest.raises(TaskError, match=sentence):
        client_update(task, task.initial_model(0), task.made_up(0, 1), client_rng(0, 1, 1))


def test_it_is_given_a_copy_of_the_model(tmp_path: Path) -> None:
    task = load_task(written(tmp_path, MEAN.replace("before = evaluate", "vector += 1; before = evaluate")))
    model = task.initial_model(0)
    client_update(task, model, task.made_up(0, 1), client_rng(0, 1, 1))
    assert model.tolist() == [0.0, 0.0]


def test_settings_of_local_training_reach_an_update_that_takes_them_and_no_other(mean: Task, tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="the task mean trains by its own code and takes no settings .* local-epochs 2"
    ):
        mean.local_in(LocalSettings(local_epochs=2), 1)
    text = MEAN.replace("data, rng):", "data, rng, local):").replace("- vector) / 2", "- vector) * local.learning_rate")
    text = text.replace("CLIP,", "CLIP, local=LocalTraining(0.25),").replace(
        "import Sums", "import LocalTraining, Sums"
    )
    task = load_task(written(tmp_path, text))
    model, data = task.initial_model(0), task.made_up(0, 1)
    for asked, change in ((None, 0.25), (LocalSettings(learning_rate=0.75), 0.75)):
        update = client_update(task, model, data, client_rng(0, 1, 1), task.local_in(asked, 1))
        assert update.delta.tolist() == [change, change]
    with pytest.raises(SettingsError, match="which knows neither --optimiser nor --prox-mu"):
        task.local_in(LocalSettings(prox_mu=1.0), 1)


def test_a_model_of_it_is_saved_and_read_again(mean: Task, tmp_path: Path) -> None:
    save_model(tmp_path / "model.npz", mean, np.array([0.1, 0.2]))
    assert load_model(tmp_path / "model.npz", mean).tolist() == [0.1, 0.2]


# ------------------------------------------------------------------------------------------------ the same for all


def test_what_parties_must_agree_on_is_in_the_digest_and_a_difference_is_named(tmp_path: Path) -> None:
    ours = load_task(written(tmp_path))
    others = {
        "the client's 'mean' has 3 weights, this federation's 2": written(tmp_path, values=3, name="a.py"),
        "the client's 'mean' has a clip of 8, this federation's 4": written(tmp_path, clip=8.0, name="b.py"),
        "the client's 'mean' comes from a file with SHA-256 [0-9a-f]{16}..., this federation's from a file with": written(
            tmp_path, MEAN + "# a remark\n", name="c.py"
        ),
    }
    check_same_task("mean", task_digest(ours), ours, task_identity(ours))
    for sentence, said in others.items():
        theirs = load_task(said)
        with refused_with(Reason.WRONG_TASK, sentence):
            check_same_task("mean", task_digest(theirs), ours, task_identity(theirs))
    assert TaskIdentity(2, b"1", 1.0).difference(TaskIdentity(2, b"2", 1.0), "a", "b") == (
        "a has arrays of other names or shapes than b"
    )


def test_line_ends_of_another_system_make_no_other_task(tmp_path: Path) -> None:
    here = load_task(written(tmp_path))
    path = tmp_path / "there.py"
    path.write_bytes((tmp_path / "my_task.py").read_bytes().replace(b"\n", b"\r\n"))
    assert task_digest(load_task(f"{path}:MEAN")) == task_digest(here)


def test_tasks_of_the_project_have_the_digests_that_they_always_had() -> None:
    assert {name: task_digest(TASKS[name]).hex()[:8] for name in ("spam", "mnist-cnn", "shakespeare-lstm")} == {
        "spam": "a5fe40cb", "mnist-cnn": "461da7ed", "shakespeare-lstm": "580f4763",
    }  # fmt: skip
    assert identity_in_rounds(TASKS["spam"]) is None


def test_an_identity_survives_the_wire_and_has_whole_digests(mean: Task) -> None:
    identity = task_identity(mean)
    assert identity_from_wire(identity_to_wire(identity)) == identity
    for wrong in (pb.TaskIdentity(layout=b"1", clip=1), pb.TaskIdentity(layout=bytes(32), clip=float("nan"))):
        with refused_with(Reason.MALFORMED):
            identity_from_wire(wrong)


def round_of(small: Small, task: Task) -> RoundDescription:
    description, start = small.description(None), task.initial_model(0)
    encoding = encoding_for(task, len(start), description.key.plaintext_bits, 8)
    return replace(
        description, task=task.name, encoding=encoding, model_digest=digest(model_bytes(start)),
        task_identity=identity_in_rounds(task),
    )  # fmt: skip


def client_looks(small: Small, description: RoundDescription, task: Task) -> None:
    made = Participant(small.client, task, POLICY, task.made_up, SYSTEM_CLOCK)
    made.enrolled(description.id.run)
    made.verify(small.sign(description))


def holder_looks(small: Small, description: RoundDescription, task: Task | None) -> None:
    """The list is empty: of a round that a holder accepts, that is what it refuses."""
    ledger = Ledger(small.state)
    try:
        holder = KeyHolder(small.holder, POLICY, ledger, DifferenceRule.OFF, SYSTEM_CLOCK, task=task)
        holder.sign_list(ListOrder(small.sign(description), (), ()))
    except Refused as refusal:
        if refusal.reason is not Reason.COHORT_TOO_SMALL:
            raise
    finally:
        ledger.close()


@pytest.mark.parametrize("look", [client_looks, holder_looks])
def test_a_round_of_the_same_file_is_accepted_and_one_of_another_file_refused(
    small: Small, tmp_path: Path, look: Callable[[Small, RoundDescription, Task], None]
) -> None:
    ours, theirs = load_task(written(tmp_path)), load_task(written(tmp_path, MEAN + "\n# other", name="other.py"))
    look(small, round_of(small, ours), ours)
    described = description_from_bytes(description_to_bytes(round_of(small, theirs)))
    with refused_with(
        Reason.WRONG_TASK, "the round's 'mean' comes from a file with SHA-256 .* give all parties the same"
    ):
        look(small, described, ours)
    with refused_with(Reason.WRONG_TASK, "a task 'mean' of the project, and this party's is of a file"):
        look(small, replace(described, task_identity=None), ours)


def test_a_round_never_makes_a_party_load_a_file_that_it_was_not_started_with(small: Small, tmp_path: Path) -> None:
    """Whatever name the server announces: the file would leave a mark when it is run."""
    mark = tmp_path / "mark"
    said = written(tmp_path, f"open({str(mark)!r}, 'w')\n" + MEAN)
    mean = load_task(written(tmp_path, name="known.py"))
    for name in (said, "my_task.py:MEAN", "mean"):
        with refused_with(Reason.WRONG_TASK, "there is no task .* a task of your own is given as --task FILE:NAME"):
            holder_looks(small, replace(round_of(small, mean), task=name), None)
        with pytest.raises(SettingsError, match="there is no task"):
            get_task(name)
    with refused_with(Reason.WRONG_TASK):
        served_task(said, mean)
    with refused_with(Reason.WRONG_TASK):
        client_looks(small, replace(round_of(small, mean), task=said), mean)
    assert not mark.exists()
    assert served_task("mean", mean) is mean


# ------------------------------------------------------------------------------------------------ running it


@pytest.mark.parametrize(
    ("own", "refused"),
    [
        (lambda mean, _: mean, ""),
        (lambda _mean, _: None, "trains the own task 'mean', and 'keyholder-1' was started without one; give it the --task"),
        (lambda _mean, _: TASKS["spam"], "'keyholder-1' was started without one"),
        (lambda mean, _: replace(mean, name="median"), "'keyholder-1' was started with 'median'"),
        (lambda _, folder: load_task(written(folder, MEAN + "# other", name="other.py")),
         "the 'mean' of 'keyholder-1' comes from a file with SHA-256 .*; give all parties the same file"),
    ],
    ids=["same", "none", "of the project", "another name", "another file"],
)  # fmt: skip
async def test_a_key_holder_without_the_tasks_file_hears_it_when_it_joins(
    mean: Task, tmp_path: Path, own: Callable[[Task, Path], Task | None], refused: str
) -> None:
    rules = RoundRules(rounds=1, min_cohort=2, max_cohort=3, target=3)
    settings = RunSettings("mean", "plain", 256, 0, rules, insecure_demo_keys=True)
    federation = InProcessFederation(tmp_path, registered(tmp_path / "federation", settings, 3), settings, mean)
    await federation.start()
    party = federation.party("keyholder-1")
    party.session.holder.own_task = own(mean, tmp_path)
    await federation.settle("keyholder-1")
    assert party.connected == (not refused)
    if refused:
        assert isinstance(party.error, Refused)
        assert party.error.reason is Reason.WRONG_TASK
        assert re.search(refused, str(party.error))
    await federation.close()


def test_real_parties_and_virtual_ones_learn_the_mean_of_all(mean: Task) -> None:
    """Clients 1 to 3 have numbers 1 to 3. Two rounds half the way to the mean of 2 each: 1, then 1.5."""
    real = play(mean, clients=3, rounds=2, scheme="plain")
    assert real.model is not None
    assert real.model.tolist() == [1.5, 1.5]
    for workers in (1, 2):
        virtual = played(mean, workers, settings_for(mean, clients=3), Generated(mean, 0, 3))
        assert virtual.model.tobytes() == real.model.tobytes()


@pytest.mark.slow
def test_processes_find_the_file_and_the_record_holds_with_it(tmp_path: Path) -> None:
    written(tmp_path)
    parties = Parties(tmp_path)
    said = ("--task", "my_task.py:MEAN", "--clients", "3", "--rounds", "2", "--key-bits", "256", "--insecure-demo-keys")
    code, output = parties.start("simulation", *said, "--out", "run", cwd=tmp_path).end()
    assert code == 0, output
    model = load_model(tmp_path / "run" / "model.npz", load_task(f"{tmp_path}/my_task.py:MEAN"))
    assert model.tolist() == [1.5, 1.5]
    verify = ("results", "verify", "run")
    code, output = parties.start(*verify, "--task", "my_task.py:MEAN", cwd=tmp_path).end()
    assert (code, "2 rounds with 6 contributions: all signatures, sums and models hold" in output) == (0, True), output
    (tmp_path / "my_task.py").write_text((tmp_path / "my_task.py").read_text() + "# changed since\n")
    code, output = parties.start(*verify, "--task", "my_task.py:MEAN", cwd=tmp_path).end()
    assert code == 1
    assert "wrong_task: the round's 'mean' comes from a file with SHA-256" in output
    code, output = parties.start(*verify, cwd=tmp_path).end()
    assert (code, "there is no task 'mean'" in output) == (1, True)
    parties.close()


def test_the_digest_is_that_of_the_files_text(mean: Task, tmp_path: Path) -> None:
    """Anyone can compute it: SHA-256 of the length in eight bytes, and the text."""
    content = (tmp_path / "my_task.py").read_bytes()
    assert mean.source is not None
    assert mean.source.digest == hashlib.sha256(len(content).to_bytes(8, "big") + content).digest()
