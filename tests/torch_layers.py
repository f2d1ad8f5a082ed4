"""Layers and losses as parts of random programs: each of ours and its twin of PyTorch, with the same weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch_operations import text_of
from torch_programs import Pair, Program

from core import losses, nn
from core.tensor import Tensor

functional = torch.nn.functional


def twin(p: Program, parameter: Tensor, transposed: bool = False) -> Any:
    """Give a parameter of ours a twin of PyTorch's, whose gradient and steps are compared from now on."""
    pair = Pair(parameter, parameter, f"weight{len(p.leaves)}", transposed)
    pair.theirs = theirs = torch.nn.Parameter(torch.tensor(np.ascontiguousarray(pair.same(parameter.data))))
    p.leaves.append(pair)
    return theirs


def seeded(p: Program) -> dict[str, Any]:
    dtype = p.dtype()
    return {"rng": int(p.rng.integers(1000)), "dtype": dtype if not p._widen else np.dtype(np.float64)}


def inputs(p: Program, shape: tuple[int, ...], like: Tensor) -> Pair | None:
    """A leaf or a result that fits; None if its type is not that of the layer."""
    found = p.tensor(lambda each: each.ours.shape == shape) if p.chance(0.5) else p.leaf(shape)
    found = found if found.ours.shape == shape else p.leaf(shape)
    return found if p.one_type(found, like) else None


# --- Layers ---


def linear(p: Program) -> None:
    columns, outputs, bias = p.size(1), p.size(1), p.chance(0.7)
    layer = nn.Linear(columns, outputs, bias=bias, **seeded(p))
    found = inputs(p, (*p.shape(p.pick((0, 1, 1, 2))), columns), layer.weight)
    if found is None:
        return
    weight, offset = twin(p, layer.weight, transposed=True), twin(p, layer.bias) if bias else None
    p.run(f"{layer}({found.name})", lambda: layer(found.ours), lambda: functional.linear(found.theirs, weight, offset))


def chain(p: Program) -> None:
    options = seeded(p)
    layers = nn.Sequential(nn.Linear(3, 4, **options), nn.Tanh(), nn.Linear(4, 2, **options), nn.Softmax())
    found = inputs(p, (p.size(), 3), layers[0].weight)
    if found is None:
        return
    twins = [(twin(p, layer.weight, transposed=True), twin(p, layer.bias)) for layer in (layers[0], layers[2])]

    def theirs() -> torch.Tensor:
        return functional.linear(functional.linear(found.theirs, *twins[0]).tanh(), *twins[1]).softmax(-1)

    p.run(f"{layers}({found.name})", lambda: layers(found.ours), theirs)


ACTIVATIONS: list[tuple[nn.Module, Callable[[torch.Tensor], torch.Tensor], tuple[float, ...]]] = [
    (nn.ReLU(), functional.relu, (0.0,)),
    (nn.LeakyReLU(0.2), lambda x: functional.leaky_relu(x, 0.2), (0.0,)),
    (nn.Sigmoid(), torch.sigmoid, ()),
    (nn.Tanh(), torch.tanh, ()),
    (nn.Hardtanh(), functional.hardtanh, (-1.0, 1.0)),
    (nn.Softmax(), lambda x: x.softmax(-1), ()),
    (nn.Softmax(2.5), lambda x: (x / 2.5).softmax(-1), ()),
    (nn.Dropout(0.5, rng=0).eval(), lambda x: functional.dropout(x, training=False), ()),
    (nn.Dropout(0.0, rng=0), lambda x: functional.dropout(x, 0.0), ()),
    (nn.Flatten(), lambda x: refusing_0d(x).flatten(1) if x.ndim > 1 else x[:, None], ()),
    (nn.Ensemble([nn.Tanh(), nn.Sigmoid()]), lambda x: (x.tanh() + x.sigmoid()) / 2, ()),
]


def refusing_0d(x: torch.Tensor) -> torch.Tensor:
    if not x.ndim:
        raise ValueError("no axis of examples")
    return x


