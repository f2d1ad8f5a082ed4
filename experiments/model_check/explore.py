"""The search: all states that a dishonest aggregator can bring a federation to, the nearest first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import Reason
from experiments.model_check.adversary import Adversary
from experiments.model_check.judge import Judge
from experiments.model_check.parties import Local, Parties, Sent
from experiments.model_check.scene import Broken, Case, Scene, stage_in

State = dict[str, Local]


@dataclass
class Found:
    """What a search has found.

    Attributes:
        states: different ones that were visited.
        steps: messages that changed something.
        executed: messages that real sessions were given.
        refusals: how often each check has refused.
        attacks: the shortest way to break each property that can be broken.
        complete: whether there was nothing left to visit; False if a search stopped at its limit.
    """

    case: Case
    states: int = 0
    steps: int = 0
    executed: int = 0
    refusals: Mapping[Reason, int] = field(default_factory=dict)
    attacks: dict[Broken, tuple[str, ...]] = field(default_factory=dict)
    complete: bool = True


def check(folder: Path, case: Case, seed: int = 1, limit: int = 1_000_000) -> Found:
    """Visit all states of a case; stop early if all that should be is broken, or `limit` states were visited."""
    scene = Scene(case, stage_in(folder, case.profile, seed))
    return _Search(scene, limit).run()


class _Search:
    def __init__(self, scene: Scene, limit: int) -> None:
        self._scene, self._limit = scene, limit
        self._parties, self._adversary = Parties(scene), Adversary(scene)
        self._judge = Judge(scene, self._adversary)
        self._found = Found(scene.case)

    def run(self) -> Found:
        start: State = {name: Local() for name in self._parties.names}
        waiting: deque[tuple[State, tuple[Sent, ...]]] = deque([(start, ())])
        visited = {self._key(start)}
        while waiting and not self._enough():
            if len(visited) > self._limit:
                self._found.complete = False
                break
            state, path = waiting.popleft()
            for sent, local in self._next(state):
                self._found.steps += 1
                after = {**state, sent.party: local}
                key = self._key(after)
                if key not in visited:
                    visited.add(key)
                    self._judged(after, sent, (*path, sent))
                    waiting.append((after, (*path, sent)))
        self._found.states = len(visited)
        self._found.executed, self._found.refusals = self._parties.executed, self._parties.refusals
        return self._found

    def _enough(self) -> bool:
        """Return whether all is broken that should be; where nothing should be, whether everything is."""
        return frozenset(self._found.attacks) >= (self._scene.case.expects or frozenset(Broken))

    def _next(self, state: State) -> Iterator[tuple[Sent, Local]]:
        """Yield the steps from a state; if one of them can only help the aggregator, that one alone.

        What is only helpful commutes with all other steps and prevents none, so whatever can be reached without it
        first can be reached after it (a persistent set of one step; Godefroid, LNCS 1032, 1996).
        """
        steps = []
        for sent in self._adversary.messages(state):
            local = self._parties.step(state[sent.party], sent)
            if local is not None:
                if self._only_helps(sent):
                    yield sent, local
                    return
                steps.append((sent, local))
        yield from steps

    def _only_helps(self, sent: Sent) -> bool:
        """Return whether a party that takes this refuses nothing later that it would have accepted.

        An upload and an answer are such; and a commitment, where there is one attempt.
        """
        return sent.kind in ("lend", "closed") or (sent.kind == "round" and self._scene.case.attempts == 1)

    def _key(self, state: State) -> tuple[Any, ...]:
        """Return what tells a state from others; which of the honest key holders is in which state does not matter."""
        holders = sorted(state[name].key for name in self._scene.holders)
        return (*(local.key for name, local in state.items() if name not in self._scene.holders), *holders)

    def _judged(self, state: State, sent: Sent, path: tuple[Sent, ...]) -> None:
        if sent.kind == "lend":
            for broken in self._judge.broken(state):
                self._found.attacks.setdefault(broken, tuple(map(told, path)))


def told(sent: Sent) -> str:
    """Return one line of a trace: what was sent to whom, and what came back."""
    words = {
        "round": "opens {} for {}, which commits",
        "closed": "shows {} with signatures to {}, which uploads",
        "list": "shows {} to {}, which signs it",
        "request": "asks for {} at {}, which signs the request",
        "lend": "shows signatures for {} to {}, which gives its share",
    }
    return "the aggregator " + words[sent.kind].format(sent.subject, sent.party)


def traces(found: Found) -> list[str]:
    """Return the attacks as lines of Markdown, none if there is none."""
    lines = []
    for broken, steps in sorted(found.attacks.items()):
        lines += [f"**{found.case.title}: {broken}.**", ""]
        lines += [*(f"{number}. {step}" for number, step in enumerate(steps, 1)), ""]
    return lines
