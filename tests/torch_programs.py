"""Random programs, run by this library and by PyTorch side by side: where values, gradients or a step differ.

A program makes a few tensors, applies 2 to 12 operations to them and to one another's results, walks back from some
results, some of them more than once, and lets an optimiser take steps. The same seed and number make the same
program. Both sides may refuse an operation; then it is left out and the program goes on.

What counts as agreement:

- floats agree within rounding. Where float32 does not, the same program is run in float64: ours is right if it comes as
  close to that as PyTorch does, within a factor;
- a refusal of ours agrees with a PyTorch answer that has no numbers in it but NaN: the mean of nothing;
- operations with a kink (relu, max) are applied where both sides stand on the same side of it, and not where rounding
  decides: see `Program.clear`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from core import optim
from core.ops import Array
from core.tensor import Tensor

REFUSALS = (ValueError, TypeError, IndexError, RuntimeError)
LARGEST = 1e3  # results beyond it are compared, but not computed with: their rounding would hide differences
CLEAR = 1e-4  # how far from a kink a number must be, unless both sides have the very same number
ROUNDING = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-8}


class DifferenceError(AssertionError):
    """The two sides differ."""


@dataclass
class Pair:
    """A tensor on both sides.

    Attributes:
        turned: whether theirs is the transpose of ours, as the weights of their linear layers are.
    """

    ours: Tensor
    theirs: torch.Tensor
    name: str
    turned: bool = False

    def same(self, theirs: Array) -> Array:
        """Bring an array of theirs into the shape of ours."""
        return theirs.T if self.turned else theirs


@dataclass
class Compared:
    """Two arrays that should be alike."""

    what: str
    ours: Array
    theirs: Array


class Program:
    """A program in the making: what it consists of so far, on both sides.

    Args:
        decisions: of an earlier run of the same program, to be taken again; None to take them.
        widen: whether every float32 is a float64 instead.
    """

    def __init__(self, seed: int, number: int, decisions: list[bool] | None = None, widen: bool = False) -> None:
        self.rng = np.random.default_rng([seed, number])
        self.lines: list[str] = []
        self.leaves: list[Pair] = []
        self.results: list[Pair] = []
        self.compared: list[Compared] = []
        self.decisions: list[bool] = []
        self.refused = 0
        self.narrow = False  # whether anything is a float32
        self._earlier = iter(decisions) if decisions is not None else None
        self._widen = widen

    # --- Chance ---

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, choices: Sequence[Any]) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def size(self, least: int = 0) -> int:
        return max(least, self.pick((0, 1, 1, 2, 2, 3, 3, 3, 4, 4)))

    def shape(self, dims: int | None = None, least: int = 0) -> tuple[int, ...]:
        dims = self.pick((0, 1, 1, 2, 2, 2, 3, 3)) if dims is None else dims
        return tuple(self.size(least) for _ in range(dims))

    def dtype(self) -> np.dtype[Any]:
        chosen = np.dtype(self.pick((np.float32, np.float64, np.float64)))
        self.narrow |= chosen == np.float32
        return chosen

    def decide(self, decision: bool) -> bool:
        """Take a decision that depends on computed numbers; in a second run, the one of the first."""
        taken = decision if self._earlier is None else next(self._earlier)
        self.decisions.append(bool(taken))
        return bool(taken)

    def one_type(self, *tensors: Pair | Tensor) -> bool:
        """Whether all have the same type, as PyTorch wants it in products, layers and losses."""
        return self.decide(len({getattr(each, "ours", each).dtype for each in tensors}) == 1)

    # --- Tensors ---

    def numbers(self, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> Array:
        """Draw numbers: of any kind, or halves, among which many are equal, whole or 0."""
        if self.chance(0.4):
            return np.asarray(np.clip(self.rng.integers(-4, 5, shape) / 2, low, high))
        return np.asarray(self.rng.uniform(low, high, shape))

    def leaf(self, shape: tuple[int, ...] | None = None, low: float = -2.0, high: float = 2.0) -> Pair:
        """Make a tensor of numbers, in some layout of memory and usually with a gradient."""
        shape = self.shape() if shape is None else shape
        dtype = self.dtype()
        numbers = self.numbers(shape, low, high).astype(dtype)
        if self._widen:
            numbers = numbers.astype(np.float64)
        grad = self.chance(0.85)
        layout = self.pick(("C", "C", "F", "strided"))
        ours = Tensor(numbers, requires_grad=grad)
        ours.data = laid_out(ours.data, layout)
        theirs = torch.tensor(numbers, requires_grad=grad)
        pair = Pair(ours, theirs, f"t{len(self.lines)}")
        self.lines.append(f"{pair.name} = {shape} {dtype} {layout}{' grad' if grad else ''}: {numbers.tolist()}")
        self.leaves.append(pair)
        return pair

    def tensor(self, keep: Callable[[Pair], bool] = lambda _: True) -> Pair:
        """Take a leaf or a result that fits, or make a leaf."""
        fitting = [pair for pair in (*self.leaves, *self.results, *self.results) if not pair.turned and keep(pair)]
        if fitting and self.chance(0.8):
            return self.pick(fitting)
        made = self.leaf()
        return made if keep(made) else self.pick(fitting) if fitting else self.leaf((2, 3))

    def indices(self, shape: tuple[int, ...], size: int, of: Pair | None = None) -> Array:
        """Draw row numbers in any integer type; now and then one that there is not.

        Not of a table without numbers, which PyTorch looks nothing up in, whatever the row.
        """
        numbers = np.asarray(self.rng.integers(0, max(size, 1), shape))
        if numbers.size and self.chance(0.05) and (of is None or of.ours.size):
            numbers.reshape(-1)[0] = self.pick((size, -1))
        kinds = (np.int8, np.int16, np.int32, np.int64) + (np.uint8, np.uint16, np.uint32, np.uint64) * int(
            not numbers.size or numbers.min() >= 0
        )
        return numbers.astype(self.pick(kinds))

    def clear(self, pair: Pair, *kinks: float) -> bool:
        """Whether no number is so near to a kink that rounding decides on which side it lies."""
        ours, theirs = pair.ours.data, pair.theirs.detach().numpy()
        gaps = [np.abs(ours - kink).min(initial=np.inf) for kink in kinks]
        return self.decide(bool(np.array_equal(ours, theirs)) or all(gap > CLEAR for gap in gaps))

    def clear_order(self, pair: Pair) -> bool:
        """Whether no two numbers are so near to each other that rounding decides which is larger."""
        ours, theirs = pair.ours.data, pair.theirs.detach().numpy()
        gap = np.diff(np.sort(ours, axis=None)).min(initial=np.inf)
        return self.decide(bool(np.array_equal(ours, theirs)) or gap > CLEAR)

    # --- Running ---

    def run(self, text: str, ours: Callable[[], Tensor], theirs: Callable[[], torch.Tensor]) -> Pair | None:
        """Apply an operation on both sides and compare; None if both refuse it."""
        self.lines.append(text)
        mine, yours = outcome(ours), outcome(theirs)
        if isinstance(mine, Exception) or isinstance(yours, Exception):
            self._compare_refusals(text, mine, yours)
            return None
        if any(mine is known.ours or yours is known.theirs for known in (*self.leaves, *self.results)):
            mine, yours = mine.reshape(mine.shape), yours.clone()  # the very tensor that came in: a result of its own
        pair = Pair(mine, yours, f"r{len(self.lines)}")
        self.lines[-1] = f"{pair.name} = {text}"
        if mine.requires_grad != yours.requires_grad:
            raise DifferenceError(f"{text}: requires_grad {mine.requires_grad}, theirs {yours.requires_grad}")
        self.compare(f"value of {pair.name} = {text}", mine.data, yours.detach().numpy())
        bounded = bool(np.isfinite(mine.data).all() and np.abs(mine.data).max(initial=0) <= LARGEST)
        if self.decide(bounded) and mine.dtype.kind == "f":
            self.results.append(pair)
        return pair

    def _compare_refusals(self, text: str, mine: Any, yours: Any) -> None:
        self.refused += 1
        if isinstance(mine, Exception) and isinstance(yours, Exception):
            return
        if isinstance(mine, Exception) and not isinstance(yours, Exception) and all_nan(yours):
            return
        raise DifferenceError(f"{text}: ours {summary(mine)}; theirs {summary(yours)}")

    def compare(self, what: str, ours: Array, theirs: Array) -> None:
        """Note two arrays that should be alike; their shapes and types must be the same already."""
        ours = np.asarray(ours)
        if ours.shape != theirs.shape or (ours.dtype != theirs.dtype and ours.dtype.kind == "f"):
            raise DifferenceError(f"{what}: shape {ours.shape} {ours.dtype}, theirs {theirs.shape} {theirs.dtype}")
        self.compared.append(Compared(what, np.array(ours), np.array(theirs)))

    def walk_back(self) -> None:
        """Walk back from a few results, some more than once, and compare the gradients of all leaves."""
        ends = [pair for pair in self.results if pair.ours.requires_grad]
        if not ends:
            return
        kept = [pair for pair in ends if self.chance(0.2)]
        for pair in kept:
            pair.ours.retain_grad()
            pair.theirs.retain_grad()
        for _ in range(self.pick((1, 1, 2, 3))):
            pair = self.pick(ends[-4:])
            weights = self.numbers(pair.ours.shape).astype(pair.ours.dtype)
            self.lines.append(f"{pair.name}.backward({weights.tolist()})")
            pair.ours.backward(weights, retain_graph=True)
            pair.theirs.backward(torch.tensor(weights), retain_graph=True)
        for pair in kept:
            if pair.theirs.grad is not None:
                self.compare(f"gradient kept of {pair.name}", pair.ours.grad, pair.theirs.grad.numpy())
        for pair in self.leaves:
            self._compare_gradient(pair)

    def _compare_gradient(self, pair: Pair) -> None:
        """Compare without reading `.grad`, which would make an array of gradients that are kept as rows."""
        rows = pair.ours.row_gradients
        mine = sum(part.dense() for part in rows).astype(pair.ours.dtype) if rows else pair.ours.grad
        yours = pair.theirs.grad
        if (mine is None) != (yours is None):
            raise DifferenceError(f"gradient of {pair.name}: ours {summary(mine)}; theirs {summary(yours)}")
        if yours is not None:
            self.compare(f"gradient of {pair.name}", mine, pair.same(yours.numpy()))

    def step(self) -> None:
        """Let an optimiser take one to three steps with the gradients that are there."""
        learning = [pair for pair in self.leaves if pair.ours.requires_grad and pair.theirs.grad is not None]
        if not learning or not self.decide(all(np.isfinite(pair.theirs.grad).all() for pair in learning)):
            return
        name, settings = self.pick(OPTIMISERS)
        self.lines.append(f"{name}({', '.join(pair.name for pair in learning)}; {settings})")
        if name == "Adam":  # it divides a gradient by its size: of rounding around 0 it would make whole steps
            for pair in learning:
                pair.theirs.grad = torch.tensor(dense(pair))
        mine = getattr(optim, name)([pair.ours for pair in learning], **settings)
        yours = getattr(torch.optim, name)([pair.theirs for pair in learning], **settings)
        if self.chance(0.2):
            self._clip(learning)
        for _ in range(self.pick((1, 1, 2, 3))):
            mine.step()
            yours.step()
        for pair in learning:
            self.compare(f"{pair.name} after {name}", pair.ours.data, pair.same(pair.theirs.detach().numpy()))

    def _clip(self, learning: list[Pair]) -> None:
        limit = self.pick((0.5, 2.0, 50.0))
        self.lines.append(f"gradients clipped to {limit}")
        norm = optim.clip_grad_norm_([pair.ours for pair in learning], limit)
        if self.decide(norm > limit):  # they divide by the norm and 1e-6 more
            torch.nn.utils.clip_grad_norm_([pair.theirs for pair in learning], limit * (1 + 1e-6 / norm))


OPTIMISERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.5, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1}),
    ("Adam", {"lr": 0.01, "betas": (0.5, 0.9), "eps": 1e-6, "weight_decay": 0.2}),
]


def outcome(side: Callable[[], Any]) -> Any:
    """What a side answers, or what it refuses with."""
    try:
        return side()
    except REFUSALS as refusal:
        return refusal


def laid_out(array: Array, layout: str) -> Array:
    """The same numbers in another order of memory."""
    if layout == "F" and array.ndim:
        return np.asfortranarray(array)
    if layout == "strided" and array.ndim:
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1]), 77.0, array.dtype)
        wide[..., ::2] = array
        return wide[..., ::2]
    return array


def dense(pair: Pair) -> Array:
    """The gradient of ours as an array, in the shape of theirs, leaving rows as they are."""
    rows = pair.ours.row_gradients
    mine = sum(part.dense() for part in rows).astype(pair.ours.dtype) if rows else pair.ours.grad
    return np.array(pair.same(mine))


def all_nan(answer: torch.Tensor) -> bool:
    numbers = answer.detach().numpy()
    return bool(numbers.size and np.isnan(numbers).all())


def summary(answer: Any) -> str:
    if isinstance(answer, Exception):
        return f"refuses ({type(answer).__name__}: {str(answer).splitlines()[0][:150]})"
    if answer is None:
        return "none"
    return f"gives {tuple(answer.shape)} {answer.dtype}"


# --- Differences ---


def difference(seed: int, number: int, operations: Sequence[Callable[[Program], None]]) -> str | None:
    """Run a program on both sides; say where they differ and what the program was, or None."""
    program = Program(seed, number)
    try:
        play(program, operations)
        suspects = [each for each in program.compared if not close(each)]
        if suspects:
            confirm(suspects[0], program, seed, number, operations)
    except DifferenceError as found:
        return "\n".join([f"program {number} of seed {seed}: {found}", *program.lines])
    return None


def play(program: Program, operations: Sequence[Callable[[Program], None]]) -> None:
    with np.errstate(all="ignore"):
        for _ in range(program.pick((1, 2, 3))):
            program.leaf()
        for _ in range(int(program.rng.integers(2, 13))):
            program.pick(operations)(program)
        program.walk_back()
        program.step()


def close(pair: Compared) -> bool:
    """Whether two arrays are alike within rounding, measured by their largest number."""
    if pair.ours.dtype.kind != "f":
        return bool(np.array_equal(pair.ours, pair.theirs))
    finite = np.abs(pair.theirs[np.isfinite(pair.theirs)])
    rounding = ROUNDING[pair.ours.dtype] * max(1.0, float(finite.max(initial=0)))
    return bool(np.allclose(pair.ours, pair.theirs, rtol=0, atol=rounding, equal_nan=True))


def confirm(
    suspect: Compared, program: Program, seed: int, number: int, operations: Sequence[Callable[[Program], None]]
) -> None:
    """Raise DifferenceError unless the program in float64 says that ours is as right as theirs."""
    wide = Program(seed, number, program.decisions, widen=True)
    play(wide, operations)
    place = next(place for place, each in enumerate(program.compared) if each is suspect)
    right = wide.compared[place]
    finite = np.isfinite(right.theirs)
    alike_elsewhere = np.array_equal(suspect.ours[~finite], suspect.theirs[~finite], equal_nan=True)
    if program.narrow and close(right) and alike_elsewhere:
        exact = right.theirs[finite]
        mine, yours = (np.abs(side[finite] - exact).max(initial=0) for side in (suspect.ours, suspect.theirs))
        if mine <= 100 * (yours + 1e-7 * max(1.0, float(np.abs(exact).max(initial=0)))):
            return
    raise DifferenceError(f"{suspect.what}:\nours   {suspect.ours.tolist()}\ntheirs {suspect.theirs.tolist()}")
