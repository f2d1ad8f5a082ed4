"""A network as a formula and as code, both from the model itself (chapter 7)."""

from __future__ import annotations

from book.pictures.network import Stage, chain, function_name, stages
from core.nn import (
    AvgPool2d,
    Conv2d,
    Dropout,
    Embedding,
    EmbeddingBag,
    KernelPool,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Module,
    Sequential,
    Softmax,
    SumPool2d,
)

# --- Formula ---


def formula(model: Module) -> str:
    """Return the network as one formula, such as "l2 = relu(l0 W0 + b0) W1 + b1".

    Raises ValueError for a model that is no chain of known layers.
    """
    found = stages(model)
    text, is_sum = "l0", False
    for stage in found:
        if stage.layer is not None:
            text, is_sum = _weighted(stage, text, is_sum)
        for function in stage.functions:
            text, is_sum = _applied(function, text, stage.layer is not None), False
    return f"l{len(found) - 1} = {text}"


def _weighted(stage: Stage, text: str, is_sum: bool) -> tuple[str, bool]:
    """Return the formula of a layer of weights applied to a formula, and whether it is a sum."""
    if isinstance(stage.layer, Linear):
        text = f"({text}) {stage.matrix}" if is_sum else f"{text} {stage.matrix}"
    elif isinstance(stage.layer, Conv2d):
        text = f"conv({text}, {stage.matrix})"
    elif isinstance(stage.layer, EmbeddingBag):
        text = f"{stage.layer.mode}({stage.matrix}[{text}])"
    else:
        text = f"{stage.matrix}[{text}]"
    return (text, False) if stage.bias is None else (f"{text} + {stage.bias}", True)


def _applied(function: Module, text: str, weighted: bool) -> str:
    if isinstance(function, Softmax) and function.temperature != 1:
        text = f"({text}) / {function.temperature:g}" if weighted else f"{text} / {function.temperature:g}"
    return f"{function_name(function)}({text})"


# --- Code ---


def code(model: Module) -> str:
    """Return Python text that makes a model of the same architecture, with fresh weights, under the name `model`.

    Raises ValueError for a model that is no chain of known layers.
    """
    layers = chain(model)
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError("code cannot be written for a model that has the same layer in two places")
    body = _source(model, "")
    names = sorted({type(layer).__name__ for layer in layers} | ({"Sequential"} if "Sequential" in body else set()))
    lines = [f"from core.nn import {', '.join(names)}", ""]
    if "rng=" in body:
        lines = ["import numpy as np", "", *lines, "rng = np.random.default_rng(1)"]
    return "\n".join([*lines, f"model = {body}", ""])


def _source(layer: object, indent: str) -> str:
    if isinstance(layer, Sequential):
        inside = indent + "    "
        parts = "".join(f"{inside}{_source(part, inside)},\n" for part in layer.layers)
        return f"Sequential(\n{parts}{indent})" if parts else "Sequential()"
    return f"{type(layer).__name__}({', '.join(_arguments(layer))})"


def _arguments(layer: object) -> list[str]:
    """Return the arguments that make such a layer, those at their default left out."""
    if isinstance(layer, Linear):
        return [*map(str, layer.weight.shape), *_unless("bias", layer.bias is not None, True), *_random(layer)]
    if isinstance(layer, Conv2d):
        out_channels, in_channels, *size = layer.weight.shape
        stride = _unless("stride", _side(layer.stride), "1")
        padding = _unless("padding", layer.padding, 0)
        bias = _unless("bias", layer.bias is not None, True)
        return [
            str(in_channels),
            str(out_channels),
            _side((size[0], size[1])),
            *stride,
            *padding,
            *bias,
            *_random(layer),
        ]
    if isinstance(layer, Embedding | EmbeddingBag):
        return [*map(str, layer.weight.shape), *_table_options(layer), *_random(layer)]
    if isinstance(layer, MaxPool2d | AvgPool2d | SumPool2d):
        return [_side(layer.kernel_size), *_unless("stride", _side(layer.stride), _side(layer.kernel_size))]
    if isinstance(layer, LeakyReLU):
        return [repr(layer.negative_slope)]
    if isinstance(layer, Softmax):
        return [] if layer.temperature == 1 else [repr(layer.temperature)]
    if isinstance(layer, Dropout):
        return [repr(layer.p), "rng=rng"]
    return [f'"{layer.mode}"'] if isinstance(layer, KernelPool) else []


def _table_options(layer: Embedding | EmbeddingBag) -> list[str]:
    padding = _unless("padding_idx", layer.padding_idx, None)
    if isinstance(layer, Embedding):
        return padding
    mode = [] if layer.mode == "mean" else [f'mode="{layer.mode}"']
    return [*mode, *padding, *_unless("deduplicate", layer.deduplicate, False)]


def _random(layer: Linear | Conv2d | Embedding | EmbeddingBag) -> list[str]:
    return ["rng=rng", *_unless("dtype", f"np.{layer.weight.dtype}", "np.float64")]


def _unless(name: str, value: object, default: object) -> list[str]:
    return [] if value == default else [f"{name}={value}"]


def _side(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else str(size)
