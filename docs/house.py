"""Draw docs/house.svg: which folder may import which, from the imports that there are.

    python -m docs.house             draw it
    python -m docs.house --check     exit 1 if it is not as it would be drawn

Boxes are placed by hand; arrows are computed. An arrow that other arrows lead along is left out.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent
PICTURE = ROOT / "docs" / "house.svg"
WIDTH, HEIGHT = 900, 840


@dataclass(frozen=True)
class Box:
    """A box of the picture: what it stands for, and where its middle is.

    Attributes:
        title: shown in bold.
        lines: below it.
        modules: packages and modules that it stands for.
    """

    title: str
    lines: tuple[str, ...]
    modules: tuple[str, ...]
    x: int
    y: int
    width: int = 200
    kind: str = "party"

    @property
    def height(self) -> int:
        return 30 + 18 * len(self.lines)

    @property
    def top(self) -> int:
        return self.y - self.height // 2

    @property
    def bottom(self) -> int:
        return self.top + self.height

    def holds(self, module: str) -> bool:
        """Whether it stands for a module."""
        return any(module == name or module.startswith(f"{name}.") for name in self.modules)


def _core(title: str, lines: tuple[str, ...], names: str, x: int, y: int, width: int) -> Box:
    return Box(title, lines, tuple(f"core.{name}" for name in names.split()), x, y, width, "part")


HOUSE = (
    Box("experiments/", ("studies, and their attacks",), ("experiments",), 215, 40, kind="user"),
    Box("benchmarks/", ("speed, compared",), ("benchmarks",), 450, 40, kind="user"),
    Box("book/", ("chapters, pictures, notebooks",), ("book",), 332, 130, 225, kind="user"),
    Box("faults/", ("faults, played and judged",), ("faults",), 600, 130, kind="user"),
    Box("simulation/", ("all parties, on one machine or in one process",), ("simulation",), 450, 220, 370, kind="user"),
    Box("client/", ("one data owner;", "cannot decrypt"), ("client",), 130, 325, 190),
    Box("server/", ("the aggregator;", "cannot decrypt"), ("server",), 343, 325, 190),
    Box("keyholder/", ("shares of round keys;", "cannot make keys"), ("keyholder",), 557, 325, 190),
    Box("registrar/", ("enrols members,", "deals keys; offline"), ("registrar",), 770, 325, 190),
    Box("core/", (), ("core",), 450, 440, 860, "core"),
)
CORE_TOP, CORE_BOTTOM = 425, 822
CORE = (
    _core("checks, policy", ("what several parties check,", "each demands, and enrols by"),
          "checks answers protected_update round_sums task_checks difference policy who_reads enrolling share_files "
          "settings.common settings.command_line settings.policy_file",
          450, 500, 240),
    _core("federated", ("fed_avg: where learning", "and protecting meet"), "federated scaffold", 250, 595, 240),
    _core("wire, protocol", ("messages, calls, streams;", "strict conversion"), "wire protocol", 650, 595, 240),
    _core("learning", ("tensor, ops, nn, losses, optim,", "training, data, tasks"),
          "tensor graph ops rows indices nn losses optim metrics parameters training data tasks readable sequences",
          165, 695, 250),
    _core("protecting", ("secagg: encoding, Paillier;", "bounds: proofs; privacy: noise"),
          "secagg bounds privacy proven_bounds robust", 450, 695, 250),
    _core("identity", ("certificates, roster,", "signatures, key files"), "identity", 735, 695, 250),
    _core("errors, limits, clock, settings, console, database", (),
          "errors limits hashing clock confusion randomness threads one_thread heap quiet_interrupts settings console "
          "commands program database finite_json new_paths wording plain_characters local_settings server_rules "
          "task_identity update",
          450, 786, 820),
)  # fmt: skip

Arrow = tuple[Box, Box]


# ------------------------------------------------------------------------------------------------ what imports what


def imports() -> dict[str, set[str]]:
    """Return what each module imports itself, within the project; notebooks are read as what they are, scripts."""
    packages = [box.modules[0] for box in HOUSE]
    graph = grimp.build_graph(*packages, cache_dir=None)
    found = {module: set(graph.find_modules_directly_imported_by(module)) for module in graph.modules}
    for notebook in sorted((ROOT / "book" / "notebooks").glob("*.py")):
        found[f"book.notebooks.{notebook.stem}"] = set(_imported(notebook))
    return found


def _imported(script: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(script.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def arrows(boxes: tuple[Box, ...], found: Mapping[str, set[str]]) -> list[Arrow]:
    """Return which boxes import which, without what follows from others. Raises ValueError if one goes up."""
    direct: dict[Box, set[Box]] = {box: set() for box in boxes}
    for module, targets in found.items():
        for target in targets:
            pair = [box for name in (module, target) for box in boxes if box.holds(name)]
            if len(pair) == 2 and pair[0] is not pair[1]:
                _check_below(module, target, *pair)
                direct[pair[0]].add(pair[1])
    return [
        (box, target)
        for box, targets in direct.items()
        for target in sorted(targets, key=boxes.index)
        if not any(target in _reached(direct, other) for other in targets)
    ]


def _check_below(module: str, target: str, box: Box, lower: Box) -> None:
    if lower.y <= box.y:
        raise ValueError(f"{module} imports {target}, but {lower.title} is not below {box.title}")


def _reached(direct: Mapping[Box, set[Box]], start: Box) -> set[Box]:
    seen: set[Box] = set()
    waiting = [*direct[start]]
    while waiting:
        box = waiting.pop()
        if box not in seen:
            seen.add(box)
            waiting += direct[box]
    return seen


def unplaced(found: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of core that no box stands for."""
    modules = [module for module in found if module.startswith("core.")]
    return sorted(module for module in modules if not any(box.holds(module) for box in CORE))


