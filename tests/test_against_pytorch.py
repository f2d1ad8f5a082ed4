"""The same numbers through PyTorch: values, gradients and optimiser steps agree where both have the thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from gradients import PAIRS, numbers

from core import losses, nn, optim
from core.ops import Array
from core.tensor import Tensor, concatenate, embedding_bag, stack

torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is needed for this comparison only")
functional = torch.nn.functional


def rng() -> np.random.Generator:
    return np.random.default_rng(11)


def agree(ours: Callable[..., Tensor], theirs: Callable[..., Any], *arrays: Array) -> None:
    """Compare values and the gradients of all inputs."""
    tensors = [Tensor(array, requires_grad=True) for array in arrays]
    twins = [torch.tensor(array, requires_grad=True) for array in arrays]
    agree_on(ours(*tensors), theirs(*twins), tensors, twins)


def agree_on(result: Tensor, twin: Any, tensors: list[Tensor], twins: list[Any]) -> None:
    np.testing.assert_allclose(result.data, twin.detach().numpy(), rtol=1e-9, atol=1e-12)
    weights = numbers(*result.shape, seed=8)
    result.backward(weights)
    twin.backward(torch.tensor(weights))
    for tensor, other in zip(tensors, twins, strict=True):
        np.testing.assert_allclose(tensor.grad, other.grad.numpy(), rtol=1e-9, atol=1e-12)


def twin_of(array: Array) -> Any:
    return torch.nn.Parameter(torch.tensor(array))


# --- Operations ---


@pytest.mark.parametrize("shapes", PAIRS)
@pytest.mark.parametrize("name", ["__add__", "__sub__", "__mul__", "__truediv__"])
def test_arithmetic(name, shapes):
    def both(a, b):
        return getattr(a, name)(b)

    agree(both, both, *(numbers(*shape, seed=seed) for seed, shape in enumerate(shapes)))


@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "relu", "abs", "__neg__", "sum", "mean", "max"])
def test_functions_of_one_tensor(name):
    agree(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), numbers(3, 4))


@pytest.mark.parametrize("name", ["log", "sqrt"])
def test_functions_of_positive_numbers(name):
    agree(lambda x: getattr(x, name)(), lambda x: getattr(x, name)(), numbers(3, 4, low=0.1))


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2)])
def test_reductions(axis):
    agree(lambda x: x.sum(axis), lambda x: x.sum(axis), numbers(2, 3, 4))
    agree(lambda x: x.mean(axis), lambda x: x.mean(axis), numbers(2, 3, 4))
    agree(lambda x: x.max(axis), lambda x: x.amax(axis), numbers(2, 3, 4))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax(axis):
    agree(lambda x: x.softmax(axis), lambda x: x.softmax(axis), numbers(3, 4))
    agree(lambda x: x.log_softmax(axis), lambda x: x.log_softmax(axis), numbers(3, 4))


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4)), ((3,), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 1, 2, 3), (6, 3, 4))])
def test_matrix_products(shapes):
    agree(lambda a, b: a @ b, lambda a, b: a @ b, *(numbers(*shape) for shape in shapes))


def test_changes_of_shape():
    agree(lambda x: x.reshape(4, 6), lambda x: x.reshape(4, 6), numbers(2, 3, 4))
    agree(lambda x: x.transpose(0, 2), lambda x: x.transpose(0, 2), numbers(2, 3, 4))
    agree(lambda x: x.permute(1, 2, 0), lambda x: x.permute(1, 2, 0), numbers(2, 3, 4))
    agree(lambda x: x[:, 1], lambda x: x[:, 1], numbers(2, 3, 4))
    agree(lambda x: x[[0, 0, 1]], lambda x: x[[0, 0, 1]], numbers(2, 3, 4))
    agree(lambda a, b: concatenate([a, b], 1), lambda a, b: torch.cat([a, b], 1), numbers(2, 3), numbers(2, 4))
    agree(lambda a, b: stack([a, b], 1), lambda a, b: torch.stack([a, b], 1), numbers(2, 3), numbers(2, 3, seed=1))


def test_a_tensor_used_many_times():
    def both(x):
        h = x * 3
        return (h + h * h) * h + x

    agree(both, both, numbers(2, 3))


# --- Losses ---


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_values(reduction):
    outputs, targets = numbers(3, 4), numbers(3, 4, seed=1, low=0, high=1)
    for ours, theirs in [
        (losses.mse, functional.mse_loss),
        (losses.l1, functional.l1_loss),
        (losses.binary_cross_entropy, functional.binary_cross_entropy_with_logits),
    ]:
        twin_targets = torch.tensor(targets)
        agree(
            lambda x, ours=ours: ours(x, targets, reduction),
            lambda x, theirs=theirs, y=twin_targets: theirs(x, y, reduction=reduction),
            outputs,
        )


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("scale", [1.0, 500.0])
def test_cross_entropy(reduction, scale):
    targets = np.array([0, 3, 1])
    agree(
        lambda x: losses.cross_entropy(x, targets, reduction),
        lambda x: functional.cross_entropy(x, torch.tensor(targets), reduction=reduction),
        numbers(3, 4) * scale,
    )


# --- Layers ---


def test_linear():
    layer = nn.Linear(3, 4, rng=rng())
    twin = torch.nn.Linear(3, 4, dtype=torch.float64)
    twin.weight = twin_of(layer.weight.data.T)
    twin.bias = twin_of(layer.bias.data)
    inputs = numbers(2, 3)
    twin_result = twin(torch.tensor(inputs))
    np.testing.assert_allclose(layer(inputs).data, twin_result.detach().numpy())
    layer(inputs).sum().backward()
    twin_result.sum().backward()
    np.testing.assert_allclose(layer.weight.grad, twin.weight.grad.numpy().T)
    np.testing.assert_allclose(layer.bias.grad, twin.bias.grad.numpy())


def test_embedding_with_repeated_indices():
    indices = np.array([[1, 2, 3], [2, 3, 4]])
    agree(
        lambda table: table.index_select(indices),
        lambda table: functional.embedding(torch.tensor(indices), table),
        numbers(5, 3),
    )


@pytest.mark.parametrize("mode", ["sum", "mean"])
@pytest.mark.parametrize("padding_idx", [None, 2])
def test_embedding_bag(mode, padding_idx):
    indices, offsets = np.array([0, 2, 2, 4, 1]), np.array([0, 0, 2, 5])
    layer = nn.EmbeddingBag(5, 3, mode=mode, padding_idx=padding_idx, rng=rng())
    twin = twin_of(layer.weight.data)
    result = functional.embedding_bag(
        torch.tensor(indices), twin, torch.tensor(offsets), mode=mode, padding_idx=padding_idx
    )
    agree_on(layer(indices, offsets), result, [layer.weight], [twin])


def test_embedding_bag_with_weights():
    indices, offsets = np.array([0, 2, 2, 4, 1]), np.array([0, 0, 2, 5])
    agree(
        lambda table, weights: embedding_bag(table, indices, offsets, weights),
        lambda table, weights: functional.embedding_bag(
            torch.tensor(indices), table, torch.tensor(offsets), mode="sum", per_sample_weights=weights
        ),
        numbers(5, 3),
        numbers(5),
    )


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 0), (1, 1), (3, 2)])
def test_convolution(stride, padding):
    layer = nn.Conv2d(2, 3, (3, 2), stride=stride, padding=padding, rng=rng())
    layer.bias.data[...] = [1, 2, 3]
    weight, bias = twin_of(layer.weight.data), twin_of(layer.bias.data)
    images = Tensor(numbers(2, 2, 7, 6), requires_grad=True)
    twin_images = torch.tensor(images.data, requires_grad=True)
    agree_on(
        layer(images),
        functional.conv2d(twin_images, weight, bias, stride=stride, padding=padding),
        [layer.weight, layer.bias, images],
        [weight, bias, twin_images],
    )


@pytest.mark.parametrize("stride", [None, 1, 3])
def test_pooling(stride):
    images = numbers(2, 3, 7, 6)
    agree(nn.MaxPool2d(2, stride), lambda x: functional.max_pool2d(x, 2, stride), images)
    agree(nn.AvgPool2d(2, stride), lambda x: functional.avg_pool2d(x, 2, stride), images)


def test_activations():
    for ours, theirs in [
        (nn.ReLU(), torch.nn.ReLU()),
        (nn.LeakyReLU(0.1), torch.nn.LeakyReLU(0.1)),
        (nn.Hardtanh(), torch.nn.Hardtanh()),
        (nn.Softmax(), torch.nn.Softmax(dim=-1)),
        (lambda x: x.softplus(), torch.nn.Softplus()),
    ]:
        agree(ours, theirs, numbers(3, 4))


def test_rnn_cell():
    cell = nn.RNNCell(3, 4, rng=rng())
    twin = torch.nn.RNNCell(3, 4, dtype=torch.float64)
    twin.weight_ih, twin.weight_hh = twin_of(cell.input_map.weight.data.T), twin_of(cell.hidden_map.weight.data.T)
    twin.bias_ih, twin.bias_hh = twin_of(cell.input_map.bias.data), twin_of(cell.hidden_map.bias.data)
    state, twin_state = cell.initial_state(2), torch.zeros(2, 4, dtype=torch.float64)
    for word in numbers(3, 2, 3):
        state, twin_state = cell(word, state), twin(torch.tensor(word), twin_state)
    agree_on(state, twin_state, [cell.input_map.bias, cell.hidden_map.bias], [twin.bias_ih, twin.bias_hh])
    np.testing.assert_allclose(cell.hidden_map.weight.grad.T, twin.weight_hh.grad.numpy())


def test_lstm_cell():
    cell = nn.LSTMCell(3, 4, hidden_bias=True, rng=rng())
    cell.hidden_map.bias.data[...] = numbers(16)
    twin = torch.nn.LSTMCell(3, 4, dtype=torch.float64)
    twin.weight_ih, twin.weight_hh = twin_of(cell.input_map.weight.data.T), twin_of(cell.hidden_map.weight.data.T)
    twin.bias_ih, twin.bias_hh = twin_of(cell.input_map.bias.data), twin_of(cell.hidden_map.bias.data)
    state = cell.initial_state(2, first_column=1.0)
    twin_state = tuple(torch.tensor(part.data) for part in state)
    for word in numbers(3, 2, 3):
        state, twin_state = cell(word, state), twin(torch.tensor(word), twin_state)
    agree_on(
        state[0] + state[1] * 2,
        twin_state[0] + twin_state[1] * 2,
        [cell.input_map.bias, cell.hidden_map.bias],
        [twin.bias_ih, twin.bias_hh],
    )
    np.testing.assert_allclose(cell.input_map.weight.grad.T, twin.weight_ih.grad.numpy())
    np.testing.assert_allclose(cell.hidden_map.weight.grad.T, twin.weight_hh.grad.numpy())


def layer_twin(kind, cell):
    """PyTorch's layer for whole sequences with the weights of a cell of ours; a bias left out is zeros there."""
    twin = kind(len(cell.input_map.weight), len(cell.hidden_map.weight), dtype=torch.float64)
    twin.weight_ih_l0, twin.weight_hh_l0 = twin_of(cell.input_map.weight.data.T), twin_of(cell.hidden_map.weight.data.T)
    twin.bias_ih_l0 = twin_of(cell.input_map.bias.data)
    hidden_bias = cell.hidden_map.bias
    twin.bias_hh_l0 = twin_of(np.zeros_like(cell.input_map.bias.data) if hidden_bias is None else hidden_bias.data)
    return twin


