"""The graph: gradients add up, memory is freed, mistakes are named."""

from __future__ import annotations

import copy
import doctest
import gc
import threading
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from gradients import check_operation

import core.tensor
from core.nn import LSTM, RNN, Embedding, Linear, Module
from core.optim import SGD, Adam, Optimiser
from core.tensor import Tensor, as_tensor, embedding_bag, no_grad


def leaf(*numbers: float) -> Tensor:
    return Tensor(np.array(numbers, float), requires_grad=True)


def test_a_tensor_used_twice_adds_up_its_gradients():
    a, b, c = leaf(1, 2), leaf(2, 2), leaf(5, 4)
    ((a + b) + (b + c)).backward(np.ones(2))
    np.testing.assert_array_equal(b.grad, [2, 2])
    np.testing.assert_array_equal(a.grad, [1, 1])


def test_a_negated_tensor_used_twice_adds_up_its_gradients():
    a, b, c = leaf(1, 2), leaf(2, 2), leaf(5, 4)
    ((a + (-b)) + ((-b) + c)).backward(np.ones(2))
    np.testing.assert_array_equal(b.grad, [-2, -2])


def test_a_tensor_multiplied_by_itself():
    x = leaf(3.0)
    (x * x * x).sum().backward()
    np.testing.assert_allclose(x.grad, [27.0])


def test_an_intermediate_result_waits_for_all_its_consumers():
    """h feeds a short and a long path; its own input must see both, once."""
    x = leaf(2.0)
    h = x * 3
    ((h + h * h) * h).sum().backward()  # h² + h³, so 3 (2 h + 3 h²) at h = 6
    np.testing.assert_allclose(x.grad, [3 * (12 + 108)])


def test_derivative_of_a_formula_with_respect_to_each_variable():
    check_operation(lambda beta, gamma, eps, x: ((beta * gamma) ** 2 + (eps + 22 - x)).sqrt(), (), (), (), (), low=0.5)


def test_a_second_forward_pass_adds_to_the_gradient():
    x = leaf(1.0)
    (x * 2).backward()
    (x * 5).backward()
    np.testing.assert_array_equal(x.grad, [7])


def test_a_second_backward_on_the_same_graph_is_refused_and_changes_nothing():
    x = leaf(1.0)
    y = (x * 2).exp()
    y.backward()
    gradient = x.grad.copy()
    with pytest.raises(RuntimeError, match="already used by backward"):
        y.backward()
    with pytest.raises(RuntimeError, match="already used by backward"):
        (x + y * 3).backward()
    np.testing.assert_array_equal(x.grad, gradient)


def test_a_detached_result_can_be_carried_on_after_backward():
    x = leaf(2.0)
    y = x * 3
    y.backward()
    (x * y.detach()).backward()
    np.testing.assert_array_equal(x.grad, [3 + 6])


def test_two_parameters_never_share_one_gradient_array():
    a, b = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (a + b).backward(np.ones(2))
    a.grad += 10
    np.testing.assert_array_equal(b.grad, [1, 1])


@pytest.mark.parametrize(
    "change_of_shape",
    [lambda x: x.reshape(1, 4), lambda x: x.broadcast_to(1, 4), lambda x: x[:], lambda x: x.sum(), lambda x: x.T],
)
def test_a_gradient_is_never_a_view_of_what_the_caller_gave(change_of_shape):
    x = leaf(1, 2, 3, 4)
    y = change_of_shape(x)
    given = np.ones(y.shape)
    y.backward(given)
    x.grad += 10
    assert (given == 1).all()
    np.testing.assert_array_equal(x.grad, [11, 11, 11, 11])


def test_backward_on_a_leaf_leaves_the_given_gradient_there():
    x, given = leaf(1.0, 2.0), np.array([3.0, 4.0])
    x.backward(given)
    x.backward(given)
    np.testing.assert_array_equal(x.grad, [6, 8])
    np.testing.assert_array_equal(given, [3, 4])


def test_a_graph_ten_thousand_deep():
    x = leaf(1.0)
    y = x
    for _ in range(10_000):
        y = y + 1
    y.backward()
    assert y.item() == 10_001
    np.testing.assert_array_equal(x.grad, [1])


def test_a_deep_graph_that_is_never_walked_can_be_dropped():
    y = leaf(1.0)
    for _ in range(30_000):
        y = y * 1.0
    del y


def kept_per_step(step: Callable[[], object], steps: int = 400) -> float:
    """Bytes that each step leaves behind, after some have filled what is kept once, an optimiser's state for example."""
    for _ in range(20):
        step()
    tracemalloc.start()
    step()
    before = traced_memory()
    for _ in range(steps):
        step()
    after = traced_memory()
    tracemalloc.stop()
    return (after - before) / steps


