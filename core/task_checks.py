"""Checks that all parties of a round train the same task, in a way that each of them agrees to."""

from __future__ import annotations

from collections.abc import Callable

from core.errors import Reason, Refused, SettingsError
from core.federated import task_digest, task_identity
from core.policy import Policy
from core.protocol import RoundDescription
from core.scaffold import check_rule
from core.task_identity import TaskIdentity
from core.tasks import known_task
from core.tasks.task import LocalTraining, Task

Require = Callable[[bool, Reason, str], None]
"""Raises Refused unless something holds (core.checks.Verifier.require)."""


def served_task(name: str, own: Task | None) -> Task:
    """Return the task that a round names, of those that a party knows. Raises Refused(WRONG_TASK)."""
    try:
        return known_task(name, own)
    except SettingsError as error:
        message = f"there is no task {name[:80]!r} here; a task of your own is given as --task FILE:NAME to every party"
        raise Refused(Reason.WRONG_TASK, message) from error


def check_same_task(name: str, theirs: bytes, task: Task, identity: TaskIdentity | None = None) -> None:
    """Raise Refused(WRONG_TASK) unless a client trains the same weights with the same encoding.

    Args:
        theirs: the digest of the client's task.
        identity: what that is made of, if the client says it: it names the difference.
    """
    if name != task.name:
        raise Refused(Reason.WRONG_TASK, f"this federation trains {task.name!r}, not {name[:80]!r}")
    if theirs != task_digest(task):
        whose = f"the client's {task.name!r}"
        different = "" if identity is None else task_identity(task).difference(identity, whose, "this federation's")
        message = f"{different or f'{whose} has other weights or another encoding'}; use the same version"
        raise Refused(Reason.WRONG_TASK, message)


def require_same_task(require: Require, description: RoundDescription, task: Task) -> None:
    """Refuse a round of another task of this name, from another file for example: Refused(WRONG_TASK)."""
    theirs = description.task_identity
    if theirs is None and task.source is None:
        return
    require(
        (theirs is None) == (task.source is None),
        Reason.WRONG_TASK,
        f"the round trains a task {task.name!r} of {_origin(theirs is None)}, and this party's is of "
        f"{_origin(task.source is None)}; give all parties the same --task",
    )
    assert theirs is not None
    different = task_identity(task).difference(theirs, f"the round's {task.name!r}", "this party's")
    require(not different, Reason.WRONG_TASK, f"{different}; give all parties the same file")


def require_local_training(
    require: Require, description: RoundDescription, task: Task, policy: Policy
) -> LocalTraining:
    """Return how clients train in a round.

    Refuse what the task cannot do, or this party's policy forbids: Refused(LOCAL_TRAINING).
    """
    try:
        local = task.local_in(description.local, description.id.round)
        privacy, count_cap = description.privacy, description.encoding.count_cap
        check_rule(description.rule, task, description.local, privacy=privacy, count_cap=count_cap)
        if description.grouping is not None:
            description.grouping.require_rule(description.rule)
    except SettingsError as error:
        raise Refused(Reason.LOCAL_TRAINING, str(error)) from error
    most = policy.max_local_epochs
    require(
        most is None or local.steps is not None or local.epochs <= most,
        Reason.LOCAL_TRAINING,
        f"the round asks for {local.epochs} passes over a client's data; this party wants at most {most} "
        "(max-local-epochs in policy.toml)",
    )
    return local


def require_few_passes(require: Require, local: LocalTraining, examples: int, policy: Policy) -> None:
    """Refuse more passes over a client's examples than its policy allows, steps counted: Refused(LOCAL_TRAINING)."""
    most, passes = policy.max_local_epochs, local.passes(examples)
    require(
        most is None or passes <= most,
        Reason.LOCAL_TRAINING,
        f"the round asks for {local.steps} batches of {local.batch_size}, which are {passes} passes over this client's "
        f"{examples} examples; it wants at most {most} (max-local-epochs in policy.toml)",
    )


def _origin(project: bool) -> str:
    return "the project" if project else "a file"