def agree_on_weights(cell, twin):
    np.testing.assert_allclose(cell.input_map.weight.grad.T, twin.weight_ih_l0.grad.numpy())
    np.testing.assert_allclose(cell.hidden_map.weight.grad.T, twin.weight_hh_l0.grad.numpy())


def test_rnn_over_sequences():
    layer = nn.RNN(3, 4, rng=rng())
    twin = layer_twin(torch.nn.RNN, layer.cell)
    words, start = (Tensor(numbers(*shape), requires_grad=True) for shape in [(5, 2, 3), (2, 4)])
    twin_words, twin_start = (torch.tensor(tensor.data, requires_grad=True) for tensor in (words, start))
    states, last = layer(words, start)
    twin_states, twin_last = twin(twin_words, twin_start[None])
    agree_on(
        states + last * 2,
        twin_states + twin_last[0] * 2,
        [words, start, layer.cell.input_map.bias],
        [twin_words, twin_start, twin.bias_ih_l0],
    )
    agree_on_weights(layer.cell, twin)


@pytest.mark.parametrize("hidden_bias", [False, True])
def test_lstm_over_sequences(hidden_bias):
    layer = nn.LSTM(3, 4, hidden_bias=hidden_bias, rng=rng())
    twin = layer_twin(torch.nn.LSTM, layer.cell)
    tensors = [Tensor(numbers(*shape), requires_grad=True) for shape in [(5, 2, 3), (2, 4), (2, 4)]]
    twins = [torch.tensor(tensor.data, requires_grad=True) for tensor in tensors]
    states, (h, c) = layer(tensors[0], (tensors[1], tensors[2]))
    twin_states, (twin_h, twin_c) = twin(twins[0], (twins[1][None], twins[2][None]))
    agree_on(
        states + h * 2 + c * 3,
        twin_states + twin_h[0] * 2 + twin_c[0] * 3,
        [*tensors, layer.cell.input_map.bias],
        [*twins, twin.bias_ih_l0],
    )
    agree_on_weights(layer.cell, twin)


