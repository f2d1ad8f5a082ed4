"""Changes of shape, and look-ups, as parts of random programs: see torch_programs.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch_operations import axis, text_of
from torch_programs import Pair, Program

from core.tensor import Tensor, concatenate, embedding_bag, stack

# --- Shapes ---


def reshape(p: Program) -> None:
    name, tensor = p.pick(("reshape", "view")), p.tensor()
    if name == "view" and not tensor.theirs.is_contiguous():
        name = "reshape"
    sizes = list(p.rng.permutation([size for size in tensor.ours.shape if size != 1]).tolist())
    sizes += [1] * p.pick((0, 0, 1))
    if p.chance(0.3):
        sizes = [int(np.prod(sizes))]
    if sizes and p.chance(0.3):
        sizes[int(p.rng.integers(len(sizes)))] = -1
    if p.chance(0.03):
        sizes.append(7)
    p.run(
        f"{tensor.name}.{name}({sizes})",
        lambda: getattr(tensor.ours, name)(tuple(sizes)) if len(sizes) != 2 else getattr(tensor.ours, name)(*sizes),
        lambda: getattr(tensor.theirs, name)(tuple(sizes)),
    )


def permute_or_transpose(p: Program) -> None:
    tensor = p.tensor()
    ndim = tensor.ours.ndim
    if p.chance(0.5):
        order = p.rng.permutation(ndim).tolist()
        order = [each - ndim for each in order] if p.chance(0.3) else order
        p.run(
            f"{tensor.name}.permute({order})",
            lambda: tensor.ours.permute(*order) if order else tensor.ours.permute(()),
            lambda: tensor.theirs.permute(order),
        )
    elif ndim == 2 and p.chance(0.5):
        p.run(f"{tensor.name}.T", lambda: tensor.ours.T, lambda: tensor.theirs.T)
    else:
        a, b = axis(p, ndim), axis(p, ndim)
        p.run(
            f"{tensor.name}.transpose({a}, {b})",
            lambda: tensor.ours.transpose(a, b),
            lambda: tensor.theirs.transpose(a, b),
        )


def squeeze_or_unsqueeze(p: Program) -> None:
    tensor = p.tensor()
    along = axis(p, tensor.ours.ndim)
    kind = p.pick(("squeeze", "squeeze all", "unsqueeze"))
    if kind == "squeeze all":
        p.run(f"{tensor.name}.squeeze()", lambda: tensor.ours.squeeze(), lambda: tensor.theirs.squeeze())
    else:
        p.run(
            f"{tensor.name}.{kind}({along})",
            lambda: getattr(tensor.ours, kind)(dim=along),
            lambda: getattr(tensor.theirs, kind)(along),
        )


def expand(p: Program) -> None:
    tensor, name = p.tensor(), p.pick(("expand", "broadcast_to"))
    wanted = [p.size() if size == 1 and p.chance(0.6) else size for size in tensor.ours.shape]
    if p.chance(0.3):
        wanted = [p.size(), *wanted]
    elif name == "expand":
        wanted = [-1 if p.chance(0.2) else size for size in wanted]
    if wanted and p.chance(0.03):
        wanted[-1] = 9
    p.run(
        f"{tensor.name}.{name}({wanted})",
        lambda: getattr(tensor.ours, name)(tuple(wanted)),
        lambda: getattr(tensor.theirs, name)(tuple(wanted)),
    )


def stack_copies(p: Program) -> None:
    tensor, copies = p.tensor(), p.size()
    along = int(p.rng.integers(tensor.ours.ndim + 1))
    if copies:
        p.run(
            f"{tensor.name}.stack_copies({along}, {copies})",
            lambda: tensor.ours.stack_copies(along, copies),
            lambda: torch.stack([tensor.theirs] * copies, along),
        )


def join(p: Program) -> None:
    first = p.tensor(lambda each: each.ours.ndim > 0)
    shape = first.ours.shape
    along = axis(p, len(shape))
    parts = [first] + [p.tensor(lambda each: each.ours.shape == shape) for _ in range(p.pick((0, 1, 2)))]
    if len({part.ours.ndim for part in parts}) > 1 or shape == (0,):
        return  # PyTorch leaves out an empty vector among matrices, which is nothing to imitate
    names = ", ".join(part.name for part in parts)
    mine, yours = [part.ours for part in parts], [part.theirs for part in parts]
    if p.chance(0.5):
        p.run(f"concatenate([{names}], {along})", lambda: concatenate(mine, along), lambda: torch.cat(yours, along))
    else:
        p.run(f"stack([{names}], {along})", lambda: stack(mine, dim=along), lambda: torch.stack(yours, along))


# --- Indices ---


def subscript(p: Program) -> None:
    tensor = p.tensor(lambda each: each.ours.ndim > 0)
    index: list[Any] = []
    for size in tensor.ours.shape:
        kind = p.pick(("all", "all", "slice", "number", "new"))
        if kind == "slice":
            index.append(slice(p.pick((None, 0, 1, -2)), p.pick((None, 2, -1, 3)), p.pick((None, 1, 2))))
        elif kind == "number" and size:
            index.append(int(p.rng.integers(-size, size)) if p.chance(0.97) else size)
        else:
            index += [None] * (kind == "new") + [slice(None)]
    if p.chance(0.2) and index:
        index = [..., *index[1:]][: p.pick((1, 2, 3))]
    chosen = tuple(index) if len(index) != 1 or p.chance(0.5) else index[0]
    p.run(f"{tensor.name}[{chosen}]", lambda: tensor.ours[chosen], lambda: tensor.theirs[chosen])


def subscript_by_arrays(p: Program) -> None:
    tensor = p.tensor(lambda each: each.ours.ndim > 0)
    if not tensor.ours.ndim:
        return
    if p.chance(0.3):
        mask = np.asarray(p.rng.random(tensor.ours.shape[: p.pick((1, tensor.ours.ndim))]) < 0.5)
        p.run(f"{tensor.name}[{text_of(mask)}]", lambda: tensor.ours[mask], lambda: tensor.theirs[torch.tensor(mask)])
        return
    if not all(tensor.ours.shape[:2]):
        return
    rows = p.indices(p.shape(p.pick((1, 1, 2))), len(tensor.ours), tensor)
    twin = torch.tensor(rows.astype(np.int64))
    if tensor.ours.ndim > 1 and p.chance(0.4):
        columns = p.indices(rows.shape, tensor.ours.shape[1], tensor)
        other = torch.tensor(columns.astype(np.int64))
        p.run(
            f"{tensor.name}[{text_of(rows)}, {text_of(columns)}]",
            lambda: tensor.ours[rows, columns],
            lambda: tensor.theirs[twin, other],
        )
    else:
        index = Tensor(rows) if p.chance(0.3) else rows
        p.run(f"{tensor.name}[{text_of(rows)}]", lambda: tensor.ours[index], lambda: tensor.theirs[twin])


def look_up(p: Program) -> None:
    """Rows by number, of leaves mostly: their gradients are kept as rows."""
    rows = (p.pick((1, 3, 8, 40)), *p.shape(p.pick((0, 1, 1, 1, 2))))
    table = p.leaf(rows) if p.chance(0.6) else p.tensor(lambda each: each.ours.ndim > 0)
    for _ in range(p.pick((1, 1, 2)) * (table.ours.ndim > 0)):
        look_up_in(p, table)


def look_up_in(p: Program, table: Pair) -> None:
    rows = p.indices(p.shape(p.pick((0, 1, 1, 2))), len(table.ours))
    twin = torch.tensor(rows.astype(np.int64))
    p.run(
        f"{table.name}.index_select({text_of(rows)})",
        lambda: table.ours.index_select(rows),
        lambda: chosen(table.theirs, twin),
    )


def chosen(table: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    if rows.numel() and (rows.min() < 0 or rows.max() >= len(table)):
        raise IndexError("no such row")
    return table.index_select(0, rows.reshape(-1)).reshape((*rows.shape, *table.shape[1:]))


def choose_along(p: Program) -> None:
    tensor = p.tensor(lambda each: each.ours.ndim > 0)
    if not tensor.ours.ndim:
        return
    along = int(p.rng.integers(-tensor.ours.ndim, tensor.ours.ndim))
    places = p.indices((p.size(),), tensor.ours.shape[along], tensor)
    p.run(
        f"{tensor.name}.index_select({along}, {text_of(places)})",
        lambda: tensor.ours.index_select(along, places),
        lambda: tensor.theirs.index_select(along, torch.tensor(places.astype(np.int64))),
    )


def bags_of_rows(p: Program) -> None:
    table = p.leaf((p.pick((2, 5, 40)), p.pick((1, 2, 3, 16, 20))))
    bags = p.size(1)
    sizes = p.rng.integers(0, p.pick((3, 40)), bags)
    rows = p.indices((int(sizes.sum()),), len(table.ours))
    offsets = (np.cumsum(sizes) - sizes).astype(p.pick((np.int64, np.int32, np.int16, np.uint16)))
    weights = p.leaf(rows.shape) if p.chance(0.4) else None
    if weights is not None and not p.one_type(weights, table):
        return
    mine, yours = (None, None) if weights is None else (weights.ours, weights.theirs)
    numbers, starts = torch.tensor(rows.astype(np.int64)), torch.tensor(offsets.astype(np.int64))
    if rows.size and (rows.min() < 0 or rows.max() >= len(table.ours)):
        return  # PyTorch reads past the table's end
    p.run(
        f"embedding_bag({table.name}, {text_of(rows)}, {text_of(offsets)}, {weights and weights.name})",
        lambda: embedding_bag(table.ours, rows, offsets, mine),
        lambda: torch.nn.functional.embedding_bag(numbers, table.theirs, starts, mode="sum", per_sample_weights=yours),
    )


SHAPES_AND_INDICES = [
    reshape, permute_or_transpose, squeeze_or_unsqueeze, expand, stack_copies, join, subscript,
    subscript_by_arrays, look_up, look_up, choose_along, bags_of_rows,
]  # fmt: skip