def activation(p: Program) -> None:
    layer, theirs, kinks = p.pick(ACTIVATIONS)
    tensor = p.tensor()
    if p.clear(tensor, *kinks):
        p.run(
            f"{layer}({tensor.name})",
            lambda: layer(tensor.ours),
            lambda: theirs(refusing_0d(tensor.theirs) if isinstance(layer, nn.Flatten) else tensor.theirs),
        )


def embedding(p: Program) -> None:
    rows, dim = p.pick((1, 3, 20, 300)), p.size(1)
    padding = int(p.rng.integers(rows)) if p.chance(0.3) else None
    layer = nn.Embedding(rows, dim, padding_idx=padding, **seeded(p))
    weight = twin(p, layer.weight)
    for _ in range(p.pick((1, 1, 2))):
        look_up_in(p, layer, weight, min(rows, 100))
    if p.chance(0.3):  # a penalty next to the look-up: a dense part of the same gradient
        pair = p.leaves[-1]
        p.run("penalty", lambda: (pair.ours**2).sum(), lambda: (pair.theirs**2).sum())


def look_up_in(p: Program, layer: nn.Embedding, weight: Any, rows: int) -> None:
    numbers = p.indices(p.shape(p.pick((0, 1, 2))), rows)
    places = torch.tensor(numbers.astype(np.int64))
    p.run(
        f"{layer}({text_of(numbers)})",
        lambda: layer(numbers),
        lambda: functional.embedding(places, weight, layer.padding_idx),
    )


def embedding_bag(p: Program) -> None:
    rows, dim, mode = p.pick((2, 6, 50)), p.pick((1, 2, 16, 18)), p.pick(("sum", "mean"))
    padding = int(p.rng.integers(rows)) if p.chance(0.3) else None
    layer = nn.EmbeddingBag(rows, dim, mode=mode, padding_idx=padding, **seeded(p))
    sizes = p.rng.integers(0, p.pick((3, 40)), p.size(1))
    numbers = p.rng.integers(0, rows, int(sizes.sum())).astype(p.pick((np.uint8, np.int8, np.int16, np.int64)))
    offsets = (np.cumsum(sizes) - sizes).astype(p.pick((np.int64, np.uint16, np.int32)))
    weights = p.leaf(numbers.shape) if mode == "sum" and p.chance(0.3) else None
    if weights is not None and not p.one_type(weights, layer.weight):
        return
    places, starts, weight = (
        torch.tensor(numbers.astype(np.int64)),
        torch.tensor(offsets.astype(np.int64)),
        twin(p, layer.weight),
    )
    p.run(
        f"{layer}({text_of(numbers)}, {text_of(offsets)})",
        lambda: layer(numbers, offsets, None if weights is None else weights.ours),
        lambda: functional.embedding_bag(
            places,
            weight,
            starts,
            mode=mode,
            padding_idx=padding,
            per_sample_weights=None if weights is None else weights.theirs,
        ),
    )


def convolution(p: Program) -> None:
    channels, kernels = p.pick((1, 2)), p.pick((1, 3))
    size = p.pick((1, 2, (2, 3), (3, 1)))
    stride, padding, bias = p.pick((1, 2, (1, 2))), p.pick((0, 0, 1, 2)), p.chance(0.6)
    layer = nn.Conv2d(channels, kernels, size, stride=stride, padding=padding, bias=bias, **seeded(p))
    found = inputs(p, (p.pick((0, 1, 2)), channels, p.pick((2, 4, 5)), p.pick((3, 4))), layer.weight)
    if found is None:
        return
    weight, offset = twin(p, layer.weight), twin(p, layer.bias) if bias else None
    p.run(
        f"{layer}({found.name})",
        lambda: layer(found.ours),
        lambda: functional.conv2d(found.theirs, weight, offset, stride, padding),
    )


