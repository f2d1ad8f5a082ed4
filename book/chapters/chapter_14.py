"""Chapter 14: learning to write, letter by letter. Gradients through time, and the LSTM that keeps them alive."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from book.chapters.character_models import (
    NextCharacter,
    Recipe,
    bigram_perplexity,
    text_perplexity,
    train_passes,
    unigram_perplexity,
)
from book.chapters.small_networks import exact_all
from book.finding import Finding, at_least, at_most, exact, shown
from book.generation import Choose, generate, greedy, sampler
from book.run import Chapter, Run
from core.data.characters import CharacterVocabulary, IntArray, bptt_chunks, read_characters
from core.data.made_up_text import generated_speeches
from core.metrics import perplexity
from core.nn import LSTM, RNN
from core.ops import Array
from core.tensor import Tensor

HELD_OUT = 10_000
VALIDATION = 5_000
PASSES = 10
# Both were chosen by what they foretell of the 5,000 characters before the held-out ones; so were the starts.
LSTM_RECIPE = Recipe(4.0, decay=0.9)
RNN_RECIPE = Recipe(1.5, decay=0.75, clip=2.0)
PROMPT = "The "


@dataclass(frozen=True)
class Text:
    """A text as numbers, and the part of it that is kept for the last question only."""

    vocabulary: CharacterVocabulary
    numbers: IntArray
    held_out: int

    @property
    def training(self) -> IntArray:
        return self.numbers[: -self.held_out]

    @property
    def test(self) -> IntArray:
        return self.numbers[-self.held_out :]


def run(run: Run) -> Iterator[Finding]:
    yield from gradients_through_ten_steps()
    yield from chunks_of_a_long_text()
    yield from knowing_nothing(run)
    text = load(run)
    yield from counting(text)
    yield from what_helps(run, text)
    models, curves = {}, {}
    for name in ("LSTM", "RNN"):
        models[name] = build(run, name, text)
        curves[name] = yield from learn_to_foretell(run, name, models[name], text)
    draw(run, curves, bigram_perplexity(text.numbers))
    yield from gradients_of_trained_networks(run, models, text)
    yield from write(run, models["LSTM"], text)


def load(run: Run) -> Text:
    """Read the text, or make one up."""
    if run.data is None:
        run.say("a play made up by the project, not the book's text")
        characters = "\n\n".join(speech.text for speech in generated_speeches(run.pick(500, 60), run.seed))
    else:
        characters = read_characters(run.data / "shakespear.txt")
    held_out = run.pick(HELD_OUT, 1_000)
    vocabulary = CharacterVocabulary(characters[:-held_out])
    numbers = vocabulary.encode(characters)[: run.pick(None, 8_000)]
    return Text(vocabulary, numbers, held_out)


# --- Gradients that vanish and explode ---


def gradients_through_ten_steps() -> Iterator[Finding]:
    """What is left of a gradient after ten steps through the same weights?"""
    last, gradients = state_gradients("sigmoid")
    yield exact("sigmoid, ten steps: where the state settles", float(last[0]), 0.99307291, ".8f")
    yield shown("gradient one step back", gradients[0], ".4f", "0.0344")
    yield at_most("gradient ten steps back: it vanished", gradients[-1], 1.6e-14, ".2g", "1.5e-14", anywhere=True)
    most = max(b / a for a, b in pairwise(gradients))
    yield shown("of each gradient the next one keeps, at most", most, ".0%")
    _, gradients = state_gradients("relu")
    yield from exact_all("relu: gradient by steps back", gradients, [5.0**n for n in range(1, 11)], ".0f")


def state_gradients(activation: str) -> tuple[Array, list[float]]:
    """Return the last of ten states, and the first entry of the gradient at each before it, the latest first."""
    states = [Tensor([1.0, 0.01], requires_grad=True).sigmoid()]
    for _ in range(10):
        states[-1].retain_grad()
        states.append(getattr(states[-1] @ np.array([[1.0, 4.0], [4.0, 1.0]]), activation)())
    states[-1].backward(np.ones(2))
    return states[-1].data, [float(state.grad[0]) for state in reversed(states[:-1]) if state.grad is not None]


def chunks_of_a_long_text() -> Iterator[Finding]:
    """Into how many chunks do 99,993 characters fall? They are one long graph otherwise."""
    text = np.zeros(99_993, np.int64)
    for streams, steps, book in ((32, 16, 195), (16, 25, 249)):
        yield exact(f"{streams} streams of {steps} steps: chunks", len(bptt_chunks(text, streams, steps)[0]), book)


# --- What is there to beat ---


def knowing_nothing(run: Run) -> Iterator[Finding]:
    """How perplexed is a network that says the same of all 62 characters?"""
    model = NextCharacter(62, LSTM, embedding=8, width=8, rng=run.rng(0))
    model.output.weight.data[...] = 0
    found = text_perplexity(model, run.rng(1).integers(0, 62, 1_000))
    yield exact("output weights 0, 62 characters: perplexity", found, 62, ".6g")


def counting(text: Text) -> Iterator[Finding]:
    """What can tables of counts do, of the text they were counted on?"""
    yield shown("perplexity of a table of characters", unigram_perplexity(text.numbers), ".2f", "26.27")
    yield shown("perplexity of a table of pairs", bigram_perplexity(text.numbers), ".2f", "11.37")


def what_helps(run: Run, text: Text) -> Iterator[Finding]:
    """Which choices matter? All are judged on the end of the training part, never on the held-out one."""
    kept = run.pick(VALIDATION, 500)
    training, validation = text.training[:-kept], text.training[-kept:]
    ways = {
        "the recipe below": (LSTM_RECIPE, 1.0),
        "the rate stays as it is": (replace(LSTM_RECIPE, decay=1.0), 1.0),
        "the rate falls by 1 % a pass": (replace(LSTM_RECIPE, decay=0.99), 1.0),
        "every chunk starts at 0": (replace(LSTM_RECIPE, carry=False), 1.0),
        "letters start near 0, as words do": (LSTM_RECIPE, 1 / 64),
    }
    for name, (recipe, spread) in ways.items():
        model = build(run, "LSTM", text, spread)
        for number, _ in enumerate(train_passes(model, training, recipe, passes_of(run)), start=1):
            run.progress(f"{name}: pass {number}")
        learned, judged = text_perplexity(model, training, 16), text_perplexity(model, validation)
        yield shown(f"LSTM, {name}: perplexity training / validation", f"{learned:.2f} / {judged:.2f}")


# --- Learning ---


def build(run: Run, name: str, text: Text, spread: float = 1.0) -> NextCharacter:
    """Make an LSTM or an RNN, before it learns."""
    layer = LSTM if name == "LSTM" else RNN
    size = text.vocabulary.size
    embedding, width = run.pick((64, 128), (16, 32))
    return NextCharacter(size, layer, embedding=embedding, width=width, spread=spread, rng=run.rng(2))


def passes_of(run: Run) -> int:
    return run.pick(PASSES, 3)


GOALS = {"LSTM": (4.34, 5.65), "RNN": (5.15, 6.14)}
BOOK = {"LSTM": "9.900 (512 wide, 91 passes)", "RNN": "1.053 (last of 16 positions only)"}


def learn_to_foretell(run: Run, name: str, model: NextCharacter, text: Text) -> Generator[Finding, None, list[float]]:
    """How well is each next character foretold, in the text read and in one never seen?

    Return the mean perplexity during each pass.
    """
    recipe = LSTM_RECIPE if name == "LSTM" else RNN_RECIPE
    while_learning = []
    for number, loss in enumerate(train_passes(model, text.training, recipe, passes_of(run)), start=1):
        while_learning.append(perplexity(loss))
        run.progress(f"{name}: pass {number} of {passes_of(run)}, perplexity {while_learning[-1]:.2f}")
    training, held_out = GOALS[name]
    yield shown(f"{name}: mean training perplexity during the last pass", while_learning[-1], ".2f")
    yield at_most(
        f"{name}: training perplexity after it", text_perplexity(model, text.training, 16), training, book=BOOK[name]
    )
    yield at_most(f"{name}: held-out perplexity", text_perplexity(model, text.test), held_out)
    return while_learning


def draw(run: Run, perplexities: dict[str, list[float]], pairs: float) -> None:
    """Draw how fast the two networks learn."""
    from book.pictures.curves import curves

    series = perplexities | {"table of pairs": [pairs] * passes_of(run)}
    run.save("learning", curves(series, "pass over the text", "mean perplexity during the pass (choices)"))


def gradients_of_trained_networks(run: Run, models: dict[str, NextCharacter], text: Text) -> Iterator[Finding]:
    """How much does the last state feel of what was read 5, 10 and 20 characters before?"""
    from book.pictures.gradients import gradient_norms, input_gradient_norms

    read = bptt_chunks(text.test, 32, 25)[0][0].T
    norms = {}
    for name, model in models.items():
        norms[name] = input_gradient_norms(model.recurrent.cell, model.embedding.weight.data[read])
        left = " / ".join(f"{norms[name][-1 - back] / norms[name][-1]:.1e}" for back in (5, 10, 20))
        yield shown(f"{name}: gradient 5 / 10 / 20 characters back, as a share of the last one's", left)
    run.save("gradient-norms", gradient_norms(norms, title="What the last state feels of each character read"))


# --- Writing ---


def write(run: Run, model: NextCharacter, text: Text) -> Iterator[Finding]:
    """What does it write when it reads its own choices: always the likeliest, or drawn?"""
    length = run.pick(120, 40)

    def written(choose: Choose) -> str:
        return text.vocabulary.decode(generate(model.step, text.vocabulary.encode(prompt).tolist(), length, choose))

    prompt = PROMPT if set(PROMPT) <= set(text.vocabulary.characters) else text.vocabulary.characters[-1]
    likeliest = written(greedy)
    yield shown(f"after {prompt!r}, always the likeliest", repr(likeliest))
    for temperature in (0.3, 0.7, 1.0):
        yield shown(f"drawn at temperature {temperature}", repr(written(sampler(run.rng(3), temperature))))
    again = [written(sampler(run.rng(3))) for _ in range(2)]
    yield at_least("two texts of one seed: equal characters", _alike(*again), 1.0, ".0%", anywhere=True)
    yield shown("of two seeds", _alike(again[0], written(sampler(run.rng(4)))), ".0%")
    cold = _alike(likeliest, written(sampler(run.rng(3), 1e-9)))
    yield at_least("temperature near 0 and always the likeliest: equal", cold, 1.0, ".0%", anywhere=True)


def _alike(first: str, second: str) -> float:
    return sum(a == b for a, b in zip(first, second, strict=True)) / len(first)


CHAPTER = Chapter(14, "writing letter by letter: gradients through time, and the LSTM", run)
