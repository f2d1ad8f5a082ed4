"""Characters: a chunk of the recurrent networks of chapter 14, with embedding, output layer, clipping and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.measure import CELLS, LAYER, Case, Work, beside_torch, twin_linear
from core.losses import cross_entropy
from core.nn import LSTM, RNN, Embedding, Linear, LSTMCell, RNNCell
from core.ops import Array
from core.optim import SGD, clip_grad_norm_
from core.tensor import Tensor, stack

CHARACTERS = 62
RATE = 0.1
CLIP = 0.5


@dataclass(frozen=True)
class Shape:
    """Sizes of a chunk: `steps` characters of each of `batch` texts."""

    embedding: int
    hidden: int
    batch: int
    steps: int


Layer = LSTM | RNN
Read = Callable[[Embedding, Layer, Array], Tensor]


@dataclass(frozen=True)
class Model:
    """Characters in, logits of the next ones out."""

    embedding: Embedding
    layer: Layer
    output: Linear

    @property
    def parts(self) -> tuple[Embedding, Layer, Linear]:
        return self.embedding, self.layer, self.output


def make_model(kind: type[LSTM] | type[RNN], shape: Shape, rng: np.random.Generator) -> Model:
    layer = kind(shape.embedding, shape.hidden, rng=rng, dtype=np.float32)
    layer.cell.hidden_map.weight.data *= 0.5  # with the start for deep networks a wide state is chaotic
    return Model(
        Embedding(CHARACTERS, shape.embedding, rng=rng, dtype=np.float32),
        layer,
        Linear(shape.hidden, CHARACTERS, rng=rng, dtype=np.float32),
    )


def chunk(kind: type[LSTM] | type[RNN], shape: Shape, rng: np.random.Generator, small: bool) -> Mapping[str, Work]:
    del small  # a chunk is small
    model = make_model(kind, shape, rng)
    texts = rng.integers(0, CHARACTERS, (shape.steps + 1, shape.batch))

    def step(read: Read) -> Work:
        return _step(deepcopy(model), texts, read)

    return {
        **beside_torch(
            step(lambda table, layer, letters: layer.read_rows(table.weight, letters)[0]),
            lambda torch: _twin(torch, model, texts),
        ),
        LAYER: step(lambda table, layer, letters: layer(table(letters))[0]),
        CELLS: step(lambda table, layer, letters: _by_cells(layer.cell, table(letters))),
    }


def _step(model: Model, texts: Array, read: Read) -> Work:
    optimiser = SGD([parameter for part in model.parts for parameter in part.parameters()], RATE)

    def step() -> float:
        states = read(model.embedding, model.layer, texts[:-1])
        loss = cross_entropy(model.output(states), texts[1:])
        optimiser.zero_grad()
        loss.backward()
        clip_grad_norm_(optimiser.parameters, CLIP)
        optimiser.step()
        return loss.item()

    return step


def _by_cells(cell: LSTMCell | RNNCell, inputs: Tensor) -> Tensor:
    state: Any = cell.initial_state(inputs.shape[1])
    states = []
    for step in range(len(inputs)):
        state = cell(inputs[step], state)
        states.append(state[0] if isinstance(cell, LSTMCell) else state)
    return stack(states)


def _twin(torch: Any, model: Model, texts: Array) -> Work:
    """Return the same in PyTorch, with its own layers over whole sequences."""
    embedding, cell, output = model.embedding, model.layer.cell, model.output
    kind = torch.nn.LSTM if isinstance(cell, LSTMCell) else torch.nn.RNN
    twin_table = torch.nn.Embedding(*embedding.weight.shape)
    twin_layer = kind(len(cell.input_map.weight), len(cell.hidden_map.weight))
    twin_output = twin_linear(torch, output)
    for parameter, array in (
        (twin_table.weight, embedding.weight.data),
        (twin_layer.weight_ih_l0, cell.input_map.weight.data.T),
        (twin_layer.weight_hh_l0, cell.hidden_map.weight.data.T),
    ):
        parameter.data = torch.tensor(np.ascontiguousarray(array))
    for bias in (twin_layer.bias_ih_l0, twin_layer.bias_hh_l0):
        bias.data.zero_()
    parameters = [*twin_table.parameters(), *twin_layer.parameters(), *twin_output.parameters()]
    optimiser = torch.optim.SGD(parameters, RATE)
    inputs, targets = torch.from_numpy(texts[:-1].copy()), torch.from_numpy(texts[1:].copy())

    def step() -> float:
        logits = twin_output(twin_layer(twin_table(inputs))[0])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimiser.step()
        return float(loss.item())

    return step


CASES = (
    Case("lstm-128", "16 texts, 25 characters, embedding 64", partial(chunk, LSTM, Shape(64, 128, 16, 25))),
    Case(
        "lstm-512", "16 texts, 25 characters, embedding 512", partial(chunk, LSTM, Shape(512, 512, 16, 25)), book=0.58
    ),
    Case("rnn-128", "32 texts, 16 characters, embedding 64", partial(chunk, RNN, Shape(64, 128, 32, 16))),
    Case("rnn-512", "32 texts, 16 characters, embedding 512", partial(chunk, RNN, Shape(512, 512, 32, 16)), book=0.098),
)