def pooling(p: Program) -> None:
    kind, size = p.pick(("MaxPool2d", "AvgPool2d", "SumPool2d", "KernelPool")), p.pick((1, 2, (2, 3), (1, 2)))
    images = p.leaf((p.pick((1, 2)), p.pick((1, 3)), p.pick((2, 4, 5)), p.pick((3, 4))))
    stride = p.pick((None, None, 1, 2, (2, 1)))
    if kind == "KernelPool":
        mode = p.pick(("sum", "mean", "max"))
        theirs = {"sum": torch.sum, "mean": torch.mean, "max": torch.amax}[mode]
        p.run(
            f"KernelPool({mode})({images.name})",
            lambda: nn.KernelPool(mode)(images.ours),
            lambda: theirs(images.theirs, 1),
        )
        return
    layer = getattr(nn, kind)(size, stride)
    height, width = (size, size) if isinstance(size, int) else size
    results = {
        "MaxPool2d": lambda x: functional.max_pool2d(x, size, stride),
        "AvgPool2d": lambda x: functional.avg_pool2d(x, size, stride),
        "SumPool2d": lambda x: functional.avg_pool2d(x, size, stride) * (height * width),
    }
    p.run(f"{layer}({images.name})", lambda: layer(images.ours), lambda: results[kind](images.theirs))


# --- Sequences ---


def recurrent_cell(p: Program) -> None:
    columns, hidden, batch = p.size(1), p.size(1), p.size(1)
    kind = p.pick(("RNNCell", "LSTMCell", "LinearRecurrentCell"))
    options = seeded(p)
    x, h, c = (p.leaf(shape) for shape in ((batch, columns), (batch, hidden), (batch, hidden)))
    if not p.one_type(x, h, c, Tensor(np.zeros(1, options["dtype"]))):
        return
    if kind == "LinearRecurrentCell":
        cell = nn.LinearRecurrentCell(hidden, dtype=options["dtype"])
        transition = twin(p, cell.transition)
        p.run(f"{cell}({h.name}, {c.name})", lambda: cell(h.ours, c.ours), lambda: c.theirs @ transition + h.theirs)
    elif kind == "RNNCell":
        rnn = nn.RNNCell(columns, hidden, **options)
        weights = cell_weights(p, rnn)
        p.run(
            f"{rnn}({x.name}, {h.name})",
            lambda: rnn(x.ours, h.ours),
            lambda: torch.rnn_tanh_cell(x.theirs, h.theirs, *weights),
        )
    else:
        lstm = nn.LSTMCell(columns, hidden, hidden_bias=True, **options)
        weights = cell_weights(p, lstm)
        which = p.pick((0, 1))
        p.run(
            f"{lstm}({x.name}, ({h.name}, {c.name}))[{which}]",
            lambda: lstm(x.ours, (h.ours, c.ours))[which],
            lambda: torch.lstm_cell(x.theirs, (h.theirs, c.theirs), *weights)[which],
        )


def cell_weights(p: Program, cell: Any) -> list[Any]:
    """Twins in PyTorch's order: weights of the inputs and of the state, then their biases."""
    maps = (cell.input_map, cell.hidden_map)
    return [twin(p, each.weight, transposed=True) for each in maps] + [twin(p, each.bias) for each in maps]


def recurrent_layer(p: Program) -> None:
    steps, batch, columns, hidden = p.size(1), p.size(1), p.size(1), p.size(1)
    kind, options = p.pick(("RNN", "LSTM")), seeded(p)
    layer: Any = (
        nn.RNN(columns, hidden, **options) if kind == "RNN" else nn.LSTM(columns, hidden, hidden_bias=True, **options)
    )
    table = p.leaf((p.pick((2, 5)), columns))
    h, c = p.leaf((batch, hidden)), p.leaf((batch, hidden))
    if not p.one_type(table, h, c, layer.cell.input_map.weight):
        return
    weights = cell_weights(p, layer.cell)
    rows = p.rng.integers(0, len(table.ours), (steps, batch)).astype(p.pick((np.uint8, np.int16, np.int64)))
    given = p.chance(0.6)
    state = (h.ours if kind == "RNN" else (h.ours, c.ours)) if given else None
    use_rows, last = p.chance(0.5), p.pick(("states", "h", "c"))

    def ours() -> Tensor:
        states, end = (
            layer.read_rows(table.ours, rows, state) if use_rows else layer(table.ours.index_select(rows), state)
        )
        return states if last == "states" else end if kind == "RNN" else end["hc".index(last)]

    def theirs() -> torch.Tensor:
        read = table.theirs[torch.tensor(rows.astype(np.int64))]
        start = [each.theirs[None] if given else torch.zeros_like(each.theirs)[None] for each in (h, c)]
        if kind == "RNN":
            states, end = torch.rnn_tanh(read, start[0], weights, True, 1, 0.0, False, False, False)
            return states if last == "states" else end[0]
        states, *ends = torch.lstm(read, start, weights, True, 1, 0.0, False, False, False)
        return states if last == "states" else ends["hc".index(last)][0]

    p.run(f"{kind}({table.name}[{text_of(rows)}], state {given}, rows {use_rows}) -> {last}", ours, theirs)


