"""Parameters as a vector and as a file."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import DataError, StorageError
from core.nn import Linear, Module, Sequential
from core.parameters import from_vector, layout, load_npz, save_npz, to_vector


def model(dtype: type = np.float64) -> Sequential:
    rng = np.random.default_rng(0)
    return Sequential(Linear(2, 3, rng=rng, dtype=dtype), Linear(3, 1, bias=False, rng=rng, dtype=dtype))


def test_the_layout_names_every_parameter_and_its_shape():
    assert layout(model()) == (
        ("layers.0.weight", (2, 3)),
        ("layers.0.bias", (3,)),
        ("layers.1.weight", (3, 1)),
    )


def test_the_vector_holds_the_parameters_one_after_the_other():
    net = model()
    net.layers[0].weight.data[...] = [[1, 2, 3], [4, 5, 6]]
    net.layers[0].bias.data[...] = [7, 8, 9]
    net.layers[1].weight.data[...] = [[10], [11], [12]]
    np.testing.assert_array_equal(to_vector(net), np.arange(1, 13))


def test_a_vector_put_back_gives_the_same_parameters():
    net = model()
    from_vector(net, np.arange(12))
    np.testing.assert_array_equal(to_vector(net), np.arange(12))


def test_the_vector_is_a_copy_in_both_directions():
    net = model()
    vector = to_vector(net)
    from_vector(net, vector)
    vector += 1
    assert not (to_vector(net) == vector).any()
    single = Linear(3, 1, bias=False, rng=np.random.default_rng(0))
    to_vector(single)[...] = 5
    assert not (single.weight.data == 5).any()


def test_float32_parameters_stay_float32_and_come_as_float64():
    net = model(np.float32)
    from_vector(net, np.full(12, 0.1))
    assert {parameter.dtype for parameter in net.parameters()} == {np.dtype(np.float32)}
    assert to_vector(net).dtype == np.float64


@pytest.mark.parametrize("shape", [(11,), (13,), (0,), (12, 1), (1, 12)])
def test_a_vector_of_another_length_is_refused(shape):
    with pytest.raises(ValueError, match="does not fit 12 parameters"):
        from_vector(model(), np.zeros(shape))


@pytest.mark.parametrize(("dtype", "number"), [(np.float64, np.nan), (np.float64, -np.inf), (np.float32, 1e300)])
def test_a_number_that_is_not_finite_is_refused_and_changes_nothing(dtype, number):
    net = model(dtype)
    before = to_vector(net)
    vector = np.zeros(12)
    vector[7] = number
    with pytest.raises(ValueError, match=r"layers\.0\.bias would hold a number that is not finite"):
        from_vector(net, vector)
    np.testing.assert_array_equal(to_vector(net), before)


def test_a_module_without_parameters_is_an_empty_vector():
    assert to_vector(Module()).shape == (0,)
    from_vector(Module(), np.zeros(0))


# --- Files ---


def test_arrays_come_back_from_a_file(tmp_path):
    arrays = {"weight": np.arange(6.0).reshape(2, 3), "layers.0.bias": np.float32([1.5]), "round": np.array(3)}
    save_npz(tmp_path / "model.npz", arrays)
    loaded = load_npz(tmp_path / "model.npz")
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(loaded[name], array)
        assert loaded[name].dtype == array.dtype
    assert [path.name for path in tmp_path.iterdir()] == ["model.npz"]


def test_equal_arrays_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_npz(tmp_path / name, {"x": np.ones(3)})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_cannot_be_written_where_no_folder_is(tmp_path):
    with pytest.raises(StorageError, match=r"model\.npz cannot be written"):
        save_npz(tmp_path / "missing" / "model.npz", {})


def test_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="allow_pickle=False"):
        save_npz(tmp_path / "model.npz", {"x": np.array([object()])})
    assert not (tmp_path / "model.npz").exists()


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"there is no file .*gone\.npz"):
        load_npz(tmp_path / "gone.npz")


def test_files_of_another_kind_are_refused(tmp_path):
    path = tmp_path / "wrong.npz"
    save_npz(path, {"x": np.arange(100.0)})
    whole = path.read_bytes()
    with path.open("wb") as file:
        np.save(file, np.ones(3))
    single_array = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (b"", b"not an archive", whole[: len(whole) // 2], single_array, bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"wrong\.npz is not a readable file"):
            load_npz(path)


def test_a_folder_in_place_of_a_file_is_refused(tmp_path):
    with pytest.raises(DataError, match="not a readable file"):
        load_npz(tmp_path)


def test_pickled_objects_are_refused(tmp_path):
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.array([{"a": 1}], dtype=object))
    with pytest.raises(DataError, match="not a readable file"):
        load_npz(path)


def test_a_module_comes_back_from_a_file(tmp_path):
    net, other = (
        model(),
        Sequential(*(Linear(n, m, bias=m == 3, rng=np.random.default_rng(5)) for n, m in ((2, 3), (3, 1)))),
    )
    save_npz(tmp_path / "model.npz", net.state_dict())
    other.load_state_dict(load_npz(tmp_path / "model.npz"))
    np.testing.assert_array_equal(to_vector(other), to_vector(net))


def test_the_state_of_another_model_is_refused():
    with pytest.raises(ValueError, match=r"the state lacks \['bias', 'weight'\]"):
        Linear(2, 3, rng=np.random.default_rng(0)).load_state_dict(model().state_dict())
