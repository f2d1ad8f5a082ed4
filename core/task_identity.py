"""What parties must have in common of a task before their updates are added, and what differs if they have not."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TaskIdentity:
    """A task, as far as its name does not say it.

    Attributes:
        weights: how many there are.
        layout: SHA-256 of the names and shapes of its arrays.
        clip: the largest change of one weight that is expressed.
        source: SHA-256 of a user's own file; empty for tasks of the project.
    """

    weights: int
    layout: bytes
    clip: float
    source: bytes = b""

    def difference(self, other: TaskIdentity, theirs: str, ours: str) -> str:
        """Return in what another party's task differs from this one, in words; empty if it does not.

        Args:
            theirs, ours: whose the other is and whose this one, "the client's" and "this federation's" say.
        """
        if other.weights != self.weights:
            return f"{theirs} has {other.weights} weights, {ours} {self.weights}"
        if other.layout != self.layout:
            return f"{theirs} has arrays of other names or shapes than {ours}"
        if other.clip != self.clip:
            return f"{theirs} has a clip of {other.clip:g}, {ours} {self.clip:g}"
        if other.source != self.source:
            return f"{theirs} comes from {_file(other.source)}, {ours} from {_file(self.source)}"
        return ""


def _file(source: bytes) -> str:
    return f"a file with SHA-256 {source.hex()[:16]}..." if source else "the project"
