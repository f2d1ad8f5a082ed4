"""Local training set for a run: what each setting does, who agrees to it, and that every way of running gives the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from parties import Parties
from refusals import refused_with
from test_private_rounds import POLICY, SPAM, Small, small
from test_virtual import played, settings_for

from core.data.arrays import ArrayDataset
from core.errors import Reason, SettingsError
from core.federated import client_rng, load_model
from core.local_settings import LocalSettings, OptimiserName, rate_factor
from core.losses import mse
from core.nn import Linear, Module, Parameter
from core.optim import SGD
from core.policy import Policy
from core.tasks import get_task
from core.tasks.local import LocalTraining, train_in_place
from core.tasks.own import load_task
from core.tensor import Tensor
from core.wire import federation_pb2 as pb
from core.wire.messages import description_from_bytes, description_to_bytes
from core.wire.task_messages import local_from_wire
from server.settings import RunSettings
from simulation.in_process import Options, play
from simulation.processes import ROOT
from simulation.virtual.population import Generated

__all__ = ["small"]
MLP = get_task("mnist-mlp")
ASKED = LocalSettings(
    learning_rate=0.05, lr_schedule="step:1:0.5", local_epochs=2, batch_size=16, optimiser=OptimiserName.MOMENTUM,
    prox_mu=0.1,
)  # fmt: skip


class One(Module):
    """A single weight w, which is also its output."""

    def __init__(self, start: float) -> None:
        self.weight = Parameter(np.array([start]))

    def forward(self, inputs: np.ndarray) -> Tensor:
        return self.weight * Tensor(np.ones(len(inputs)))


def half_square(outputs: Tensor, targets: np.ndarray) -> Tensor:
    """F(w) = (w - c)^2 / 2, whose gradient is w - c."""
    away = outputs - Tensor(targets)
    return (away * away).mean() * 0.5


def trained(local: LocalTraining, start: float = 0.0, examples: int = 1) -> float:
    model, data = One(start), ArrayDataset(np.zeros(examples), np.ones(examples))
    train_in_place(model, data, half_square, local, np.random.default_rng(0))
    return float(model.weight.data[0])


# ------------------------------------------------------------------------------------------------ FedProx


def test_fedprox_pulls_back_to_the_global_weights_as_its_equation_says() -> None:
    """h(w) = F(w) + mu/2 (w - w_t)^2 (Li et al. 2020, equation 2): w <- w - rate ((w - 1) + mu (w - w_t))."""
    rate, mu, start = 0.25, 2.0, -1.0
    weight = start
    for _ in range(3):
        weight -= rate * ((weight - 1) + mu * (weight - start))
    assert trained(LocalTraining(rate, epochs=3, optimiser=SGD, prox_mu=mu), start) == pytest.approx(weight, abs=1e-15)
    assert weight == pytest.approx(-0.34375)  # -1, -0.5, -0.375, -0.34375
    assert trained(LocalTraining(rate, epochs=3, optimiser=SGD), start) == pytest.approx(1 - 2 * 0.75**3)


def test_the_first_step_of_fedprox_is_that_of_plain_training() -> None:
    """At the global weights the pull is 0, whatever mu is."""
    for mu in (0.0, 100.0):
        assert trained(LocalTraining(0.5, optimiser=SGD, prox_mu=mu)) == 0.5


# ------------------------------------------------------------------------------------------------ steps and rates


@pytest.mark.parametrize(("steps", "passes"), [(1, 1), (2, 1), (3, 2), (5, 3)])
def test_steps_are_counted_over_as_many_passes_as_they_take(steps: int, passes: int) -> None:
    """Three examples in batches of two: two batches a pass. Each step at rate 1/2 halves the way to 1."""
    local = LocalTraining(0.5, batch_size=2, optimiser=SGD, steps=steps)
    assert trained(local, examples=3) == 1 - 0.5**steps
    assert local.passes(3) == passes


def test_a_schedule_multiplies_the_rate_by_what_its_formula_says() -> None:
    assert [rate_factor("step:2:0.5", number) for number in range(1, 6)] == [1, 1, 0.5, 0.5, 0.25]
    assert [rate_factor("cosine:4", number) for number in (1, 3)] == pytest.approx([1, 0.5])
    assert rate_factor("cosine:4", 4) == pytest.approx((1 + np.cos(0.75 * np.pi)) / 2)
    assert RunSettings(local=LocalSettings(lr_schedule="cosine")).local_training == LocalSettings(
        lr_schedule="cosine:5"
    )


def test_what_a_run_does_not_ask_for_is_as_the_task_says() -> None:
    own = LocalTraining(0.1, epochs=3, batch_size=8, optimiser=SGD)
    assert own.changed_by(LocalSettings(local_epochs=2), 1) == replace(own, epochs=2)
    assert own.changed_by(LocalSettings(lr_schedule="step:1:0.5"), 3) == replace(own, learning_rate=0.025)
    assert own.changed_by(ASKED, 2).learning_rate == 0.025
    assert LocalSettings.if_asked(None, "constant", None, None, None, None, 0.0) is None


@pytest.mark.parametrize(
    "schedule", ["linear", "step:0:0.5", "step:2:1.5", "step:2", "cosine:0", "cosine:x", "step:a:b"]
)
def test_a_schedule_that_cannot_work_is_named(schedule: str) -> None:
    with pytest.raises(SettingsError, match=f"--lr-schedule is '{schedule}'; expected constant, cosine, or step"):
        LocalSettings(lr_schedule=schedule)


def test_epochs_and_steps_are_not_given_together() -> None:
    with pytest.raises(SettingsError, match="--local-epochs is 2 and --local-steps is 3; give one of the two"):
        LocalSettings(local_epochs=2, local_steps=3)


# ------------------------------------------------------------------------------------------------ who agrees to it


def test_the_settings_are_in_the_signed_description_and_survive_the_wire(small: Small) -> None:
    plain = small.description(None)
    for asked in (ASKED, LocalSettings(local_steps=7), LocalSettings(prox_mu=1.0)):
        raw = description_to_bytes(replace(plain, local=asked))
        assert description_from_bytes(raw).local == asked
    assert pb.RoundDescription.FromString(description_to_bytes(plain)).HasField("local") is False


@pytest.mark.parametrize(
    "wrong",
    [
        pb.LocalSettings(learning_rate=-1.0),
        pb.LocalSettings(learning_rate=float("nan")),
        pb.LocalSettings(optimiser="lbfgs"),
        pb.LocalSettings(lr_schedule="step:0:1"),
        pb.LocalSettings(lr_schedule="step:1:0." + "1" * 80),
        pb.LocalSettings(local_epochs=2, local_steps=2),
        pb.LocalSettings(prox_mu=float("inf")),
    ],
)
def test_settings_that_cannot_work_are_malformed(wrong: pb.LocalSettings) -> None:
    with refused_with(Reason.MALFORMED):
        local_from_wire(wrong)


def least(most: int) -> Policy:
    return replace(POLICY, max_local_epochs=most)


@pytest.mark.parametrize("look", [Small.verify, Small.sign_list])
def test_a_party_takes_part_in_as_many_passes_as_its_policy_allows(
    small: Small, look: Callable[[Small, object, Policy], None]
) -> None:
    """The list of the key holder is empty, so one that accepts the round says that."""
    twice = replace(small.description(None), local=LocalSettings(local_epochs=2))
    with refused_with(Reason.LOCAL_TRAINING, "the round asks for 2 passes .* at most 1 .max-local-epochs"):
        look(small, twice, least(1))
    if look is Small.verify:
        look(small, twice, least(2))
        look(small, small.description(None), least(1))
    else:
        with refused_with(Reason.COHORT_TOO_SMALL):
            look(small, twice, least(2))


def test_steps_count_as_the_passes_that_they_take_over_the_clients_own_data(small: Small) -> None:
    """Sixty mails in batches of 32 are two batches a pass: two steps are one pass, three begin a second."""
    for steps, refused in ((2, False), (3, True)):
        description = replace(small.description(None), local=LocalSettings(local_steps=steps))
        client, signed = small.participant(least(1)), small.sign(description)
        client.verify(signed)
        model = SPAM.initial_model(0)
        if refused:
            with refused_with(Reason.LOCAL_TRAINING, "3 batches of 32, which are 2 passes over this client's 60"):
                client.answer(description, signed, model)
        else:
            assert client.answer(description, signed, model).payload


# ------------------------------------------------------------------------------------------------ every way of running

CLIENTS, ROUNDS = 3, 2
RINGS = load_task(f"{ROOT}/docs/own_tasks/rings.py:RINGS")
FEW = replace(MLP, generate=lambda seed, number: MLP.generate(seed, number)[:40])


def test_real_parties_and_virtual_ones_train_as_asked_to_the_same_bits() -> None:
    population = Generated(RINGS, 0, CLIENTS)
    plain = played(RINGS, 1, settings_for(RINGS, clients=CLIENTS), population)
    real = play(RINGS, clients=CLIENTS, rounds=ROUNDS, scheme="plain", options=Options(local=ASKED))
    assert real.model is not None
    assert real.model.tobytes() != plain.model.tobytes()
    for workers in (1, 2):
        virtual = played(RINGS, workers, settings_for(RINGS, clients=CLIENTS, local=ASKED), population)
        assert virtual.model.tobytes() == real.model.tobytes()


@pytest.mark.slow
def test_processes_train_as_asked_to_the_same_bits(tmp_path: Path) -> None:
    said = (
        "--task", "mnist-mlp", "--clients", "3", "--rounds", "2", "--seed", "4", "--local-steps", "5", "--prox-mu", "0.1",
        "--lr-schedule", "cosine", "--optimiser", "momentum", "--learning-rate", "0.02", "--batch-size", "8",
    )  # fmt: skip
    models = []
    for name, way in (("processes", ("--scheme", "plain")), ("virtual", ("--virtual", "--workers", "2"))):
        parties = Parties(tmp_path)
        code, output = parties.start("simulation", *said, *way, "--out", tmp_path / name).end()
        parties.close()
        assert code == 0, output
        models.append(load_model(tmp_path / name / "model.npz", MLP).tobytes())
    assert models[0] == models[1]


def test_the_defaults_train_as_before() -> None:
    """One pass by hand: the model's loss, its optimiser made anew, batches of 32 in the rng's order."""
    data, rng = FEW.made_up(0, 1), client_rng(0, 1, 1)
    model = FEW.build(np.random.default_rng(3))
    again = FEW.build(np.random.default_rng(3))
    train_in_place(model, data, FEW.loss, FEW.local, rng)
    optimiser = FEW.local.optimiser(again.parameters(), FEW.local.learning_rate)
    order = client_rng(0, 1, 1).permutation(len(data))
    for rows in (order[:32], order[32:]):
        inputs, targets = data.batch(rows)
        optimiser.zero_grad()
        FEW.loss(again(inputs), targets).backward()
        optimiser.step()
    assert all(np.array_equal(a.data, b.data) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_fedprox_with_a_model_of_several_layers_only_adds_the_pull_of_each_weight() -> None:
    """Against the gradient written out: the plain one plus mu (w - w_t), for two steps of descent."""
    rng = np.random.default_rng(0)
    inputs, targets = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    data, mu, rate = ArrayDataset(inputs, targets), 0.7, 0.1
    model, again = (Linear(3, 2, rng=np.random.default_rng(1)) for _ in range(2))
    train_in_place(model, data, mse, LocalTraining(rate, epochs=2, batch_size=8, optimiser=SGD, prox_mu=mu), rng)
    start = [parameter.data.copy() for parameter in again.parameters()]
    for _ in range(2):
        again.zero_grad()
        mse(again(inputs), targets).backward()
        for parameter, before in zip(again.parameters(), start, strict=True):
            assert parameter.grad is not None
            parameter.data -= rate * (parameter.grad + mu * (parameter.data - before))
            parameter.mark_changed()
    for trained_one, expected in zip(model.parameters(), again.parameters(), strict=True):
        assert np.allclose(trained_one.data, expected.data, atol=1e-14)


def test_training_is_said_by_options_as_asked_and_else_as_the_task_says() -> None:
    task = replace(SPAM, local=LocalTraining(0.5, epochs=2, batch_size=8, optimiser=SGD))
    own = {
        "learning-rate": 0.5, "lr-schedule": "constant", "local-epochs": 2, "local-steps": None, "batch-size": 8,
        "optimiser": "sgd",
    }  # fmt: skip
    assert RunSettings().training_options(task) == own
    asked = RunSettings(local=LocalSettings(local_steps=3, optimiser=OptimiserName.ADAM, lr_schedule="cosine"))
    changed = {"local-epochs": None, "local-steps": 3, "optimiser": "adam", "lr-schedule": "cosine"}
    assert asked.training_options(task) == own | changed
    in_steps = replace(task, local=replace(task.local, steps=7, optimiser=lambda weights, rate: SGD(weights, rate)))
    assert RunSettings().training_options(in_steps) == own | {
        "local-epochs": None, "local-steps": 7, "optimiser": None,
    }  # fmt: skip
    assert RunSettings(local=LocalSettings(local_epochs=1)).training_options(in_steps)["local-epochs"] == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"learning_rate": "0.1"}, "learning_rate is '0.1'; it must be a positive number"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; it must be a positive number"),
        ({"prox_mu": None}, "prox_mu is None; it must be 0 or a positive number"),
        ({"epochs": "2"}, "epochs is '2'; it must be a whole number of at least 1"),
        ({"batch_size": 1.5}, "batch_size is 1.5; it must be a whole number of at least 1"),
        ({"steps": 0}, "steps is 0; it must be a whole number of at least 1"),
    ],
)
def test_settings_of_a_wrong_kind_or_size_are_named(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as raised:
        LocalTraining(**{"learning_rate": np.float32(0.1), "epochs": np.int64(2), **wrong})
    assert str(raised.value) == sentence
