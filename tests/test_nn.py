"""Layers and the container: what they compute, how they start, how their parameters are found."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from gradients import check_gradients, numbers

import core.nn
from core import nn
from core.nn import Dropout, Embedding, EmbeddingBag, Ensemble, Linear, Module, Parameter, Sequential
from core.optim import SGD
from core.tensor import Tensor


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def check_layer(layer: Module, *inputs: object) -> None:
    """Check the gradients of all parameters, and of all inputs that are tensors with a gradient."""
    learning = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    check_gradients(lambda: layer(*inputs), [*layer.parameters(), *learning])


def leaf(*shape: int) -> Tensor:
    return Tensor(numbers(*shape), requires_grad=True)


# --- Gradients of every layer ---


@pytest.mark.parametrize("shape", [(4,), (2, 4), (3, 2, 4)])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_gradients(rng, shape, bias):
    check_layer(Linear(4, 3, bias=bias, rng=rng), leaf(*shape))


def test_embedding_gradients(rng):
    check_layer(Embedding(5, 3, rng=rng), [[0, 2], [2, 4]])


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("weighted", [True, False])
def test_embedding_bag_gradients(rng, mode, weighted):
    weights = [leaf(4)] if weighted else []
    check_layer(EmbeddingBag(5, 3, mode=mode, rng=rng), [0, 2, 2, 4], [0, 0, 3], *weights)


def test_embedding_with_padding_gradients(rng):
    table = Embedding(5, 3, padding_idx=2, rng=rng)
    check_gradients(lambda: table([[0, 2], [2, 4]]), [table.weight])


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("options", [{"padding_idx": 2}, {"deduplicate": True}], ids=str)
def test_embedding_bag_with_options_gradients(rng, mode, options):
    check_layer(EmbeddingBag(5, 3, mode=mode, rng=rng, **options), [0, 2, 2, 4, 4], [0, 0, 2, 5])


def test_gradients_through_several_layers(rng):
    check_layer(Sequential(Linear(4, 3, rng=rng), nn.Tanh(), Linear(3, 2, rng=rng)), leaf(2, 4))


# --- Values ---


def test_linear_computes_inputs_times_weight_plus_bias(rng):
    layer = Linear(2, 3, rng=rng)
    layer.weight.data[...] = [[1, 2, 3], [4, 5, 6]]
    layer.bias.data[...] = [10, 20, 30]
    np.testing.assert_array_equal(layer([[1.0, 1.0], [0.0, 2.0]]).data, [[15, 27, 39], [18, 30, 42]])


def test_linear_with_inputs_of_another_width_names_both_shapes(rng):
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(2, 4\)"):
        Linear(2, 4, rng=rng)(np.ones((5, 3)))


def test_embedding_bags_sum_or_average_their_rows(rng):
    bag = EmbeddingBag(3, 2, mode="sum", rng=rng)
    bag.weight.data[...] = [[1, 2], [10, 20], [100, 200]]
    indices, offsets = [0, 2, 1, 1, 1], [0, 2, 2]
    np.testing.assert_array_equal(bag(indices, offsets).data, [[101, 202], [0, 0], [30, 60]])
    bag.mode = "mean"
    np.testing.assert_array_equal(bag(indices, offsets).data, [[50.5, 101], [0, 0], [10, 20]])
    np.testing.assert_array_equal(bag(indices, offsets, np.arange(5.0)).data, [[50, 100], [0, 0], [30, 60]])


def test_padding_counts_as_nothing_and_never_learns(rng):
    table = Embedding(4, 2, padding_idx=1, rng=rng)
    optimiser = SGD(table.parameters(), lr=1.0, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        optimiser.zero_grad()
        vectors = table([[0, 1], [1, 1]])
        (vectors + 1).sum().backward()
        optimiser.step()
    np.testing.assert_array_equal(table.weight.data[1], [0, 0])
    np.testing.assert_array_equal(vectors.data[1], np.zeros((2, 2)))
    assert vectors.data[0, 0].all()


def test_padding_counts_as_nothing_even_if_a_loaded_vector_is_not_zero(rng):
    table = Embedding(4, 2, padding_idx=1, rng=rng)
    table.weight.data[...] = 5
    np.testing.assert_array_equal(table([0, 1]).data, [[5, 5], [0, 0]])


def test_padding_in_a_bag_is_left_out_of_sum_and_mean(rng):
    bag = EmbeddingBag(3, 1, mode="sum", padding_idx=0, rng=rng)
    bag.weight.data[...] = [[100], [2], [4]]
    indices, offsets = [0, 1, 2, 0, 0, 2], [0, 3, 5, 6]
    np.testing.assert_array_equal(bag(indices, offsets).data, [[6], [0], [4], [0]])
    np.testing.assert_array_equal(bag(indices, offsets, [9.0, 1, 2, 9, 9, 3]).data, [[10], [0], [12], [0]])
    bag.mode = "mean"
    np.testing.assert_array_equal(bag(indices, offsets).data, [[3], [0], [4], [0]])


def test_a_padding_row_outside_the_table_is_refused(rng):
    with pytest.raises(ValueError, match=r"0 \.\.\. 2, not 3"):
        Embedding(3, 1, padding_idx=3, rng=rng)


def test_a_deduplicating_bag_counts_each_number_once(rng):
    bag = EmbeddingBag(3, 1, mode="sum", deduplicate=True, rng=rng)
    bag.weight.data[...] = [[1], [10], [100]]
    np.testing.assert_array_equal(bag([2, 0, 2, 2, 1, 1], [0, 0, 3, 6]).data, [[0], [101], [110], [0]])
    bag.mode = "mean"
    np.testing.assert_array_equal(bag([2, 0, 2, 2, 1, 1], [0, 0, 3, 6]).data, [[0], [50.5], [55], [0]])
    np.testing.assert_array_equal(bag([], [0, 0]).data, [[0], [0]])


def test_a_deduplicating_bag_refuses_weights(rng):
    with pytest.raises(ValueError, match="takes no per_sample_weights"):
        EmbeddingBag(3, 1, deduplicate=True, rng=rng)([1, 1], [0], [1.0, 2.0])


def test_flatten_keeps_the_first_axis():
    assert nn.Flatten()(np.zeros((5, 2, 3, 4))).shape == (5, 24)


def test_embedding_bag_refuses_an_unknown_mode(rng):
    with pytest.raises(ValueError, match='"mean", "sum" or "root", not \'max\''):
        EmbeddingBag(3, 2, mode="max", rng=rng)


def test_linear_starts_with_variance_two_over_its_inputs(rng):
    layer = Linear(50, 2000, rng=rng)
    assert layer.weight.data.var() == pytest.approx(2 / 50, rel=0.02)
    assert layer.weight.data.mean() == pytest.approx(0, abs=0.002)
    assert not layer.bias.data.any()


def test_embedding_tables_start_within_half_over_their_width(rng):
    for table in (Embedding(1000, 20, rng=rng).weight.data, EmbeddingBag(1000, 20, rng=rng).weight.data):
        assert -0.025 <= table.min() < -0.0249
        assert 0.0249 < table.max() <= 0.025


def test_equal_generators_start_equal_layers():
    first, second = (Linear(3, 4, rng=np.random.default_rng(1)).weight.data for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("kind", [Linear, Embedding, EmbeddingBag])
def test_layers_can_work_in_float32(rng, kind):
    assert all(parameter.dtype == np.float32 for parameter in kind(4, 3, rng=rng, dtype=np.float32).parameters())


def test_a_float32_network_stays_float32(rng):
    model = Sequential(Linear(4, 3, rng=rng, dtype=np.float32), nn.ReLU(), Dropout(0.5, rng=rng))
    assert model(np.ones((2, 4), np.float32)).dtype == np.float32


# --- Dropout ---


def test_dropout_zeroes_its_share_and_scales_the_rest(rng):
    x = Tensor(np.ones(100_000), requires_grad=True)
    y = Dropout(0.2, rng=rng)(x)
    assert set(np.unique(y.data)) == {0.0, 1.25}
    assert (y.data == 0).mean() == pytest.approx(0.2, abs=0.01)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, y.data)  # forward and backward use one mask


def test_dropout_does_nothing_in_evaluation(rng):
    layer = Dropout(0.9, rng=rng).eval()
    np.testing.assert_array_equal(layer(np.ones(100)).data, np.ones(100))


def test_dropout_of_nothing_keeps_everything(rng):
    np.testing.assert_array_equal(Dropout(0.0, rng=rng)(np.ones(100)).data, np.ones(100))


@pytest.mark.parametrize("p", [-0.1, 1.0, np.nan])
def test_dropout_refuses_what_is_no_probability_below_one(rng, p):
    with pytest.raises(ValueError, match=r"in \[0, 1\)"):
        Dropout(p, rng=rng)


# --- Finding parameters ---


class Nested(Module):
    def __init__(self, rng: np.random.Generator) -> None:
        self.scale = Parameter(np.ones(1))
        self.constant = Tensor(np.ones(1))
        self.parts = {"first": Linear(2, 2, rng=rng, bias=False), "more": [Linear(2, 1, rng=rng)]}
        self.tied = self.scale

    def forward(self, x: object) -> Tensor:
        hidden = self.parts["first"](x) * self.scale + self.constant
        return self.parts["more"][0](hidden)


def test_parameters_are_found_in_order_inside_modules_dicts_and_lists(rng):
    names = [name for name, _ in Nested(rng).named_parameters()]
    assert names == ["scale", "parts.first.weight", "parts.more.0.weight", "parts.more.0.bias"]


def test_a_module_that_refers_to_itself_is_walked_once(rng):
    model = Nested(rng)
    model.itself = model
    assert len(list(model.parameters())) == 4


def test_train_and_eval_reach_every_module(rng):
    model = Sequential(Sequential(Dropout(0.5, rng=rng)), Dropout(0.5, rng=rng))
    assert all(not module.training for module in model.eval().modules())
    assert all(module.training for module in model.train().modules())
    assert len(list(model.modules())) == 4


def test_frozen_parameters_get_no_gradient_and_stay_in_the_state(rng):
    model = Sequential(Linear(2, 3, rng=rng), Linear(3, 1, rng=rng))
    model.layers[0].requires_grad_(False)
    model([[1.0, 2.0]]).sum().backward()
    assert [parameter.grad is None for parameter in model.parameters()] == [True, True, False, False]
    assert len(model.state_dict()) == 4


def test_zero_grad_forgets_all_gradients(rng):
    model = Linear(2, 1, rng=rng)
    model([1.0, 2.0]).backward()
    model.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


# --- State ---


def test_a_loaded_state_computes_the_same(rng):
    first, second = Nested(rng), Nested(rng)
    second.load_state_dict(first.state_dict())
    np.testing.assert_array_equal(first([[1.0, 2.0]]).data, second([[1.0, 2.0]]).data)


def test_a_state_is_a_copy(rng):
    model = Linear(2, 1, rng=rng)
    model.state_dict()["weight"][...] = 5
    assert not (model.weight.data == 5).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("bias"), r"lacks \['bias'\]"),
        (lambda state: state.update(extra=np.ones(1)), r"has \['extra'\]"),
        (lambda state: state.update(bias=np.ones(3)), r"bias has shape \(1,\), the state's has \(3,\)"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(rng, change, message):
    model = Linear(2, 1, rng=rng)
    before = model.state_dict()
    state = {name: array + 1 for name, array in before.items()}
    change(state)
    with pytest.raises(ValueError, match=message):
        model.load_state_dict(state)
    np.testing.assert_array_equal(model.weight.data, before["weight"])


def test_the_example_in_the_module_is_true():
    assert doctest.testmod(core.nn).failed == 0


# --- Ensembles ---


def test_an_ensemble_answers_with_the_mean_of_its_members():
    members = [lambda inputs, factor=factor: Tensor(inputs) * factor for factor in (1.0, 2.0, 6.0)]
    assert Ensemble(members)([1.0, -2.0]).data.tolist() == [3.0, -6.0]


def test_an_ensemble_switches_its_members_to_evaluation(rng):
    ensemble = Ensemble(Dropout(0.5, rng=rng) for _ in range(3)).eval()
    assert ensemble(np.ones(50)).data.tolist() == [1.0] * 50
    assert len(list(ensemble.modules())) == 4


def test_an_ensemble_has_the_parameters_of_all_its_members(rng):
    ensemble = Ensemble([Linear(2, 1, rng=rng), Linear(2, 1, bias=False, rng=rng)])
    names = [name for name, _ in ensemble.named_parameters()]
    assert names == ["members.0.weight", "members.0.bias", "members.1.weight"]


def test_an_empty_ensemble_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Ensemble([])
