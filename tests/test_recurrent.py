"""Recurrent cells: steps by hand, gradients through several steps, the book's options."""

from __future__ import annotations

import numpy as np
import pytest
from gradients import check_gradients, numbers

from core.losses import mse
from core.nn import LSTM, RNN, Linear, LinearRecurrentCell, LSTMCell, RNNCell
from core.nn.sequence import _once
from core.optim import Adam
from core.tensor import Tensor, stack


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def sentence() -> Tensor:
    """Three steps of two sequences of three numbers."""
    return Tensor(numbers(3, 2, 3), requires_grad=True)


def read(cell, words, **options):
    """The states after each step, as one tensor."""
    state = cell.initial_state(2, **options)
    states = []
    for word in words:
        state = cell(word, state)
        states.append(state[0] if isinstance(cell, LSTMCell) else state)
    return stack(states)


def test_linear_cell_gradients():
    cell, words = LinearRecurrentCell(3), sentence()
    cell.transition.data[...] = numbers(3, 3)
    check_gradients(lambda: read(cell, words), [*cell.parameters(), words])


@pytest.mark.parametrize("nonlinearity", ["tanh", "sigmoid"])
def test_rnn_cell_gradients(nonlinearity):
    cell, words = RNNCell(3, 2, nonlinearity=nonlinearity, rng=rng()), sentence()
    check_gradients(lambda: read(cell, words), [*cell.parameters(), words])


@pytest.mark.parametrize("options", [{}, {"first_column": 1.0}], ids=str)
@pytest.mark.parametrize("hidden_bias", [False, True])
def test_lstm_cell_gradients(hidden_bias, options):
    cell, words = LSTMCell(3, 2, hidden_bias=hidden_bias, rng=rng()), sentence()
    check_gradients(lambda: read(cell, words, **options), [*cell.parameters(), words])


def test_the_linear_cell_starts_as_a_sum_and_knows_the_start_vector():
    cell = LinearRecurrentCell(2)
    cell.start.data[...] = [1, 1]
    np.testing.assert_array_equal(read(cell, np.ones((3, 2, 2))).data[:, 0], [[2, 2], [3, 3], [4, 4]])
    cell.transition.data[...] = [[0, 1], [1, 0]]
    state = cell([[10.0, 20.0]], Tensor([[1.0, 2.0]]))
    np.testing.assert_array_equal(state.data, [[12, 21]])


@pytest.mark.parametrize(("nonlinearity", "function"), [("tanh", np.tanh), ("sigmoid", lambda x: 1 / (1 + np.exp(-x)))])
def test_an_rnn_step_by_hand(nonlinearity, function):
    cell = RNNCell(1, 1, nonlinearity=nonlinearity, rng=rng())
    cell.input_map.weight.data[...], cell.input_map.bias.data[...] = 2, 0.5
    cell.hidden_map.weight.data[...], cell.hidden_map.bias.data[...] = 3, 0.25
    assert cell([[1.0]], Tensor([[-1.0]])).item() == pytest.approx(function(2 + 0.5 - 3 + 0.25))


def test_an_unknown_nonlinearity_is_refused():
    with pytest.raises(ValueError, match='"tanh" or "sigmoid", not \'relu\''):
        RNNCell(1, 1, nonlinearity="relu", rng=rng())


def test_an_lstm_step_by_hand():
    """Gates in the order input, forget, candidate, output: open, shut by half, 0.5, open by half."""
    cell = LSTMCell(1, 1, rng=rng())
    cell.input_map.weight.data[...] = 0
    cell.hidden_map.weight.data[...] = 0
    cell.input_map.bias.data[...] = [1000, 0, np.arctanh(0.5), 0]
    h, c = cell([[7.0]], (Tensor([[9.0]]), Tensor([[4.0]])))
    assert c.item() == pytest.approx(0.5 * 4 + 1 * 0.5)
    assert h.item() == pytest.approx(0.5 * np.tanh(2.5))


