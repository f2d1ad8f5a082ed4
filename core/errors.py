"""What can go wrong, as one tree.

    GrokfedError                a sentence for the person who runs the party; no trace-back is shown
    ├── SettingsError           an option or a settings value that cannot work
    ├── DataError               mail (or other data) that is not there, empty, or not what the task needs
    ├── TaskError               a task of a user's own that does not do what a task must
    ├── ConnectionLostError     the aggregator did not answer for longer than this party is willing to wait
    ├── StorageError            the state folder cannot be read or written (full disk, other owner)
    ├── DivergedError           (core/optim.py) a training whose loss grows without bound or is not a number
    ├── RunFailedError          the federation as a whole came to an end without a model
    └── Refused                 a named refusal between parties; the name travels, is counted and logged

Programming mistakes are ValueError and TypeError where they happen.
"""

from __future__ import annotations

from enum import StrEnum


class GrokfedError(Exception):
    """Tell a person in one sentence what is wrong: the thing, the value, what was expected."""


class SettingsError(GrokfedError):
    """An option or settings value that cannot work."""


class DataError(GrokfedError):
    """Data that is missing, empty, or not what the task needs."""


class TaskError(GrokfedError):
    """A task of a user's own does not do what a task must, or its code fails."""


class ConnectionLostError(GrokfedError):
    """The aggregator gave no answer for as long as this party waits."""


class StorageError(GrokfedError):
    """The state folder cannot be read or written."""


class RunFailedError(GrokfedError):
    """The federation ended without the model it was started for."""


class Reason(StrEnum):
    """Why one party refuses another's message: a name for the wire, the log and the count."""

    WRONG_TASK = "wrong_task"
    NAME_TAKEN = "name_taken"
    NOT_ENROLLED = "not_enrolled"
    NOT_IN_ROSTER = "not_in_roster"
    REVOKED = "revoked"
    WRONG_ROLE = "wrong_role"
    BAD_SIGNATURE = "bad_signature"
    WRONG_FEDERATION = "wrong_federation"
    DESCRIPTION_SIGNATURE = "description_signature"
    KEY_CERTIFICATE = "key_certificate"
    KEY_EXPIRED = "key_expired"
    KEY_USED = "key_used"
    MODEL_LINEAGE = "model_lineage"
    MODEL_USED = "model_used"
    ANOTHER_RUN = "another_run"
    COMMITMENT_SIGNATURE = "commitment_signature"
    COPIED = "copied"
    LIST_CHANGED = "list_changed"
    LIST_SIGNATURES = "list_signatures"
    REQUEST_SIGNATURES = "request_signatures"
    NOT_IN_LIST = "not_in_list"
    NOT_COMMITTED = "not_committed"
    TOO_SIMILAR = "too_similar"
    WRONG_SUM = "wrong_sum"
    WRONG_MODEL = "wrong_model"
    ROUND_NOT_OPEN = "round_not_open"
    WRONG_DESCRIPTION = "wrong_description"
    WRONG_LENGTH = "wrong_length"
    WRONG_DIGEST = "wrong_digest"
    DUPLICATE = "duplicate"
    BAD_CIPHERTEXT = "bad_ciphertext"
    BAD_KEY = "bad_key"
    COHORT_TOO_SMALL = "cohort_too_small"
    UNBOUNDED = "unbounded"
    WEAK_PRIVACY = "weak_privacy"
    LOCAL_TRAINING = "local_training"
    BUDGET_SPENT = "budget_spent"
    STALE_MEMORY = "stale_memory"
    ALREADY_RELEASED = "already_released"
    NOT_SIGNED = "not_signed"
    NOT_SERVING = "not_serving"
    STALE_LEDGER = "stale_ledger"
    UNKNOWN_KEY = "unknown_key"
    BAD_SUM = "bad_sum"
    WRONG_SHARE = "wrong_share"
    WRONG_OPENING = "wrong_opening"
    WRONG_PROOF = "wrong_proof"
    MALFORMED = "malformed"
    NO_MODEL = "no_model"
    STORAGE = "storage"
    INVITATION = "invitation"
    NOT_COMPLETE = "not_complete"
    TOO_MANY_TRIES = "too_many_tries"
    TOO_MANY_CALLS = "too_many_calls"


PASSING = frozenset({Reason.STORAGE, Reason.TOO_MANY_CALLS})
"""Refusals of a moment: the same call may succeed later, so it is repeated. All others are final."""


class Refused(GrokfedError):  # noqa: N818  "refused" is the word the protocol uses
    """A message that was understood and turned down, with the reason's name, and the clients it is about, if any."""

    def __init__(self, reason: Reason, message: str, clients: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.clients = clients

    def __reduce__(self) -> tuple[type[Refused], tuple[Reason, str, tuple[str, ...]]]:
        """Travel from one process to another with the reason."""
        return type(self), (self.reason, str(self), self.clients)


CONTINUE_INSTEAD = (
    "start the aggregator with the state of the earlier run and without --start fresh, to continue from its last "
    "model, or with another --seed if the task's initial model depends on it"
)
"""What to do when a starting model has served another round."""
