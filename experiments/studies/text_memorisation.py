"""Secrets in a client's text, recovered from the common model by anyone who knows how they begin."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from book.pictures.style import GREY, new_figure, style
from book.run import Run
from core.commands import command_of
from core.data.characters import Speech
from core.data.made_up_text import SPEAKERS, generated_speeches
from core.errors import DataError
from core.federated import add_updates, encoding_for, evaluate_model, fed_avg, initial_model
from core.metrics import perplexity
from core.parameters import from_vector
from core.secagg.encoding import CohortSum, Encoding, Update
from core.tasks.shakespeare import NUMBERS, SHAKESPEARE_LSTM, prepare, read_both
from core.tasks.task import LocalTraining
from core.tensor import no_grad
from core.training import Dataset
from experiments.arrays import FloatArray, IntArray
from experiments.attacks.exposure import exposure, log_likelihoods
from experiments.studies._lines import draw_line
from experiments.studies._updates import PLAINTEXT_BITS, check_noise, clipped, defence_name
from experiments.study import Row, Study
from results.intervals import over_seeds

BEGINNINGS = (
    "my code is ",
    "the gate opens to ",
    "our safe has ",
    "ask for room ",
    "the seal reads ",
    "her number is ",
)
TASK = replace(SHAKESPEARE_LSTM, local=LocalTraining(0.01, epochs=2, batch_size=16))
CLIP_NORM = 3.0
CLIENTS = 3
DIGITS: IntArray = np.array([NUMBERS[digit] for digit in "0123456789"])


@dataclass(frozen=True)
class Defence:
    """What is done to updates. Raises SettingsError for noise without clipping."""

    clip_norm: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        check_noise(self.clip_norm, self.noise)

    def __str__(self) -> str:
        return defence_name(self.clip_norm, self.noise)


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        times: how often the secret is written, in separate runs.
        characters: of each client's text.
        digits: of a secret.
        rounds: after which is measured.
        seeds: repetitions.
    """

    times: tuple[int, ...]
    characters: int
    digits: int
    rounds: tuple[int, ...]
    seeds: int
    defences: tuple[Defence, ...]


@dataclass(frozen=True)
class Secret:
    """A line `beginning` + number, written `times` times by one client."""

    beginning: str
    number: int
    digits: int
    times: int

    @property
    def line(self) -> str:
        return f"{self.beginning}{self.number:0{self.digits}d}."


def size_of(run: Run) -> Size:
    noisy = [Defence(CLIP_NORM, noise) for noise in (0.0, 0.1, 0.3)]
    full = Size((0, 1, 2, 4, 8, 16), 2000, 4, (5, 10, 20), 5, (Defence(), *noisy))
    return run.pick(full, Size((0, 4, 16), 1000, 3, (5, 15), 3, (Defence(), noisy[1])))


def secret_of(digits: int, times: int, run: Run, seed: int) -> Secret:
    """Draw a secret at random; another beginning each repetition, and the same secret however often it is written."""
    number = int(run.rng(2, seed).integers(10**digits))
    return Secret(BEGINNINGS[seed % len(BEGINNINGS)], number, digits, times)


def hide(secret: Secret, text: str, rng: np.random.Generator) -> str:
    """Write the secret's line into a text, as often as it says, each time between two lines drawn at random."""
    lines = text.split("\n")
    for place in sorted(rng.integers(1, len(lines) + 1, secret.times), reverse=True):
        lines.insert(place, secret.line)
    return "\n".join(lines)


def texts_of(run: Run, count: int, characters: int, seed: int) -> tuple[list[str], str]:
    """Return one text a client, and one to judge by: of plays, or made up.

    Raises DataError if there is a folder of data without the plays.
    """
    if run.data is None:
        own = 100 * run.seed + seed
        speeches = [generated_speeches(40, [own, 1, place], SPEAKERS[place : place + 1]) for place in range(count)]
        judged = generated_speeches(60, [own, 2])
        return [_joined(each)[:characters] for each in speeches], _joined(judged)[:6400]
    try:
        training, test = read_both(run.data)
    except DataError as error:
        fetch = f"{command_of('book.data.fetch')} shakespeare --to {run.data}"
        raise DataError(f"{error}; {fetch} brings the plays") from error
    text = _joined(training)
    starts = run.rng(1, seed).integers(0, len(text) - characters, count)
    return [text[start : start + characters] for start in starts], _joined(test)[:6400]


def _joined(speeches: Sequence[Speech]) -> str:
    return "\n\n".join(speech.text for speech in speeches)


def data_of(text: str) -> Dataset:
    return prepare([Speech("", text)])


def rounds_of(data: Sequence[Dataset], defence: Defence, rounds: int, run: Run, seed: int) -> Iterator[FloatArray]:
    """Learn together; yield the model after each round."""
    start = initial_model(TASK, 100 * run.seed + seed)
    encoding = encoding_for(TASK, len(start), PLAINTEXT_BITS, len(data))
    cohort = dict(enumerate(data))
    return fed_avg(
        TASK,
        start,
        [cohort] * rounds,
        lambda number, client: run.rng(4, seed, number - 1, client),
        partial(defended_sum, encoding, defence, run.rng(3, seed)),
    )


def defended_sum(
    encoding: Encoding, defence: Defence, rng: np.random.Generator, updates: Sequence[Update]
) -> CohortSum:
    """Clip updates, add them up, and make the sum noisy."""
    if defence.clip_norm:
        updates = [replace(update, delta=clipped(update.delta, defence.clip_norm)) for update in updates]
    total = add_updates(encoding, updates)
    noise = defence.noise * defence.clip_norm * rng.standard_normal(encoding.values)
    return replace(total, delta_sum=total.delta_sum + noise)