def test_initial_states():
    np.testing.assert_array_equal(RNNCell(2, 3, rng=rng()).initial_state(2).data, np.zeros((2, 3)))
    cell = LSTMCell(2, 3, rng=rng())
    for state in cell.initial_state(2):
        np.testing.assert_array_equal(state.data, np.zeros((2, 3)))
    for state in cell.initial_state(2, first_column=1.0):
        np.testing.assert_array_equal(state.data, [[1, 0, 0], [1, 0, 0]])


def test_an_lstm_has_biases_on_the_input_side_only_unless_asked():
    assert LSTMCell(2, 3, rng=rng()).hidden_map.bias is None
    assert LSTMCell(2, 3, hidden_bias=True, rng=rng()).hidden_map.bias.shape == (12,)


def test_losses_at_all_steps_reach_the_start():
    """Each of three steps adds the start vector to what is judged."""
    cell = LinearRecurrentCell(1)
    read(cell, np.zeros((3, 2, 1))).sum().backward()
    np.testing.assert_array_equal(cell.start.grad, [6])


def test_a_detached_state_carries_its_value_but_no_gradient():
    cell = LinearRecurrentCell(1)
    state = cell([[5.0]], cell.initial_state(1)).detach()
    cell([[1.0]], state).backward([[1.0]])
    assert state.item() == 5
    assert cell.start.grad is None
    np.testing.assert_array_equal(cell.transition.grad, [[5]])


@pytest.mark.parametrize("kind", [RNNCell, LSTMCell])
def test_cells_can_work_in_float32(kind):
    cell = kind(3, 2, rng=rng(), dtype=np.float32)
    assert read(cell, np.ones((2, 2, 3), np.float32)).dtype == np.float32


def test_a_cell_learns_to_remember_the_first_number():
    cell, output = RNNCell(1, 4, rng=rng()), Linear(4, 1, rng=rng())
    words = np.zeros((3, 2, 1))
    words[0, :, 0] = [-1, 1]
    optimiser = Adam([*cell.parameters(), *output.parameters()], lr=0.02)
    for _ in range(150):
        loss = mse(output(read(cell, words)[-1]), [[-1.0], [1.0]])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 1e-3


# --- Whole sequences at once ---


def steps_of(layer, words, state=None):
    """The states after all steps from a loop over the layer's own cell, and the last state."""
    state = layer.cell.initial_state(words.shape[1]) if state is None else state
    states = []
    for step in range(len(words)):
        state = layer.cell(words[step], state)
        states.append(state[0] if isinstance(layer, LSTM) else state)
    return stack(states), state


LAYERS = pytest.mark.parametrize(
    "make",
    [
        lambda **options: LSTM(3, 2, rng=rng(), **options),
        lambda **options: LSTM(3, 2, hidden_bias=True, rng=rng(), **options),
        lambda **options: RNN(3, 2, rng=rng(), **options),
        lambda **options: RNN(3, 2, nonlinearity="sigmoid", rng=rng(), **options),
    ],
    ids=["lstm", "lstm with hidden bias", "tanh", "sigmoid"],
)


def shaken(layer):
    """The layer with a number of its own in each bias too."""
    for seed, parameter in enumerate(layer.parameters()):
        if parameter.ndim == 1:
            parameter.data[...] = numbers(*parameter.shape, seed=seed)
    return layer


def starting_states(layer, batch=2):
    parts = [Tensor(numbers(batch, 2, seed=seed), requires_grad=True) for seed in (1, 2)]
    return tuple(parts) if isinstance(layer, LSTM) else parts[0]


def weighed(states, last):
    """One number in which every state, the last ones too, weighs differently."""
    total = (states * numbers(*states.shape, seed=3)).sum()
    for seed, part in enumerate(last if isinstance(last, tuple) else (last,)):
        total = total + (part * numbers(*part.shape, seed=seed + 4)).sum()
    return total


@LAYERS
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_layer_for_sequences_equals_a_loop_over_its_cell(make, steps):
    layer, words = shaken(make()), Tensor(numbers(steps, 2, 3), requires_grad=True)
    start = starting_states(layer)
    leaves = [*layer.parameters(), words, *(start if isinstance(start, tuple) else [start])]
    results = []
    for read_all in (layer, lambda *inputs: steps_of(layer, *inputs)):
        states, last = read_all(words, start)
        weighed(states, last).backward()
        parts = last if isinstance(last, tuple) else (last,)
        results.append([states.data, *(part.data for part in parts), *(leaf.grad for leaf in leaves)])
        for leaf in leaves:
            leaf.grad = None
    for fast, clear in zip(*results, strict=True):
        np.testing.assert_allclose(fast, clear, rtol=1e-10, atol=1e-12)


