"""One model as formula, code, strips, and nodes and edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.patches import Circle, Rectangle

from book.pictures import code, draw_nodes, draw_strips, formula, infer_shape, infer_shapes
from book.pictures.network import stage_values
from core.nn import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Embedding,
    EmbeddingBag,
    Flatten,
    Hardtanh,
    KernelPool,
    LeakyReLU,
    Linear,
    LSTMCell,
    MaxPool2d,
    Module,
    ReLU,
    Sequential,
    Sigmoid,
    Softmax,
    SumPool2d,
    Tanh,
)
from core.parameters import layout
from core.tensor import as_tensor

RNG = np.random.default_rng(1)


def streetlights() -> Sequential:
    return Sequential(Linear(3, 4, bias=False, rng=RNG), ReLU(), Linear(4, 1, bias=False, rng=RNG))


def digits() -> Sequential:
    return Sequential(
        Flatten(), Linear(784, 40, rng=RNG), ReLU(), Dropout(0.5, rng=RNG), Linear(40, 10, rng=RNG), Softmax()
    )


def kernels() -> Sequential:
    return Sequential(
        Conv2d(1, 8, 5, stride=2, rng=RNG), ReLU(), MaxPool2d(2), Flatten(), Linear(288, 10, bias=False, rng=RNG)
    )


def words() -> Sequential:
    return Sequential(EmbeddingBag(12, 5, mode="mean", rng=RNG), Tanh(), Linear(5, 2, rng=RNG))


MODELS = {
    "l2 = relu(l0 W0) W1": streetlights(),
    "l2 = softmax(dropout(relu(flatten(l0) W0 + b0)) W1 + b1)": digits(),
    "l2 = flatten(max_pool(relu(conv(l0, K0) + b0))) W1": kernels(),
    "l2 = tanh(mean(E0[l0])) W1 + b1": words(),
    "l2 = (l0 W0 + b0) W1": Sequential(Linear(2, 3, rng=RNG), Linear(3, 1, bias=False, rng=RNG)),
    "l2 = l0 W0 W1": Sequential(Linear(2, 3, bias=False, rng=RNG), Linear(3, 1, bias=False, rng=RNG)),
    "l1 = softmax((l0 W0) / 2)": Sequential(Linear(2, 3, bias=False, rng=RNG), Softmax(2.0)),
    "l2 = E0[l0] W1 + b1": Sequential(Embedding(9, 4, padding_idx=0, rng=RNG), Sequential(Linear(4, 9, rng=RNG))),
    "l1 = hardtanh(max_over_kernels(sum_pool(leaky_relu(conv(l0, K0)))))": Sequential(
        Conv2d(2, 3, (3, 2), stride=(2, 1), padding=1, bias=False, rng=RNG, dtype=np.float32),
        LeakyReLU(0.2),
        SumPool2d((2, 1), stride=1),
        KernelPool("max"),
        Hardtanh(),
    ),
    "l1 = sigmoid(mean_pool(conv(l0, K0) + b0))": Sequential(Conv2d(1, 2, 3, rng=RNG), AvgPool2d(3, 1), Sigmoid()),
    "l1 = sum(E0[l0])": Sequential(EmbeddingBag(6, 2, mode="sum", deduplicate=True, padding_idx=1, rng=RNG)),
}


@pytest.mark.parametrize("expected", MODELS)
def test_a_model_as_formula(expected: str) -> None:
    assert formula(MODELS[expected]) == expected


@pytest.mark.parametrize("name", MODELS)
def test_code_makes_the_same_architecture(name: str) -> None:
    made: dict[str, Any] = {}
    exec(code(MODELS[name]), made)  # noqa: S102  our own text: this is what it is for
    again = made["model"]
    assert layout(again) == layout(MODELS[name])
    assert formula(again) == name
    assert code(again) == code(MODELS[name])
    assert settings(again) == settings(MODELS[name])


def settings(model: Module) -> list[dict[str, object]]:
    """Return the plain attributes of every module, and the dtypes of its parameters."""
    plain = [
        {name: value for name, value in vars(module).items() if isinstance(value, int | float | str | tuple | None)}
        for module in model.modules()
    ]
    without_layers: list[dict[str, object]] = [
        {name: value for name, value in found.items() if name != "layers"} for found in plain
    ]
    return [*without_layers, {"dtypes": [parameter.dtype for parameter in model.parameters()]}]


def test_code_reads_as_one_would_write_it() -> None:
    assert code(streetlights()) == (
        "import numpy as np\n\nfrom core.nn import Linear, ReLU, Sequential\n\n"
        "rng = np.random.default_rng(1)\n"
        "model = Sequential(\n    Linear(3, 4, bias=False, rng=rng),\n    ReLU(),\n    Linear(4, 1, bias=False, rng=rng),\n)\n"
    )


def test_a_layer_used_twice_is_no_architecture_that_code_can_say() -> None:
    shared = Linear(2, 2, rng=RNG)
    with pytest.raises(ValueError, match="the same layer in two places"):
        code(Sequential(shared, ReLU(), shared))


@pytest.mark.parametrize("draw", [formula, code, draw_nodes, draw_strips])
def test_a_model_that_is_no_chain_of_known_layers_is_refused_by_name(draw: Any) -> None:
    cell: Any = LSTMCell(2, 2, rng=RNG)
    with pytest.raises(ValueError, match="LSTMCell cannot be drawn: only a Sequential"):
        draw(Sequential(cell))
    with pytest.raises(ValueError, match="as_tensor cannot be drawn"):
        draw(Sequential(Linear(2, 2, rng=RNG), as_tensor))


def test_a_model_without_weights_is_refused() -> None:
    with pytest.raises(ValueError, match="without any layer that has weights"):
        formula(Sequential(ReLU()))


# --- Shapes ---


def test_the_shape_of_a_matrix_follows_from_its_neighbours() -> None:
    assert infer_shape(3, 4) == (3, 4)
    assert infer_shape((6, 3), (6, 4)) == (3, 4)
    assert infer_shapes([3, 4, 1]) == [(3, 4), (4, 1)] == [tuple(p.shape) for p in streetlights().parameters()]


def test_no_matrix_leads_from_six_rows_to_five() -> None:
    with pytest.raises(ValueError, match=r"from shape \(6, 3\) to \(5, 4\)"):
        infer_shape((6, 3), (5, 4))
    with pytest.raises(ValueError, match="holds no numbers"):
        infer_shape(0, 4)


# --- Values of one example ---


def test_the_values_of_the_stages_are_those_of_the_model() -> None:
    model = streetlights()
    l0, l1, l2 = stage_values(model, [1.0, 0.0, 1.0])
    first, second = (parameter.data for parameter in model.parameters())
    np.testing.assert_allclose(l1, np.maximum(first[0] + first[2], 0))
    np.testing.assert_allclose(l2, l1 @ second)
    assert list(l0) == [1, 0, 1]


def test_looking_at_a_model_drops_nothing_and_leaves_its_mode_and_its_randomness() -> None:
    model, image = digits(), np.ones((28, 28))
    before = RNG.bit_generator.state
    values = stage_values(model, image)
    assert RNG.bit_generator.state == before
    assert model.training
    np.testing.assert_allclose(values[-1], model.eval()(image[None]).data[0])


def test_an_example_that_does_not_fit_is_refused_with_the_shapes() -> None:
    with pytest.raises(ValueError, match=r"\(1, 2\) and \(3, 4\)"):
        draw_strips(streetlights(), [1.0, 2.0])


def test_kernels_need_an_example_image() -> None:
    with pytest.raises(ValueError, match="give an example image"):
        draw_strips(kernels())


# --- Nodes and edges ---


def circles(figure: Any) -> list[Circle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]


def edges(figure: Any) -> list[Any]:
    return [part for part in figure.axes[0].collections if isinstance(part, LineCollection)]


def captions(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts]


def test_a_small_network_has_a_node_for_each_number_and_an_edge_for_each_weight() -> None:
    figure = draw_nodes(streetlights())
    assert len(circles(figure)) == 3 + 4 + 1
    assert [len(part.get_segments()) for part in edges(figure)] == [12, 4]
    assert {"W0\n3 × 4", "W1\n4 × 1", "l1\nrelu\n4"} <= set(captions(figure))


def test_thick_edges_are_large_weights_and_dashed_ones_negative() -> None:
    model = Sequential(Linear(2, 1, rng=RNG))
    model_weight = next(model.parameters())
    model_weight.data[...] = [[2.0], [-1.0]]
    (part,) = edges(draw_nodes(model))
    thick, thin = part.get_linewidths()
    assert (thick - 0.2) == pytest.approx(2 * (thin - 0.2))
    (_, solid), (_, dashed) = part.get_linestyles()
    assert solid is None
    assert dashed is not None
    assert not np.array_equal(*part.get_colors())


def test_the_numbers_of_one_example_stand_in_the_nodes() -> None:
    model = Sequential(Linear(2, 2, bias=False, rng=RNG), ReLU())
    next(model.parameters()).data[...] = [[1.0, -1.0], [0.25, 0.0]]
    assert captions(draw_nodes(model, [1.0, 2.0]))[:4] == ["1", "2", "1.5", "0"]


def test_of_a_large_layer_the_first_nodes_an_ellipsis_and_the_last_are_drawn() -> None:
    image = np.zeros((28, 28))
    image[0, 3], image[0, 4], image[27, 27] = 0.3, 0.4, 0.9
    figure = draw_nodes(digits(), image, most=5)
    assert captions(figure)[:6] == ["0", "0", "0", "0.3", "0.9", "⋮"]
    assert len(circles(figure)) == 15
    assert captions(figure).count("⋮") == 3
    assert "l0\nflatten\n784" in captions(figure)
    assert "W0 + b0\n784 × 40" in captions(figure)


def test_words_are_nodes_that_count_how_often_they_are_there() -> None:
    assert captions(draw_nodes(words(), [1, 3, 3], most=12))[:5] == ["0", "1", "0", "2", "0"]


def test_kernels_are_not_drawn_as_nodes() -> None:
    with pytest.raises(ValueError, match="kernels cannot be drawn as nodes"):
        draw_nodes(kernels())


def test_a_sentence_of_vectors_is_not_drawn_as_nodes() -> None:
    with pytest.raises(ValueError, match="nodes can only show 9, 4, 9 numbers"):
        draw_nodes(MODELS["l2 = E0[l0] W1 + b1"], [1, 2])


def test_matrices_that_do_not_meet_in_the_same_nodes_are_refused() -> None:
    joined = Sequential(Embedding(5, 3, rng=RNG), Flatten(), Linear(6, 2, rng=RNG))
    with pytest.raises(ValueError, match=r"\(5, 3\) and \(6, 2\) do not meet"):
        draw_nodes(joined)
    with pytest.raises(ValueError, match="does not say what shape its input has"):
        draw_strips(joined)
    assert "l0\n2" in captions(draw_strips(joined, [1, 2]))


# --- Strips and boxes ---


def test_strips_and_boxes_carry_all_shapes() -> None:
    texts = captions(draw_strips(kernels(), np.zeros((1, 28, 28))))
    assert [text for text in texts if text] == [
        "l0\n1 × 28 × 28",
        "K0",
        "8 kernels\n1 × 5 × 5\n+ b0: 8",
        "relu\nmax_pool\nflatten",
        "l1\n288",
        "W1",
        "288 × 10",
        "l2\n10",
    ]


def test_a_matrix_box_is_as_high_as_the_strip_before_it_and_as_wide_as_the_one_after_is_high() -> None:
    patches = [patch for patch in draw_strips(streetlights()).axes[0].patches if isinstance(patch, Rectangle)]
    l0, w0, l1, w1, l2 = patches
    assert (w0.get_height(), w0.get_width()) == (l0.get_height(), l1.get_height())
    assert (w1.get_height(), w1.get_width()) == (l1.get_height(), l2.get_height())


def test_one_example_colours_the_strips_around_zero() -> None:
    images = draw_strips(streetlights(), [1.0, 0.0, -2.0]).axes[0].images
    assert len(images) == 3
    np.testing.assert_array_equal(images[0].get_array(), [[1], [0], [-2]])
    assert images[0].get_clim() == (-2.0, 2.0)
    assert len(draw_strips(streetlights()).axes[0].images) == 0
