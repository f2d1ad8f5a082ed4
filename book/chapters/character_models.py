"""What chapter 14 shares: a model of the next character, and its training on a text too long for one graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.data.characters import IntArray, bptt_chunks
from core.losses import cross_entropy
from core.nn import LSTM, RNN, Embedding, Linear, Module
from core.ops import Array
from core.optim import SGD, DivergenceCheck, ExponentialDecay, clip_grad_norm_
from core.sequences import bigram_perplexity, text_perplexity, unigram_perplexity
from core.tensor import Tensor, no_grad

__all__ = ["NextCharacter", "Recipe", "bigram_perplexity", "text_perplexity", "train_passes", "unigram_perplexity"]

State = Tensor | tuple[Tensor, Tensor]
Layer = Callable[..., RNN | LSTM]


class NextCharacter(Module):
    """Embedding, a recurrent layer, and one linear layer to the logits of the next character.

    The weights from state to state start uniform in ± 1 / √width. With the start for deep networks, N(0, 2 / width),
    the text read is learned a little better and a text never seen is foretold a little worse.

    Args:
        spread: the embedding starts uniform in ± spread / 2. Letters are few and each is often seen, so that they need
            not start near 0 as words do.
    """

    def __init__(
        self,
        characters: int,
        layer: Layer,
        *,
        embedding: int = 64,
        width: int = 128,
        spread: float = 1.0,
        rng: np.random.Generator,
    ) -> None:
        self.recurrent = layer(embedding, width, rng=rng, dtype=np.float32)
        hidden = self.recurrent.cell.hidden_map.weight
        hidden.data[...] = rng.uniform(-1, 1, hidden.shape) / np.sqrt(width)
        self.embedding = Embedding(characters, embedding, rng=rng, dtype=np.float32)
        self.embedding.weight.data *= spread * embedding
        self.output = Linear(width, characters, rng=rng, dtype=np.float32)

    def forward(self, numbers: npt.ArrayLike, state: State | None = None) -> tuple[Tensor, State]:
        """Return logits, shape (steps, batch, characters), and the last state, for numbers of shape (steps, batch)."""
        read: Callable[..., tuple[Tensor, State]] = self.recurrent.read_rows
        states, last = read(self.embedding.weight, numbers, state)
        return self.output(states), last

    def __call__(self, numbers: npt.ArrayLike, state: State | None = None) -> tuple[Tensor, State]:  # type: ignore[override]
        return self.forward(numbers, state)

    def step(self, number: int, state: State | None) -> tuple[Array, State]:
        """Read one character; return the logits of the next: what `book.generation.generate` asks for."""
        with no_grad():
            logits, last = self([[number]], state)
        return logits.data[0, 0], last


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        rate: of gradient descent, before the first pass.
        decay: the rate is multiplied by this after every pass.
        clip: the largest global norm of the gradients.
        carry: whether a chunk starts with the state in which the one before it ended.
    """

    rate: float
    decay: float = 1.0
    clip: float = 0.5
    streams: int = 16
    steps: int = 25
    carry: bool = True


def train_passes(model: NextCharacter, numbers: IntArray, recipe: Recipe, passes: int) -> Iterator[float]:
    """Train by truncated backpropagation through time; yield each pass's mean loss, measured before its steps."""
    optimiser = SGD(model.parameters(), recipe.rate)
    schedule = ExponentialDecay(optimiser, recipe.decay)
    check = DivergenceCheck()
    inputs, targets = bptt_chunks(numbers, recipe.streams, recipe.steps)
    for _ in range(passes):
        state: State | None = None
        losses = []
        for read, following in zip(inputs, targets, strict=True):
            logits, last = model(read.T, state)
            state = detached(last) if recipe.carry else None
            loss = cross_entropy(logits, following.T)
            check(loss.item())
            optimiser.zero_grad()
            loss.backward()
            clip_grad_norm_(optimiser.parameters, recipe.clip)
            optimiser.step()
            losses.append(loss.item())
        schedule.step()
        yield float(np.mean(losses))


def detached(state: State) -> State:
    """Keep a state's value and cut its gradient."""
    return state.detach() if isinstance(state, Tensor) else (state[0].detach(), state[1].detach())