# --- Optimisers ---


@pytest.mark.parametrize(
    ("ours", "theirs", "settings"),
    [
        (optim.SGD, "SGD", {"lr": 0.1}),
        (optim.SGD, "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
        (optim.Adam, "Adam", {"lr": 0.1}),
        (optim.Adam, "Adam", {"lr": 0.1, "betas": (0.8, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ],
    ids=str,
)
def test_optimisers_take_the_same_steps(ours, theirs, settings):
    start = numbers(3, 4)
    weight, twin = Tensor(start, requires_grad=True), torch.tensor(start, requires_grad=True)
    optimiser, twin_optimiser = ours([weight], **settings), getattr(torch.optim, theirs)([twin], **settings)
    for step in range(5):
        for parameter, its_optimiser in ((weight, optimiser), (twin, twin_optimiser)):
            its_optimiser.zero_grad()
            ((parameter - step) ** 2).sum().backward()
            its_optimiser.step()
    np.testing.assert_allclose(weight.data, twin.detach().numpy(), rtol=1e-9)


def test_clipping():
    arrays = [numbers(3, 4), numbers(2, seed=1)]
    tensors = [Tensor(array, requires_grad=True) for array in arrays]
    twins = [torch.tensor(array, requires_grad=True) for array in arrays]
    for parameter in (*tensors, *twins):
        (parameter**2).sum().backward()
    norm = optim.clip_grad_norm_(tensors, 0.5)
    assert norm == pytest.approx(float(torch.nn.utils.clip_grad_norm_(twins, 0.5)))
    for tensor, twin in zip(tensors, twins, strict=True):
        np.testing.assert_allclose(tensor.grad, twin.grad.numpy(), rtol=1e-5)  # PyTorch adds 1e-6 to the norm