# --- Losses ---


def value_loss(p: Program) -> None:
    name = p.pick(("mse", "l1", "delta_rule", "binary_cross_entropy", "binary_cross_entropy_with_logits"))
    outputs, reduction = p.tensor(), p.pick(("mean", "sum"))
    if name == "binary_cross_entropy" and not p.chance(0.1):
        outputs = p.leaf(outputs.ours.shape, low=0.0, high=1.0)
    as_tensor = name in ("mse", "delta_rule") and p.chance(0.3)
    target = p.leaf(outputs.ours.shape, low=0.0, high=1.0)
    if not p.one_type(target, outputs):
        return
    if p.chance(0.03):
        target = p.leaf((*outputs.ours.shape, 5))
    mine, yours = (target.ours, target.theirs) if as_tensor else (target.ours.data, target.theirs.detach())
    if (
        name == "l1"
        and target.ours.shape == outputs.ours.shape
        and not p.clear(Pair(outputs.ours - target.ours.data, outputs.theirs - target.theirs, ""), 0.0)
    ):
        return
    options = () if name == "delta_rule" else (reduction,)

    def theirs() -> torch.Tensor:
        if outputs.theirs.shape != target.theirs.shape:
            raise ValueError("PyTorch broadcasts, with a warning")
        if name == "delta_rule":
            return 0.5 * functional.mse_loss(outputs.theirs, yours, reduction="sum")
        function = getattr(functional, {"mse": "mse_loss", "l1": "l1_loss"}.get(name, name))
        return function(outputs.theirs, yours, reduction=reduction)

    p.run(
        f"{name}({outputs.name}, {target.name}, {reduction})",
        lambda: getattr(losses, name)(outputs.ours, mine, *options),
        theirs,
    )


def class_loss(p: Program) -> None:
    logits, reduction = p.tensor(lambda each: each.ours.ndim > 0), p.pick(("mean", "sum"))
    if not logits.ours.ndim or not logits.ours.shape[-1]:
        return
    targets = p.indices(logits.ours.shape[:-1], logits.ours.shape[-1])
    places = torch.tensor(targets.astype(np.int64)).reshape(-1)
    p.run(
        f"cross_entropy({logits.name}, {text_of(targets)}, {reduction})",
        lambda: losses.cross_entropy(logits.ours, targets, reduction),
        lambda: functional.cross_entropy(
            logits.theirs.reshape(places.numel(), logits.ours.shape[-1]), places, reduction=reduction
        ),
    )


def negative_sampling(p: Program) -> None:
    n, draws, reduction = p.size(1), p.size(1), p.pick(("mean", "sum"))
    positive, negative = p.leaf((n,)), p.leaf((n, draws))
    valid = p.rng.random((n, draws)) < 0.7 if p.chance(0.5) else None
    if not p.one_type(positive, negative):
        return

    def theirs() -> torch.Tensor:
        wrong = functional.softplus(negative.theirs) * (1 if valid is None else torch.tensor(valid))
        each = functional.softplus(-positive.theirs) + wrong.sum(1)
        return each.mean() if reduction == "mean" else each.sum()

    p.run(
        f"negative_sampling({positive.name}, {negative.name}, {reduction})",
        lambda: losses.negative_sampling(positive.ours, negative.ours, valid, reduction),
        theirs,
    )


LAYERS = [
    linear, chain, activation, activation, embedding, embedding, embedding_bag, convolution, pooling, recurrent_cell,
    recurrent_layer,
]  # fmt: skip
LOSSES = [value_loss, value_loss, class_loss, negative_sampling]
