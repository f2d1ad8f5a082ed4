"""Core is core: each of its modules is needed by at least two parties, or is learning that a party and the book share.

And nowhere do modules import each other in a circle.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import grimp
import pytest

PARTIES = ("client", "server", "keyholder", "registrar", "simulation", "dashboard")
LEARNING = (
    "core.tensor", "core.ops", "core.rows", "core.nn", "core.losses", "core.optim", "core.metrics", "core.parameters",
    "core.training", "core.data", "core.tasks",
)  # fmt: skip
OTHERS = ("book", "experiments", "faults", "benchmarks")
BUILD_STEPS = {"core.secagg.kernel.build"}
"""Run by make and by hatch_build.py; nothing imports them."""

FOR_READERS = {"core.data.arrays", "core.privacy.randomised_response"}
"""What readers of the book use from a notebook or a script of their own, and no party needs."""

Imports = Mapping[str, Collection[str]]
"""What each module imports itself."""


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def with_parents(module: str) -> set[str]:
    """A module and the packages around it: importing it imports them too."""
    parts = module.split(".")
    return {".".join(parts[:length]) for length in range(1, len(parts) + 1)}


def reached(imports: Imports, user: str) -> set[str]:
    """All that a user reaches through its own modules and core's; what it reaches through another party does not count."""
    seen: set[str] = set()
    waiting = [module for module in imports if within(module, user)]
    while waiting:
        module = waiting.pop()
        if module not in seen and (within(module, user) or within(module, "core")):
            seen.add(module)
            waiting += {each for target in imports[module] for each in with_parents(target)}
    return seen


def misplaced(imports: Imports) -> dict[str, list[str]]:
    """The modules of core that fewer than two need, each with those that do. For learning the book counts as well."""
    reach = {user: reached(imports, user) for user in (*PARTIES, "book")}
    found: dict[str, list[str]] = {}
    for module in sorted(module for module in imports if within(module, "core")):
        learning = any(within(module, package) for package in LEARNING)
        users = [user for user in ((*PARTIES, "book") if learning else PARTIES) if module in reach[user]]
        if len(users) < 2 and module not in BUILD_STEPS | FOR_READERS:
            found[module] = users
    return found


def in_circles(imports: Imports) -> set[str]:
    """The modules that import each other, directly or through others, also where only a type checker sees it."""
    left = {module: set(targets) & imports.keys() for module, targets in imports.items()}
    while free := {module for module, targets in left.items() if not targets}:
        left = {module: targets - free for module, targets in left.items() if module not in free}
    # What is left leads to a circle; what nothing left leads to is in none.
    while free := left.keys() - set().union(*left.values()):
        left = {module: targets for module, targets in left.items() if module not in free}
    return set(left)


@pytest.fixture(scope="module")
def imports() -> dict[str, set[str]]:
    graph = grimp.build_graph("core", *PARTIES, *OTHERS, cache_dir=None)
    return {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}


def test_every_module_of_core_is_needed_by_two_parties_or_is_learning_that_the_book_shares(
    imports: dict[str, set[str]],
) -> None:
    assert misplaced(imports) == {}


def test_the_learning_packages_and_build_steps_that_are_listed_exist(imports: dict[str, set[str]]) -> None:
    assert {*LEARNING, *BUILD_STEPS} <= imports.keys()


def test_a_module_that_one_party_alone_needs_is_found(imports: dict[str, set[str]]) -> None:
    """simulation imports the server's modules; that makes what the server needs no more than the server's."""
    assert any(
        within(target, "server") for module in imports if within(module, "simulation") for target in imports[module]
    )
    added = {**imports, "core.lonely": set(), "server.rounds": {*imports["server.rounds"], "core.lonely"}}
    assert misplaced(added) == {"core.lonely": ["server"]}
    added["keyholder.holder"] = {*imports["keyholder.holder"], "core.lonely"}
    assert misplaced(added) == {}


def test_a_module_that_no_party_needs_is_found_although_the_book_does(imports: dict[str, set[str]]) -> None:
    added = {**imports, "core.lonely": set(), "core.nn.lonely": set()}
    assert misplaced(added) == {"core.lonely": [], "core.nn.lonely": []}
    added["book.chapters.chapter_06"] = {*imports["book.chapters.chapter_06"], "core.lonely", "core.nn.lonely"}
    added["client.scoring"] = {*imports["client.scoring"], "core.nn.lonely"}
    assert misplaced(added) == {"core.lonely": []}


def test_a_key_holder_reaches_nothing_that_makes_keys(imports: dict[str, set[str]]) -> None:
    reach: set[str] = set()
    waiting = [module for module in imports if within(module, "keyholder")]
    while waiting:
        module = waiting.pop()
        if module not in reach:
            reach.add(module)
            waiting += imports[module]
    assert "core.secagg.key_share" in reach
    assert not [module for module in reach if within(module, "registrar") or within(module, "book")]


def test_no_modules_import_each_other_in_a_circle(imports: dict[str, set[str]]) -> None:
    assert in_circles(imports) == set()


def test_a_circle_is_found_and_what_only_leads_to_it_is_not_named() -> None:
    circle = {"a": {"b", "numpy"}, "b": {"c"}, "c": {"a", "end"}, "end": set(), "user": {"a"}}
    assert in_circles(circle) == {"a", "b", "c"}
    assert in_circles({**circle, "c": {"end"}}) == set()