def traced_memory() -> int:
    gc.collect()  # Python keeps freed tuples for later; this gives them back
    return tracemalloc.get_traced_memory()[0]


def learning_step(model: Module, inputs: object, optimiser: Optimiser) -> None:
    outputs = model(inputs)
    loss = ((outputs[0] if isinstance(outputs, tuple) else outputs) ** 2).sum()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()


RNG = np.random.default_rng(0)
MODELS = {
    "dense": (lambda: Linear(30, 20, rng=RNG), np.ones((4, 30))),
    "looked-up rows": (lambda: Embedding(50, 8, rng=RNG), np.arange(20) % 7),
    "RNN": (lambda: RNN(4, 6, rng=RNG), np.ones((5, 2, 4))),
    "LSTM": (lambda: LSTM(4, 6, rng=RNG), np.ones((5, 2, 4))),
}
OPTIMISERS = {
    "SGD": lambda parameters: SGD(parameters, lr=1e-3),
    "momentum": lambda parameters: SGD(parameters, lr=1e-3, momentum=0.9),
    "Adam": lambda parameters: Adam(parameters, lr=1e-3),
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_step_of_learning_leaves_nothing_behind(model: str, optimiser: str):
    """A kept tensor, array or closure would take some hundred bytes a step."""
    build, inputs = MODELS[model]
    module = build()
    chosen = OPTIMISERS[optimiser](list(module.parameters()))
    assert kept_per_step(lambda: learning_step(module, inputs, chosen)) < 16


def test_a_loss_that_is_kept_keeps_its_one_number_but_not_its_graph():
    """As for a learning curve. An array of the graph would take 8,000 bytes a step, each further tensor some hundred."""
    weight = Tensor(np.ones(1000), requires_grad=True)
    losses: list[Tensor] = []

    def step() -> None:
        weight.grad = None
        losses.append((weight * weight).sum())
        losses[-1].backward()

    assert kept_per_step(step) < kept_per_step(lambda: losses.append(Tensor(np.ones(())))) + 150


def test_backward_frees_the_graph_of_a_result_that_is_kept():
    x = Tensor(np.ones(1_000_000), requires_grad=True)
    tracemalloc.start()
    y = (x * 2).exp().sum()
    y.backward()
    x.grad = None
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000
    assert y.item() == pytest.approx(np.e**2 * 1e6)


def test_no_grad_records_nothing_and_ends_with_its_block():
    x = leaf(1.0)
    with no_grad():
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad


def test_no_grad_ends_after_an_error_too():
    x = leaf(1.0)
    with pytest.raises(ZeroDivisionError), no_grad():
        _ = 1 / 0
    assert (x * 2).requires_grad


def test_no_grad_in_one_thread_does_not_reach_another():
    x = leaf(1.0)
    recorded = []
    with no_grad():
        thread = threading.Thread(target=lambda: recorded.append((x * 2).requires_grad))
        thread.start()
        thread.join()
    assert recorded == [True]


def test_constants_get_no_gradient():
    x, constant = leaf(2.0), Tensor([3.0])
    (x * constant).backward()
    assert constant.grad is None


def test_intermediate_gradients_are_kept_on_request():
    x = leaf(2.0)
    h = x * 3
    h.retain_grad()
    (h * h).backward()
    np.testing.assert_array_equal(h.grad, [12])


def test_a_few_rows_of_a_table_are_kept_as_rows_until_the_whole_gradient_is_read():
    table = Tensor(np.zeros((5, 2)), requires_grad=True)
    for rows in ([0], [2, 0]):
        table.index_select(rows).sum().backward()
    assert [part.indices.tolist() for part in table.row_gradients] == [[0], [2, 0]]
    np.testing.assert_array_equal(table.grad[:, 0], [2, 0, 1, 0, 0])
    assert table.row_gradients == []
    table.index_select([4]).sum().backward()
    np.testing.assert_array_equal(table.grad[:, 0], [2, 0, 1, 0, 1])


@pytest.mark.parametrize("first", [[1, 1], [1, 1, 1]])
def test_as_many_rows_as_the_table_has_make_a_whole_gradient(first):
    table = Tensor(np.zeros((3, 2)), requires_grad=True)
    table.index_select(first).sum().backward()
    table.index_select([2]).sum().backward()
    assert sum(len(part.indices) for part in table.row_gradients) < 3
    np.testing.assert_array_equal(table.grad[:, 0], [0, len(first), 1])


def test_rows_of_a_float32_table_make_a_float32_gradient():
    table = Tensor(np.zeros((5, 2), np.float32), requires_grad=True)
    embedding_bag(table, [1], [0], Tensor(np.ones(1))).sum().backward()
    assert table.grad.dtype == np.float32


def test_forgetting_the_gradient_forgets_rows_too():
    table = Tensor(np.zeros((5, 2)), requires_grad=True)
    table.index_select([1]).sum().backward()
    table.grad = None
    assert table.row_gradients == []
    assert table.grad is None


def test_rows_looked_up_in_a_computed_table_pass_their_gradient_on():
    source = Tensor(np.ones((5, 2)), requires_grad=True)
    (source * 3).index_select([4, 4]).sum().backward()
    np.testing.assert_array_equal(source.grad[:, 0], [0, 0, 0, 0, 6])


def test_backward_without_anything_that_requires_a_gradient_is_refused():
    with pytest.raises(RuntimeError, match="requires one"):
        Tensor([1.0]).backward()


def test_kept_intermediate_gradients_are_arrays_of_their_own():
    x = leaf(2.0)
    h, k = x * 3, x * 4
    h.retain_grad()
    k.retain_grad()
    (h + k).backward()
    h.grad += 10
    np.testing.assert_array_equal(k.grad, [1])


def test_intermediate_gradients_are_not_kept_unless_asked():
    x = leaf(2.0)
    h = x * 3
    (h * h).backward()
    assert h.grad is None


def test_backward_of_several_numbers_needs_a_gradient():
    with pytest.raises(ValueError, match=r"shape \(2,\) needs a gradient"):
        leaf(1, 2).backward()


def test_a_gradient_of_another_shape_is_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"\(3,\) does not fit a tensor of shape \(2,\)"):
        leaf(1, 2).backward(np.ones(3))


