"""Convert what a round says of task, training, bounds and groups between wire and plain data. Refused(MALFORMED)."""

from __future__ import annotations

from math import isfinite

from core.errors import Reason, Refused, SettingsError
from core.local_settings import LocalSettings, OptimiserName
from core.privacy.mechanism import LARGEST_CLIP, SMALLEST_CLIP
from core.robust import Grouping, Robust
from core.server_rules import MOST_CLIP_FACTOR
from core.task_identity import TaskIdentity
from core.wire import federation_pb2 as pb

DIGEST_BYTES = 32
LONGEST_SCHEDULE = 64
RANGE, NORM = "range", "norm"
"""The names of the bounds that each update is proven to keep."""


def identity_to_wire(identity: TaskIdentity) -> pb.TaskIdentity:
    """Return the message that identifies a task."""
    return pb.TaskIdentity(
        weights=identity.weights, layout=identity.layout, clip=identity.clip, source=identity.source
    )  # fmt: skip


def identity_from_wire(message: pb.TaskIdentity) -> TaskIdentity:
    """Return what identifies a task. Raises Refused(MALFORMED)."""
    if len(message.layout) != DIGEST_BYTES or len(message.source) not in (0, DIGEST_BYTES):
        raise Refused(Reason.MALFORMED, f"the identity of a task has digests that are not of {DIGEST_BYTES} bytes")
    if not (isfinite(message.clip) and message.clip > 0):
        raise Refused(Reason.MALFORMED, f"the clip of a task is {message.clip}; expected a number above 0")
    return TaskIdentity(message.weights, message.layout, message.clip, message.source)


def local_to_wire(local: LocalSettings) -> pb.LocalSettings:
    """Return the message for settings of local training."""
    return pb.LocalSettings(
        learning_rate=local.learning_rate or 0.0,
        lr_schedule=local.lr_schedule or "",
        local_epochs=local.local_epochs or 0,
        local_steps=local.local_steps or 0,
        batch_size=local.batch_size or 0,
        optimiser="" if local.optimiser is None else local.optimiser.value,
        prox_mu=local.prox_mu,
    )


def local_from_wire(message: pb.LocalSettings) -> LocalSettings:
    """Return settings of local training that can work. Raises Refused(MALFORMED)."""
    if message.optimiser not in ("", *OptimiserName):
        raise Refused(Reason.MALFORMED, f"there is no optimiser {message.optimiser[:80]!r}")
    if len(message.lr_schedule) > LONGEST_SCHEDULE:
        raise Refused(Reason.MALFORMED, f"the schedule of the learning rate has {len(message.lr_schedule)} characters")
    try:
        return LocalSettings(
            learning_rate=message.learning_rate or None,
            lr_schedule=message.lr_schedule or None,
            local_epochs=message.local_epochs or None,
            local_steps=message.local_steps or None,
            batch_size=message.batch_size or None,
            optimiser=OptimiserName(message.optimiser) if message.optimiser else None,
            prox_mu=message.prox_mu,
        )
    except SettingsError as error:
        raise Refused(Reason.MALFORMED, f"the settings of local training cannot work: {error}") from error


def clip_from_wire(factor: float) -> float:
    """Return by what the clip norm is multiplied in a round. Raises Refused(MALFORMED)."""
    if not 1 / MOST_CLIP_FACTOR <= factor <= MOST_CLIP_FACTOR:
        raise Refused(Reason.MALFORMED, f"the clip norm is multiplied by {factor:g}; expected 2^-20 to 2^20")
    return factor


def bounds_name(bounded: bool, largest_norm: float | None) -> str:
    """Return the name of what is proven of each update; empty for nothing."""
    if not bounded:
        return ""
    return RANGE if largest_norm is None else NORM


def norm_from_wire(message: pb.RoundDescription) -> float | None:
    """Return the L2 norm that each update is proven to keep to; None for ranges alone. Raises Refused(MALFORMED)."""
    if message.bounds in ("", RANGE):
        return None
    norm = message.largest_norm
    if message.bounds != NORM:
        expected = f"expected {RANGE!r}, {NORM!r} or nothing"
        raise Refused(Reason.MALFORMED, f"the bounds are {message.bounds[:40]!r}; {expected}")
    if not SMALLEST_CLIP <= norm <= LARGEST_CLIP or (message.HasField("privacy") and norm != message.privacy.clip_norm):
        expected = f"expected the clip norm, or {SMALLEST_CLIP} to {LARGEST_CLIP}"
        raise Refused(Reason.MALFORMED, f"the largest norm is {norm}; {expected}")
    return norm


def grouping_to_wire(grouping: Grouping) -> pb.Grouping:
    """Return the message for how contributors are divided."""
    return pb.Grouping(groups=grouping.groups, robust=grouping.robust.value)


def grouping_from_wire(message: pb.Grouping) -> Grouping:
    """Return how contributors are divided, and the rule over their means. Raises Refused(MALFORMED)."""
    if message.robust not in list(Robust):
        raise Refused(Reason.MALFORMED, f"there is no rule {message.robust[:80]!r} over the means of groups")
    try:
        return Grouping(message.groups, Robust(message.robust))
    except SettingsError as error:
        raise Refused(Reason.MALFORMED, f"the groups cannot work: {error}") from error