# ------------------------------------------------------------------------------------------------ the picture

STYLE = """
    text { font-family: Helvetica, Arial, "DejaVu Sans", sans-serif; font-size: 14px; fill: #222; text-anchor: middle }
    .title { font-weight: bold; font-size: 15px }
    .page { fill: #fff } .arrow { stroke: #555; stroke-width: 1.6; fill: none } .tip { fill: #555 }
    .user { fill: #f3f3f3; stroke: #888 } .party { fill: #eaf3fb; stroke: #0072b2 }
    .core { fill: #fdf8ee; stroke: #e69f00 } .part { fill: #fdefd3; stroke: #e69f00 }
    rect { stroke-width: 1.5 }
    @media (prefers-color-scheme: dark) {
      text { fill: #e8e8e8 } .page { fill: #0d1117 } .arrow { stroke: #aaa } .tip { fill: #aaa }
      .user { fill: #23272e; stroke: #888 } .party { fill: #10293d; stroke: #56b4e9 }
      .core { fill: #1c1811; stroke: #e69f00 } .part { fill: #3a2d12; stroke: #e69f00 }
    }
"""


def picture(found: Mapping[str, set[str]]) -> str:
    """Return the picture as SVG. Raises ValueError if a module of core has no place in it, or an arrow goes up."""
    if missing := unplaced(found):
        raise ValueError(f"{', '.join(missing)} stands in no box; give it a place in CORE")
    drawn = [*_lines(arrows(HOUSE, found)), *_lines(arrows(CORE, found))]
    shapes = [*map(_shape, HOUSE), *map(_shape, CORE), *drawn]
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        "  <title>Which folder of grokfed may import which</title>",
        f"  <style>{STYLE}  </style>",
        '  <defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path class="tip" d="M0 0 10 5 0 10z"/></marker></defs>',
        f'  <rect class="page" width="{WIDTH}" height="{HEIGHT}"/>',
        *(f"  {shape}" for shape in shapes),
        "</svg>\n",
    ])  # fmt: skip


def _shape(box: Box) -> str:
    core = box.kind == "core"
    top, height = (CORE_TOP, CORE_BOTTOM - CORE_TOP) if core else (box.top, box.height)
    left, baseline = box.x - box.width // 2, top + (24 if core else 21)
    x = left + 40 if core else box.x
    texts = [f'<text class="title" x="{x}" y="{baseline}">{escape(box.title)}</text>']
    texts += [f'<text x="{x}" y="{baseline + 18 * n}">{escape(line)}</text>' for n, line in enumerate(box.lines, 1)]
    rect = f'<rect class="{box.kind}" x="{left}" y="{top}" width="{box.width}" height="{height}" rx="8"/>'
    return "".join([rect, *texts])


def _lines(drawn: list[Arrow]) -> Iterator[str]:
    for source, target in drawn:
        end = CORE_TOP if target.kind == "core" else target.top
        start_x = _place(source, target, [each for box, each in drawn if box is source])
        end_x = _place(target, source, [box for box, each in drawn if each is target])
        yield f'<path class="arrow" marker-end="url(#tip)" d="M{start_x} {source.bottom} {end_x} {end - 1}"/>'


def _place(box: Box, other: Box, others: list[Box]) -> int:
    """Return where on a box's edge the arrow to or from another one is: side by side, in the order of the others.

    An arrow to a wide box is upright.
    """
    if box.width > 2 * other.width:
        return other.x
    order = sorted(others, key=lambda each: each.x).index(other)
    return box.x + round((order + 1) * box.width / (len(others) + 1)) - box.width // 2


def main() -> None:
    """Draw the picture, or compare it with the one that is there."""
    drawn = picture(imports())
    if "--check" not in sys.argv[1:]:
        PICTURE.write_text(drawn, "utf-8")
    elif PICTURE.read_text("utf-8") != drawn:
        sys.exit("docs/house.svg is not up to date; draw it again by `python -m docs.house`")


if __name__ == "__main__":
    main()
