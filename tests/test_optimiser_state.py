"""What optimisers keep: a state for each parameter, moved by rows or as a whole, saved and taken up again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.optim import SGD, Adam, Optimiser
from core.parameters import load_npz, save_npz
from core.tensor import Tensor, embedding_bag


def parameter(number: float = 1.0, gradient: float | None = None) -> Tensor:
    tensor = Tensor([float(number)], requires_grad=True)
    tensor.grad = None if gradient is None else np.array([gradient])
    return tensor


# --- Gradients as rows and as a whole array ---

OPTIMISERS = {
    "SGD": lambda parameters: SGD(parameters, lr=0.5),
    "SGD with momentum": lambda parameters: SGD(parameters, lr=0.1, momentum=0.9),
    "SGD with decay": lambda parameters: SGD(parameters, lr=0.1, weight_decay=0.2),
    "Adam": lambda parameters: Adam(parameters, lr=0.1),
    "Adam with decay": lambda parameters: Adam(parameters, lr=0.1, weight_decay=0.2),
}


def test_every_optimiser_is_among_those_compared():
    made = {type(make([parameter()])) for make in OPTIMISERS.values()}
    assert made == set(Optimiser.__subclasses__())


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_an_optimiser_moves_by_rows_as_by_whole_arrays(make, seed):
    """Look-ups, bags and dense parts of one gradient in any order, read or not; the twin is given their sum."""
    rng = np.random.default_rng(seed)
    dtype = rng.choice([np.float32, np.float64])
    start = rng.normal(size=(rng.integers(2, 40), rng.integers(1, 18))).astype(dtype)
    table, whole = Tensor(start, requires_grad=True), Tensor(start, requires_grad=True)
    if rng.random() < 0.3:
        table.data = np.asfortranarray(table.data)
    optimiser, reference = make([table]), make([whole])
    for _ in range(3):
        optimiser.zero_grad()
        gradient = np.zeros(start.shape)
        for _ in range(rng.integers(1, 4)):
            gradient += walk_back(table, rng)
        whole.grad = gradient
        if rng.random() < 0.3:
            assert table.grad is not None
        optimiser.step()
        reference.step()
    np.testing.assert_allclose(table.data, whole.data, rtol=2e-3 if dtype == np.float32 else 1e-9, atol=1e-5)


def walk_back(table: Tensor, rng: np.random.Generator) -> np.ndarray:
    """Add some gradient to a table's, and return it."""
    gradient = np.zeros(table.shape)
    kind = rng.choice(["rows", "bags", "dense"])
    if kind == "dense":
        weights = rng.integers(1, 4, table.shape).astype(float)
        (table * weights).sum().backward()
        return weights
    rows = rng.integers(0, len(table), rng.integers(1, 6)).astype(rng.choice([np.uint8, np.int16, np.int64]))
    bags = rng.integers(1, 4, (len(rows) if kind == "rows" else 1, table.shape[1])).astype(float)
    looked_up = table.index_select(rows) if kind == "rows" else embedding_bag(table, rows, [0])
    (looked_up * bags).sum().backward()
    np.add.at(gradient, rows, np.broadcast_to(bags, (len(rows), table.shape[1])))
    return gradient


@pytest.mark.parametrize("read_first", [False, True])
def test_a_penalty_next_to_a_look_up_counts(read_first):
    """Gradient of row 1: 1 from the look-up and 2 * 0.5 * 3 from the penalty; of the others from the penalty only."""
    table = Tensor(np.full((20, 1), 3.0), requires_grad=True)
    (table.index_select([1]).sum() + (table**2).sum() * 0.5).backward()
    if read_first:
        assert table.grad is not None
    SGD([table], lr=1.0).step()
    assert table.data[:3, 0].tolist() == [0, -1, 0]


def test_a_dense_pass_after_a_look_up_counts():
    table = Tensor(np.zeros((20, 1)), requires_grad=True)
    table.index_select([1]).sum().backward()
    (table * 2).sum().backward()
    SGD([table], lr=1.0).step()
    assert table.data[:3, 0].tolist() == [-2, -3, -2]


# --- Going on where another left off ---


@pytest.mark.parametrize("make", OPTIMISERS.values(), ids=OPTIMISERS)
def test_an_optimiser_goes_on_from_its_state(make):
    """Three steps, and two steps and one more by another optimiser that was given the state, arrive at one place."""
    straight, first = parameter(1.0), parameter(1.0)
    optimiser, before = make([straight]), make([first])
    for gradient in (1.0, -2.0):
        straight.grad = first.grad = np.array([gradient])
        optimiser.step()
        before.step()
    second = parameter(first.item())
    after = make([second])
    after.load_state_dict(before.state_dict())
    straight.grad = second.grad = np.array([0.5])
    optimiser.step()
    after.step()
    assert second.item() == straight.item()


def test_the_state_is_a_copy_that_a_file_can_keep(tmp_path):
    weight = parameter(0.0, gradient=2.0)
    optimiser = SGD([weight], lr=0.5, momentum=0.5)
    optimiser.step()
    save_npz(tmp_path / "state.npz", optimiser.state_dict())
    optimiser.step()
    state = load_npz(tmp_path / "state.npz")
    assert {name: array.tolist() for name, array in state.items()} == {"lr": 0.5, "0.velocity": [2]}
    optimiser.load_state_dict(state)
    assert optimiser.state_dict()["0.velocity"].tolist() == [2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr": None}, 'a single number "lr"'),
        ({"lr": np.ones(2)}, 'a single number "lr"'),
        ({"lr": -1.0}, "lr must be a positive number"),
        ({"0.mean": np.ones(3)}, r"mean of a parameter of shape \(1,\) is of shape \(3,\)"),
        ({"0.mean": None}, "mean of a parameter of shape .* is missing"),
        ({"0.square": np.array([np.nan])}, "square of .* no finite number"),
        ({"1.mean": np.ones(1)}, r"\['1.mean'\], which this optimiser does not know"),
        ({"0.velocity": np.ones(1)}, "does not know"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(change, message):
    optimiser = Adam([parameter(0.0, gradient=1.0)], lr=0.5)
    optimiser.step()
    before = optimiser.state_dict()
    state = {name: array for name, array in (before | change).items() if array is not None}
    with pytest.raises(ValueError, match=message):
        optimiser.load_state_dict(state)
    assert optimiser.state_dict() == before