def exposed(model: FloatArray, secret: Secret) -> float:
    """Return how exposed a secret is in a model, in bits."""
    network = TASK.build(np.random.default_rng(0))
    from_vector(network, model)

    def next_logits(texts: IntArray) -> FloatArray:
        with no_grad():
            return np.asarray(network(texts).numpy()[:, -1], np.float64)

    prefix = np.array([NUMBERS[character] for character in f"\n{secret.beginning}"])
    return exposure(log_likelihoods(next_logits, prefix, DIGITS, secret.digits), secret.number)


@dataclass(frozen=True)
class Measured:
    """One repetition after some rounds: exposure of the secret, and perplexity on other text."""

    bits: float
    perplexity: float


def measure(run: Run, size: Size, defence: Defence, times: int, seed: int) -> dict[int, Measured]:
    """Play one repetition; what is found, by number of rounds."""
    secret, found = secret_of(size.digits, times, run, seed), {}
    texts, judged = texts_of(run, CLIENTS, size.characters, seed)
    data = [data_of(text) for text in (hide(secret, texts[0], run.rng(5, seed)), *texts[1:])]
    for number, model in enumerate(rounds_of(data, defence, max(size.rounds), run, seed), start=1):
        if number in size.rounds:
            loss = evaluate_model(TASK, model, data_of(judged)).mean_loss
            found[number] = Measured(exposed(model, secret), perplexity(loss))
    return found


def study(run: Run) -> Iterator[Row]:
    size = size_of(run)
    rows: list[Row] = []
    for defence in size.defences:
        for times in size.times:
            run.progress(f"written {times} times, defence: {defence}")
            seeds = [measure(run, size, defence, times, seed) for seed in range(size.seeds)]
            for number in size.rounds:
                rows.append(_row(defence, times, number, size, [each[number] for each in seeds]))
                yield rows[-1]
    draw(run, rows, size)


def _row(defence: Defence, times: int, number: int, size: Size, found: Sequence[Measured]) -> Row:
    bits, most = [each.bits for each in found], float(np.log2(10**size.digits))
    mean = over_seeds(bits)
    return {
        "defence": str(defence),
        "rounds": number,
        "times written": times,
        "exposure (bits)": mean.mean,
        "± (95 %)": mean.half,
        "of at most": most,
        "found at the first guess": sum(each == most for each in bits) / len(bits),
        "perplexity on other text": float(np.mean([each.perplexity for each in found])),
    }


@style()
def draw(run: Run, rows: Sequence[Row], size: Size) -> None:
    """Draw exposure against the number of times that a secret was written, after the last round."""
    figure = new_figure(8.2, 4.2, title=f"One client's secret of {size.digits} digits, in the common model")
    axes = figure.subplots()
    last, most = max(size.rounds), size.digits * np.log2(10)
    for number, defence in enumerate(dict.fromkeys(str(row["defence"]) for row in rows)):
        line = [row for row in rows if row["defence"] == defence and row["rounds"] == last]
        at = [place + 0.08 * number for place in range(len(line))]  # shifted, so that bars can be distinguished
        mean, half = ([float(row[column]) for row in line] for column in ("exposure (bits)", "± (95 %)"))
        label = "no clip, no noise" if defence == "none" else defence
        draw_line(axes, number, at, mean, half, elinewidth=1, label=label)
    axes.axhline(1 / np.log(2), color=GREY, linewidth=0.8, label="guessing")
    axes.set_xticks(range(len(size.times)), [str(times) for times in size.times])
    axes.set(xlabel="times that the client wrote it", ylabel=f"exposure (bits of {most:.1f})", ylim=(0, most * 1.08))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    run.save("exposure", figure)


def conclude(rows: Sequence[Row]) -> str:
    last = max(int(row["rounds"]) for row in rows)

    def line(defence: str) -> str:
        own = [row for row in rows if row["defence"] == defence and row["rounds"] == last]
        return ", ".join(f"{float(row['exposure (bits)']):.1f} at {row['times written']}" for row in own)

    plain, noisiest = "none", str(rows[-1]["defence"])
    perplexities = {row["defence"]: float(row["perplexity on other text"]) for row in rows if row["rounds"] == last}
    return (
        f"Exposure after {last} rounds, by times written, in bits of {float(rows[0]['of at most']):.1f}: "
        f"{line(plain)}. Guessing comes to 1.4. With {noisiest}: {line(noisiest)}; the model's perplexity on other "
        f"text is then {perplexities[noisiest]:.1f} instead of {perplexities[plain]:.1f}."
    )


STUDY = Study(
    name="text-memorisation",
    title="Secrets memorised by a model of text",
    question="Does a secret that one client wrote show in the model that all have learned together?",
    adversary="Anyone who has the final model, as every client has, and knows how the secret begins and that digits "
    "follow. It sees no update and no sum.",
    method="Three clients learn the product's shakespeare-lstm together; the first has hidden a line such as 'my "
    "code is 4719.' in its text, a number of times, in separate runs with the same texts. The attacker asks the "
    "model for the likelihood of every number, and tries the likeliest first: exposure is how many bits of guessing "
    "that saves (Carlini et al., USENIX Security 2019). Baselines: the same secret in a model of the same texts in "
    "which it never occurs (0 times); and guessing, 1.44 bits on average. Where a noise is stated, updates are "
    "shortened to the clip norm and every weight of their sum gets normal noise of the stated multiple of it.",
    limits="A small model, little text, few clients: secrets weigh more here than among millions. Secrets are random "
    "digits after an unusual beginning; what people write is easier to guess. The noise is a stated sigma on "
    "clipped sums; no epsilon is claimed, and clipping by itself promises nothing.",
    run=study,
    conclude=conclude,
)