@pytest.mark.parametrize("data", [[1, 2], np.array([True]), np.arange(3)])
def test_only_floats_can_require_a_gradient(data):
    with pytest.raises(TypeError, match="only floats can have a gradient"):
        Tensor(data, requires_grad=True)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_gradients_keep_the_dtype(dtype):
    x = Tensor(np.ones((2, 3), dtype), requires_grad=True)
    y = ((2 * x + 1.5) / 3 - x**2).relu().mean().exp()
    y.backward()
    assert y.dtype == dtype
    assert x.grad.dtype == dtype


def test_a_float32_parameter_in_a_float64_formula_gets_a_float32_gradient():
    x = Tensor(np.ones(3, np.float32), requires_grad=True)
    (x * np.ones(3)).sum().backward()
    assert x.grad.dtype == np.float32


def test_numbers_and_arrays_work_on_either_side():
    x, array = Tensor([4.0, 8.0]), np.array([1.0, 2.0])
    for result, expected in [
        (10 - x, [6, 2]),
        (array - x, [-3, -6]),
        (8 / x, [2, 1]),
        (array / x, [0.25, 0.25]),
        (2 * x, [8, 16]),
        (array + x, [5, 10]),
        (array @ x, 20),
        (x @ array, 20),
    ]:
        assert isinstance(result, Tensor)
        np.testing.assert_array_equal(result.data, expected)


def test_an_optimised_tensor_does_not_change_the_array_it_was_made_from():
    array = np.ones(2)
    weight = Tensor(array, requires_grad=True)
    weight.data -= 1
    np.testing.assert_array_equal(array, [1, 1])


def test_shape_and_numbers_can_be_read():
    x = Tensor([[1.0, 2.0, 3.0]])
    assert (x.shape, x.ndim, x.size, len(x), x.dtype) == ((1, 3), 2, 3, 1, np.float64)
    assert x[0, 2].item() == 3
    assert x.numpy() is x.data
    assert repr(leaf(1.5)) == "Tensor([1.5], requires_grad=True)"
    assert as_tensor(x) is x


def test_transposing_swaps_two_axes():
    x = Tensor(np.zeros((2, 3, 4)))
    assert x.transpose().shape == (3, 2, 4)
    assert x.transpose(-1, 0).shape == (4, 3, 2)
    assert x.T.shape == (4, 3, 2)


def test_the_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"\(0, 3\) has no mean"):
        Tensor(np.zeros((0, 3))).mean()


def test_a_tensor_can_be_copied_with_its_numbers_apart():
    x = leaf(1.0)
    twin = copy.deepcopy(x)
    twin.data += 1
    assert (x.item(), twin.item()) == (1, 2)
    assert twin.requires_grad


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [("a", "b", 0), ("b", "c", 1), ("b", "d", 1), ("c", "c", 2), ("d", "d", 0.5), ("c", "e", 0)],
)
def test_dot_products_measure_similarity(left, right, expected):
    vectors = {"a": [0, 1, 0, 1], "b": [1, 0, 1, 0], "c": [0, 1, 1, 0], "d": [0.5, 0, 0.5, 0], "e": [0, 1, -1, 0]}
    assert (Tensor(vectors[left]) @ Tensor(vectors[right])).item() == expected


def test_the_example_in_the_module_is_true():
    assert doctest.testmod(core.tensor).failed == 0
