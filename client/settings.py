"""What a client's program is told, besides what it agrees to (core.policy)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.secagg.noise import NoiseKind
from core.settings.common import Connection, Identity, TaskName
from core.settings.setting import Setting

SpamLabel = Annotated[
    str | None, Setting("Your own name for spam: of a label, a folder, or a value in a column of labels.", "name")
]
DEFAULT_IDENTITY = Path("runs/federation/client-1")


@dataclass(frozen=True, kw_only=True)
class ClientSettings(Connection):
    """How a client connects, what it trains on, and how it encrypts."""

    identity: Identity = DEFAULT_IDENTITY
    mail: Annotated[
        str | None,
        Setting(
            "What to train on: an mbox file, a Maildir, a folder of mail, CSV, TSV, or `generated` (docs/mail.md).",
            "path",
        ),
    ] = None
    spam_label: SpamLabel = None
    task: TaskName = "spam"
    allow_one_class: Annotated[bool, Setting("Train even if all mail is spam, or none is.")] = False
    keep_model: Annotated[Path | None, Setting("Write the last global model to this file (.npz).", "file")] = None
    noise: Annotated[
        NoiseKind,
        Setting(
            "How ciphertexts are made: by short or 512-bit exponents, or as in the textbooks (docs/performance.md)."
        ),
    ] = NoiseKind.SHORT