@LAYERS
def test_gradients_of_a_layer_for_sequences(make):
    layer, words = shaken(make()), sentence()
    start = starting_states(layer)
    leaves = [*layer.parameters(), words, *(start if isinstance(start, tuple) else [start])]
    check_gradients(lambda: weighed(*layer(words, start)), leaves)


@LAYERS
def test_reading_rows_of_a_table_equals_reading_what_they_hold(make):
    layer, table = shaken(make()), Tensor(numbers(4, 3), requires_grad=True)
    letters = [[0, 3], [2, 0], [0, 0]]
    leaves = [*layer.parameters(), table]
    results = []
    for states, last in (layer.read_rows(table, letters), layer(table.index_select(letters))):
        weighed(states, last).backward()
        results.append([states.data, *(leaf.grad for leaf in leaves)])
        for leaf in leaves:
            leaf.grad = None
    for once, each in zip(*results, strict=True):
        np.testing.assert_allclose(once, each, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("letters", [[0, 1], np.zeros((0, 2), int)], ids=["no steps", "none"])
@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_row_numbers_that_are_no_sequences_are_refused(kind, letters):
    with pytest.raises(ValueError, match=r"row numbers of shape .* \(steps, batch\)"):
        kind(3, 2, rng=rng()).read_rows(Tensor(np.eye(3)), letters)


def test_the_derivatives_of_one_operation_share_one_walk_through_time():
    walks = []
    backward = _once(lambda g: walks.append(g) or len(walks))
    first, second = np.ones(2), np.ones(2)
    assert [backward(first), backward(first), backward(second)] == [1, 1, 2]


@LAYERS
def test_a_sequence_read_in_two_pieces_ends_as_in_one(make):
    layer, words = make(), numbers(5, 2, 3)
    states, last = layer(words)
    first, middle = layer(words[:2])
    second, end = layer(words[2:], middle)
    np.testing.assert_allclose(np.concatenate([first.data, second.data]), states.data)
    for part, whole in zip(end, last, strict=True):
        np.testing.assert_allclose(part.data, whole.data)


@LAYERS
def test_a_layer_for_sequences_keeps_its_dtype(make):
    layer = make(dtype=np.float32)
    states, _ = layer(np.ones((4, 2, 3), np.float32))
    states.sum().backward()
    assert states.dtype == np.float32
    assert all(parameter.grad.dtype == np.float32 for parameter in layer.parameters())


@LAYERS
def test_only_what_learns_gets_a_gradient(make):
    layer = make()
    layer.cell.input_map.requires_grad_(False)
    layer(numbers(3, 2, 3))[0].sum().backward()
    assert layer.cell.input_map.weight.grad is None
    assert layer.cell.hidden_map.weight.grad.any()


def test_gates_far_out_are_open_or_shut_without_overflow():
    layer = LSTM(1, 1, rng=rng())
    layer.cell.input_map.weight.data[...] = 0
    layer.cell.input_map.bias.data[...] = [1000, -1000, 1000, 1000]
    states, (h, c) = layer(np.zeros((3, 1, 1)))
    assert c.item() == 1
    assert h.item() == pytest.approx(np.tanh(1))
    states.sum().backward()
    assert np.isfinite(layer.cell.hidden_map.weight.grad).all()


@pytest.mark.parametrize("shape", [(2, 3), (0, 2, 3), (4, 2, 5)])
@pytest.mark.parametrize("kind", [RNN, LSTM])
def test_inputs_that_are_no_sequences_are_refused_with_both_shapes(kind, shape):
    with pytest.raises(ValueError, match=r"\(steps, batch, 3\) .* weights of shape \(3, (2|8)\)"):
        kind(3, 2, rng=rng())(np.zeros(shape))
