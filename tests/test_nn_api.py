"""Layers as a reader of PyTorch expects them: indexed, printed, made of given weights or of a seed."""

from __future__ import annotations

import numpy as np
import pytest

from core.nn import LSTM, RNN, Conv2d, Dropout, Embedding, EmbeddingBag, Linear, MaxPool2d, ReLU, Sequential
from core.tasks import TASKS
from core.tensor import Tensor


def chain() -> Sequential:
    return Sequential(Linear(3, 4, rng=0), ReLU(), Sequential(Dropout(0.2, rng=1), Linear(4, 1, bias=False, rng=2)))


def test_a_chain_is_indexed_walked_and_cut():
    model = chain()
    assert isinstance(model[0], Linear)
    assert model[-1][1] is list(model[2])[1]
    assert len(model) == 3
    assert model[:2](np.ones((5, 3))).shape == (5, 4)
    assert model[:1][0] is model[0]


def test_what_is_no_layer_cannot_be_chained():
    with pytest.raises(TypeError, match=r"layer 1 cannot be called with inputs: \[1\]"):
        Sequential(ReLU(), [1])


def test_a_model_is_printed_layer_by_layer():
    assert repr(chain()) == (
        "Sequential(\n"
        "  (0): Linear(in_features=3, out_features=4, bias=True)\n"
        "  (1): ReLU()\n"
        "  (2): Sequential(\n"
        "    (0): Dropout(p=0.2)\n"
        "    (1): Linear(in_features=4, out_features=1, bias=False)\n"
        "  )\n"
        ")"
    )


def test_bags_are_averaged_by_default_as_in_pytorch():
    bag = EmbeddingBag(3, 1, rng=0)
    bag.weight.data[...] = [[1], [10], [100]]
    assert bag([0, 2, 1], [0, 2]).data.tolist() == [[50.5], [10]]


def test_other_layers_are_printed_with_their_settings():
    assert repr(Conv2d(1, 2, 3, padding=1, rng=0)) == (
        "Conv2d(1, 2, kernel_size=(3, 3), stride=(1, 1), padding=1, bias=True)"
    )
    assert (
        repr(EmbeddingBag(5, 2, mode="mean", padding_idx=0, rng=0)) == "EmbeddingBag(5, 2, padding_idx=0, mode='mean')"
    )
    assert repr(MaxPool2d(2)) == "MaxPool2d(kernel_size=(2, 2), stride=(2, 2))"
    assert "(cell): LSTMCell(\n" in repr(LSTM(3, 4, rng=0))


def test_a_linear_layer_of_given_weights():
    layer = Linear.from_weights([[1, 2], [3, 4]], [10, 20])
    assert layer(np.array([[1.0, 1.0]])).data.tolist() == [[14, 26]]
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]
    given = np.ones((2, 1), np.float32)
    plain = Linear.from_weights(given)
    plain.weight.data += 1
    assert (plain.bias, plain.weight.dtype, given.tolist()) == (None, np.float32, [[1], [1]])


@pytest.mark.parametrize(("weight", "bias"), [([1.0], None), ([[1.0, 2.0]], [1.0]), ([[1.0]], [[1.0]])])
def test_weights_that_make_no_layer_are_refused_with_their_shapes(weight, bias):
    with pytest.raises(ValueError, match=r"make no layer: \(in_features, out_features\) and \(out_features,\)"):
        Linear.from_weights(weight, bias)


@pytest.mark.parametrize(
    "make",
    [
        lambda rng: Linear(3, 4, rng=rng),
        lambda rng: Conv2d(1, 2, 3, rng=rng),
        lambda rng: Embedding(5, 2, rng=rng),
        lambda rng: EmbeddingBag(5, 2, rng=rng),
        lambda rng: RNN(3, 4, rng=rng),
        lambda rng: LSTM(3, 4, rng=rng),
        *(task.build for task in TASKS.values()),
    ],
)
def test_a_seed_makes_the_layer_that_its_generator_makes(make):
    """One generator for the whole of a model: of the seed alone, layers of one shape would be alike."""
    seeded, drawn = make(7).state_dict(), make(np.random.default_rng(7)).state_dict()
    assert all(np.array_equal(seeded[name], drawn[name]) for name in drawn)


def test_of_equal_numbers_in_a_window_the_first_learns():
    images = Tensor(np.ones((1, 1, 2, 4)), requires_grad=True)
    MaxPool2d(2)(images).sum().backward()
    assert images.grad[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
