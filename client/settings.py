"""Settings of a client's program, besides what it agrees to (core.policy)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from client.budget import FOLDER as BUDGET
from client.budget import Budget
from client.memory import FOLDER as MEMORY
from core.secagg.noise import NoiseKind
from core.settings.common import Connection, Identity, TaskName
from core.settings.setting import Setting, Settings
from core.tasks.task import GENERATED

SpamLabel = Annotated[
    str | None, Setting("Your own name for spam: of a label, a folder, or a value in a column of labels.", "name")
]
DEFAULT_IDENTITY = Path("runs/federation/client-1")
BudgetFolder = Annotated[
    Path | None,
    Setting(
        "Where what the data has cost in privacy is kept; default memory/budget in the identity's folder. Identities "
        "with the same data name the same folder.",
        "folder",
        in_policy=True,
    ),
]


def budget_folder(identity: Path, budget: Path | None) -> Path:
    """Return the folder of a client's budget."""
    return identity / MEMORY / BUDGET if budget is None else budget


@dataclass(frozen=True, kw_only=True)
class BudgetSettings(Settings):
    """What `python -m client budget` is told, besides the policy."""

    identity: Identity = DEFAULT_IDENTITY
    budget: BudgetFolder = None
    dataset: Annotated[str | None, Setting("Show this data only.", "name", in_policy=True)] = None
    json: Annotated[bool, Setting("Print one JSON object.")] = False


@dataclass(frozen=True, kw_only=True)
class ClientSettings(Connection):
    """How a client connects, what it trains on, and how it encrypts."""

    identity: Identity = DEFAULT_IDENTITY
    mail: Annotated[
        str | None,
        Setting(
            "What to train on: an mbox file, a Maildir, a folder of mail, CSV, TSV, or `generated` (docs/mail.md); for "
            "other tasks, what they read.",
            "path",
        ),
    ] = None
    spam_label: SpamLabel = None
    budget: BudgetFolder = None
    dataset: Annotated[
        str | None,
        Setting(
            "The name under which the data's cost in privacy is kept; default the path of --mail.",
            "name",
            in_policy=True,
        ),
    ] = None
    task: TaskName = "spam"
    allow_one_class: Annotated[bool, Setting("Train even if all mail is spam, or none is.")] = False
    keep_model: Annotated[Path | None, Setting("Write the last global model to this file (.npz).", "file")] = None
    noise: Annotated[
        NoiseKind,
        Setting(
            "How ciphertexts are made: by short or 512-bit exponents, or as in the textbooks (docs/performance.md)."
        ),
    ] = NoiseKind.SHORT

    def open_budget(self, federation: str) -> Budget:
        """Return the budget of this client's data, which in this federation has a name of its own if it is made up."""
        name = self.dataset
        if name is None:
            made_up = f"{GENERATED} in {federation}"
            name = made_up if self.mail in (None, GENERATED) else str(Path(str(self.mail)).expanduser().resolve())
        return Budget(budget_folder(self.identity, self.budget), name)
