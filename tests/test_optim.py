"""Optimisers and schedules: steps computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import GrokfedError
from core.nn import Linear, Sequential
from core.optim import (
    SGD,
    Adam,
    DivergedError,
    DivergenceCheck,
    ExponentialDecay,
    StepDecay,
    clip_grad_norm_,
    hot_and_cold,
)
from core.tensor import Tensor


def parameter(number: float = 1.0, gradient: float | None = None) -> Tensor:
    tensor = Tensor([float(number)], requires_grad=True)
    tensor.grad = None if gradient is None else np.array([gradient])
    return tensor


def positions(optimiser: SGD | Adam, gradients: list[float]) -> list[float]:
    """Where the only parameter is after a step with each gradient."""
    (weight,) = optimiser.parameters
    path = []
    for gradient in gradients:
        weight.grad = np.array([gradient])
        optimiser.step()
        path.append(weight.item())
    return path


def test_sgd_moves_against_the_gradient():
    assert positions(SGD([parameter(1.0)], lr=0.1), [2.0, -4.0]) == pytest.approx([0.8, 1.2])


def test_momentum_keeps_a_share_of_the_last_movement():
    # velocities 1, 0.5 + 1, 0.75 + 0
    assert positions(SGD([parameter(0.0)], lr=1, momentum=0.5), [1, 1, 0]) == pytest.approx([-1, -2.5, -3.25])


def test_weight_decay_pulls_towards_zero():
    assert positions(SGD([parameter(10.0)], lr=0.1, weight_decay=0.5), [0, 0]) == pytest.approx([9.5, 9.025])


def test_momentum_does_not_hold_on_to_the_gradient_array():
    weight = parameter(0.0, gradient=1.0)
    optimiser = SGD([weight], lr=1, momentum=0.5)
    optimiser.step()
    weight.grad[...] = 0
    optimiser.step()
    assert weight.item() == pytest.approx(-1.5)


def test_adam_first_moves_by_the_learning_rate_whatever_the_gradient():
    assert positions(Adam([parameter(1.0)], lr=0.1), [1e-3]) == pytest.approx([0.9], rel=1e-5)
    assert positions(Adam([parameter(1.0)], lr=0.1), [-1e3]) == pytest.approx([1.1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_adam_moves_a_parameter_that_is_a_single_number(dtype):
    number = Tensor(dtype(1.0), requires_grad=True)
    number.grad = dtype(2.0)
    Adam([number], lr=0.1).step()
    assert number.item() == pytest.approx(0.9)
    assert number.dtype == dtype


def test_adam_second_step_by_hand():
    # mean (0.9 * 0.1 + 0.1 * 3) / 0.19, square (0.999 * 0.001 + 0.001 * 9) / 0.001999
    second = 0.39 / 0.19 / np.sqrt(0.009999 / 0.001999)
    assert positions(Adam([parameter(0.0)], lr=1), [1, 3]) == pytest.approx([-1, -1 - second])


@pytest.mark.parametrize(("gradient", "expected"), [(0, 4.9), (-0.3, 4.9), (-0.7, 5.1)])
def test_adam_weight_decay_pulls_towards_zero(gradient, expected):
    """The decay of 0.1 * 5 and the gradient together decide on the direction."""
    assert positions(Adam([parameter(5.0)], lr=0.1, weight_decay=0.1), [gradient]) == pytest.approx([expected])


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_parameters_without_gradient_and_frozen_ones_stay(kind):
    without, frozen = parameter(1.0), parameter(1.0, gradient=5.0)
    frozen.requires_grad = False
    kind([without, frozen], lr=0.1).step()
    assert (without.item(), frozen.item()) == (1, 1)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_each_parameter_has_a_state_of_its_own(kind):
    """Interleaved with another parameter, a parameter takes the same path as alone."""
    alone, first, second = parameter(1.0), parameter(1.0), parameter(7.0)
    options = {"momentum": 0.9} if kind is SGD else {}
    optimiser_alone, optimiser_both = kind([alone], lr=0.1, **options), kind([first, second], lr=0.1, **options)
    for gradient in (1.0, -3.0, 0.5):
        alone.grad, first.grad, second.grad = np.array([gradient]), np.array([gradient]), np.array([100.0])
        optimiser_alone.step()
        optimiser_both.step()
    assert first.item() == alone.item()


@pytest.mark.parametrize("settings", [{}, {"momentum": 0.5}, {"weight_decay": 0.1}], ids=str)
@pytest.mark.parametrize("read_first", [False, True])
def test_looked_up_rows_move_as_by_their_whole_gradient(settings, read_first):
    """Row 1 is looked up twice and again in a second lookup; row 0 never."""
    table = Tensor(np.ones((20, 2)), requires_grad=True)
    whole = Tensor(np.ones((20, 2)), requires_grad=True)
    optimiser, reference = SGD([table], lr=0.5, **settings), SGD([whole], lr=0.5, **settings)
    for _ in range(3):
        optimiser.zero_grad()
        (table.index_select([1, 1, 3]).sum() + table.index_select([1]).sum() * 10).backward()
        if read_first:
            assert table.grad is not None
        optimiser.step()
        whole.grad = np.zeros((20, 2))
        whole.grad[[1, 3]] = [[12], [1]]
        reference.step()
    np.testing.assert_allclose(table.data, whole.data)


def test_frozen_tables_do_not_move():
    table = Tensor(np.ones((20, 2)), requires_grad=True)
    table.index_select([1]).sum().backward()
    table.requires_grad = False
    SGD([table], lr=1).step()
    assert (table.data == 1).all()


def test_float32_parameters_stay_float32():
    for kind in (SGD, Adam):
        weight = Tensor(np.ones(2, np.float32), requires_grad=True)
        weight.grad = np.ones(2, np.float32)
        kind([weight], lr=0.1, weight_decay=0.1).step()
        assert weight.dtype == np.float32


def test_zero_grad_forgets_gradients():
    weight = parameter(1.0, gradient=1.0)
    SGD([weight], lr=0.1).zero_grad()
    assert weight.grad is None


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"lr": 0}, "lr"),
        ({"lr": np.nan}, "lr"),
        ({"lr": 1, "momentum": 1}, "momentum"),
        ({"lr": 1, "weight_decay": -1}, "weight_decay"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        SGD([parameter()], **settings)


# --- Schedules ---


def test_exponential_decay_multiplies_the_rate_after_each_pass():
    optimiser = SGD([parameter()], lr=2.0)
    schedule = ExponentialDecay(optimiser, 0.99)
    schedule.step()
    assert optimiser.lr == pytest.approx(1.98)
    schedule.step()
    assert optimiser.lr == pytest.approx(1.9602)


def test_step_decay_multiplies_the_rate_every_few_passes():
    optimiser = SGD([parameter()], lr=8.0)
    schedule = StepDecay(optimiser, 3, 0.5)
    rates = []
    for _ in range(7):
        schedule.step()
        rates.append(optimiser.lr)
    assert rates == [8, 8, 4, 4, 4, 2, 2]


# --- Learning without gradients ---


def test_hot_and_cold_walks_towards_the_goal_and_swings_around_it():
    path = hot_and_cold(lambda weight: abs(weight - 2), weight=0.0, step=1.0, moves=5)
    assert [move.weight for move in path] == [0, 1, 2, 3, 2, 3]
    assert [move.error for move in path] == [2, 1, 0, 1, 0, 1]


def test_hot_and_cold_may_stay_at_the_goal():
    path = hot_and_cold(lambda weight: abs(weight + 2), weight=0.0, step=1.0, moves=5, may_stay=True)
    assert [move.weight for move in path] == [0, -1, -2]


def test_hot_and_cold_stays_where_no_side_is_better():
    assert len(hot_and_cold(lambda _: 1.0, weight=0.0, step=1.0, moves=5, may_stay=True)) == 1


# --- Out of bounds ---


def test_clipping_scales_all_gradients_to_one_global_norm():
    first, second, without = parameter(0, gradient=3.0), parameter(0, gradient=4.0), parameter()
    assert clip_grad_norm_([first, second, without], max_norm=1.0) == pytest.approx(5)
    assert (first.grad[0], second.grad[0]) == pytest.approx((0.6, 0.8))


def test_clipping_leaves_small_and_zero_gradients_alone():
    small, zero = parameter(0, gradient=0.3), parameter(0, gradient=0.0)
    assert clip_grad_norm_([small, zero], max_norm=1.0) == pytest.approx(0.3)
    assert (small.grad[0], zero.grad[0]) == (0.3, 0)
    assert clip_grad_norm_([zero], max_norm=1.0) == 0


def test_clipping_refuses_gradients_that_are_not_finite():
    with pytest.raises(DivergedError, match="norm of the gradients is inf"):
        clip_grad_norm_([parameter(0, gradient=np.inf)], max_norm=1.0)


@pytest.mark.parametrize("loss", [np.nan, np.inf, 2e6])
def test_a_loss_that_is_not_finite_or_grows_without_bound_is_reported(loss):
    check = DivergenceCheck()
    check(0.04)
    check(0.36)
    with pytest.raises(DivergedError, match=r"step 3 is (nan|inf|2e\+06), that of step 1 was 0.04; a smaller"):
        check(loss)
    assert issubclass(DivergedError, GrokfedError)


def test_a_loss_that_is_not_finite_from_the_start_is_reported():
    with pytest.raises(DivergedError, match="step 1 is nan"):
        DivergenceCheck()(np.nan)


def test_growth_is_measured_from_the_first_loss():
    check = DivergenceCheck(growth=10)
    check(100.0)
    check(999.0)
    with pytest.raises(DivergedError, match="step 3 is 1001"):
        check(1001.0)


def test_losses_that_jump_about_are_no_divergence():
    check = DivergenceCheck()
    for loss in (1e-9, 5.0, 0.0, 900.0):
        check(loss)


# --- Frozen entries ---


@pytest.mark.parametrize(
    "make",
    [
        lambda parameters: SGD(parameters, lr=0.1),
        lambda parameters: SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1),
        lambda parameters: Adam(parameters, lr=0.1, weight_decay=0.1),
    ],
    ids=["SGD", "SGD with momentum and decay", "Adam with decay"],
)
@pytest.mark.parametrize("entries", [0, [0], np.array([True, False, False])], ids=["number", "list", "mask"])
def test_a_frozen_entry_stays_and_the_others_move(make, entries):
    weights = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    optimiser = make([weights])
    optimiser.freeze(weights, entries)
    for _ in range(2):
        weights.grad = np.ones(3)
        optimiser.step()
    assert weights.data[0] == 1.0
    assert (weights.data[1:] < [2, 3]).all()
    optimiser.unfreeze(weights)
    weights.grad = np.ones(3)
    optimiser.step()
    assert weights.data[0] < 1


def test_a_frozen_row_of_a_looked_up_table_stays():
    table = Tensor(np.ones((3, 2)), requires_grad=True)
    optimiser = SGD([table], lr=0.5)
    optimiser.freeze(table, 1)
    table.index_select([1, 2, 2]).sum().backward()
    optimiser.step()
    assert table.data.tolist() == [[1, 1], [1, 1], [0, 0]]


def test_entries_frozen_again_take_the_place_of_those_before():
    weights = Tensor([1.0, 1.0], requires_grad=True)
    optimiser = SGD([weights], lr=1.0)
    optimiser.freeze(weights, 0)
    optimiser.freeze(weights, 1)
    weights.grad = np.ones(2)
    optimiser.step()
    assert weights.data.tolist() == [0, 1]


def test_what_cannot_be_frozen_is_refused():
    optimiser = SGD([parameter()], lr=1.0)
    with pytest.raises(ValueError, match="not among the parameters"):
        optimiser.freeze(parameter(), 0)  # equal, but another
    with pytest.raises(IndexError):
        optimiser.freeze(optimiser.parameters[0], 7)


# --- What would train nothing ---


@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (lambda: parameter(), TypeError, r"not one of shape \(1,\): put it into a list"),
        (lambda: Linear(2, 1, rng=0), TypeError, r"not a Linear: pass its parameters\(\)"),
        (lambda: Sequential(Linear(2, 1, rng=0)), TypeError, r"not a Sequential: pass its parameters\(\)"),
        (lambda: dict(Linear(2, 1, rng=0).named_parameters()), TypeError, "parameters are tensors, not str"),
        (lambda: [np.ones(2)], TypeError, "parameters are tensors, not ndarray"),
        (list, ValueError, "no parameters to train"),
        (lambda: [parameter() * 2], ValueError, r"shape \(1,\) is a result"),
        (lambda: [parameter()] * 2, ValueError, "there twice"),
    ],
    ids=["a tensor", "a layer", "a chain", "a dict", "arrays", "nothing", "a result", "twice the same"],
)
def test_what_an_optimiser_cannot_train_is_refused(kind, parameters, error, message):
    with pytest.raises(error, match=message):
        kind(parameters(), lr=0.1)


def test_a_generator_of_parameters_that_was_used_up_is_refused():
    parameters = Linear(2, 1, rng=0).parameters()
    assert len(list(parameters)) == 2
    with pytest.raises(ValueError, match="a generator of them can be used only once"):
        SGD(parameters, lr=0.1)


def test_one_tensor_can_be_clipped():
    weight = parameter(0, gradient=4.0)
    assert clip_grad_norm_(weight, max_norm=1.0) == 4
    assert weight.grad.tolist() == [1]
