"""The compiled columns and hash trees of proofs are those that NumPy and hashlib give, to the bit."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from core.bounds.code import encode, places
from core.bounds.field import PRIME, Elements, coefficients_of, matrix_product, multiply, values_of
from core.bounds.relation import Signs
from core.bounds.tree import Tree
from core.secagg.kernel import columns

if not columns.available():
    pytest.skip("the columns are not compiled here", allow_module_level=True)

LENGTH, COLUMNS = 16, 64


@pytest.fixture(params=["random", "zeros", "largest", "one large"])
def numbers(request: pytest.FixtureRequest) -> Elements:
    """Elements of shape (5, LENGTH), at the edges too."""
    edges = {"zeros": 0, "largest": PRIME - 1}
    if request.param in edges:
        return np.full((5, LENGTH), edges[request.param], np.int64)
    if request.param == "one large":
        return np.eye(5, LENGTH, dtype=np.int64) * (PRIME - 1)
    return np.random.default_rng(1).integers(0, PRIME, (5, LENGTH))


def test_columns_are_the_polynomials_values_at_their_places(numbers: Elements) -> None:
    found = encode(numbers, COLUMNS)
    at = places(COLUMNS).reshape(LENGTH, COLUMNS // LENGTH).T.reshape(-1).tolist()
    for column, place in enumerate(at):
        expected = [sum(c * pow(place, i, PRIME) for i, c in enumerate(row)) % PRIME for row in numbers.tolist()]
        assert found[column].tolist() == expected


@pytest.mark.parametrize("compute", [lambda a: encode(a, COLUMNS), values_of, coefficients_of])
def test_numpy_finds_the_same(numbers: Elements, monkeypatch: pytest.MonkeyPatch, compute) -> None:
    compiled = compute(numbers)
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    assert not columns.available()
    assert (compiled == compute(numbers)).all()


@pytest.mark.parametrize("length", [1, 2, 256, 1024, 4096])
def test_transforms_of_every_length_are_the_same(length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(length).integers(0, PRIME, (2, 3, length))
    compiled = values_of(numbers)
    assert (coefficients_of(compiled) == numbers).all()
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    assert (compiled == values_of(numbers)).all()


@pytest.mark.parametrize("rows", range(1, 20))
def test_trees_are_those_of_hashlib_for_messages_of_every_length(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(rows)
    numbers, salts = rng.integers(0, PRIME, (8, rows)), rng.bytes(16 * 8)
    compiled = Tree(b"\1", salts, numbers)
    first = hashlib.sha256(b"\1" + salts[:16] + numbers[0].astype("<i8").tobytes()).digest()[:20]
    assert compiled.paths([1])[:20] == first
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    plain = Tree(b"\1", salts, numbers)
    assert compiled.root == plain.root
    assert compiled.paths([3, 4]) == plain.paths([3, 4])


@pytest.mark.parametrize("extension", [False, True])
def test_the_processors_instructions_give_the_same_hashes(extension: bool) -> None:
    if extension and not columns._library().has_sha():
        pytest.skip("this processor has no instructions for SHA-256")
    numbers = np.random.default_rng(2).integers(0, PRIME, (4, 96))
    levels = columns.tree_levels(b"\0", b"\2", bytes(64), numbers, extension=extension)
    leaves = [hashlib.sha256(bytes(17) + row.tobytes()).digest()[:20] for row in numbers]
    pairs = [hashlib.sha256(b"\2" + leaves[i] + leaves[i + 1]).digest()[:20] for i in (0, 2)]
    assert levels == [b"".join(leaves), b"".join(pairs), hashlib.sha256(b"\2" + b"".join(pairs)).digest()[:20]]


def test_arrays_that_do_not_fit_are_refused() -> None:
    factors = columns.Factors.of(np.ones(LENGTH - 1, np.int64), PRIME)
    order = np.arange(LENGTH)
    with pytest.raises(ValueError, match="not for polynomials of 8 coefficients"):
        columns.transform(np.zeros((1, 8), np.int64), factors, order)
    shifts = columns.Factors.of(np.ones((4, 8), np.int64), PRIME)
    with pytest.raises(ValueError, match="these shifts are not for polynomials of 16"):
        columns.encode(np.zeros((1, LENGTH), np.int64), shifts, factors, order)
    for salts, shape in ((bytes(48), (3, 1)), (bytes(63), (4, 1))):
        with pytest.raises(ValueError, match="not those of a tree"):
            columns.tree_levels(b"\0", b"\2", salts, np.zeros(shape, np.int64))


@pytest.mark.parametrize(("a", "b"), [((3, 1), (1, 5)), ((7, 4), (7, 4)), ((2, 3, 4), (4,)), ((0,), (0,)), ((6,), ())])
def test_products_are_those_of_whole_numbers_and_of_numpy(a, b, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    left, right = rng.integers(PRIME - 9, PRIME, a), np.int64(PRIME - 1) if b == () else rng.integers(0, PRIME, b)
    compiled = multiply(left, right)
    assert (compiled == (left.astype(object) * right % PRIME)).all()
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    assert (compiled == multiply(left, right)).all()


@pytest.mark.parametrize("inner", [0, 1, 2, 7, 1 << 13])
def test_products_of_matrices_are_those_of_whole_numbers_however_large(inner: int) -> None:
    rng = np.random.default_rng(4)
    left, right = rng.integers(PRIME - 2, PRIME, (3, inner)), rng.integers(PRIME - 2, PRIME, (inner, 2))
    expected = left.astype(object) @ right.astype(object) % PRIME if inner else np.zeros((3, 2))
    assert (matrix_product(left, right) == expected).all()
    with pytest.raises(ValueError, match="cannot be multiplied here"):
        columns.matrix_product(left, np.zeros((inner + 1, 2), np.int64))


@pytest.mark.parametrize("projections", [1, 7, 8, 9, 83, 300])
@pytest.mark.parametrize("count", [1, 8, 9, 250])
def test_mixed_signs_are_the_products_of_whole_numbers_and_of_numpy(
    projections: int, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = np.random.default_rng(5).integers(PRIME - 1000, PRIME, (2, projections))
    weights[0, 0] = 0
    signs = Signs(b"seed", projections, count)
    compiled = signs.mix(weights)
    assert (compiled == weights.astype(object) @ signs.matrix.astype(object) % PRIME).all()
    monkeypatch.setenv("GROKFED_KERNEL", "off")
    assert (compiled == signs.mix(weights)).all()


def test_bits_that_do_not_fit_are_refused() -> None:
    bits = np.zeros((3, 2), np.uint8)
    for weights, minus in ((2, bits), (3, bits[:, :1])):
        with pytest.raises(ValueError, match="do not fit"):
            columns.mix(np.zeros((1, weights), np.int64), bits, minus)
    with pytest.raises(MemoryError):
        columns.mix(np.zeros((1, 2041), np.int64), *[np.zeros((2041, 1), np.uint8)] * 2)
