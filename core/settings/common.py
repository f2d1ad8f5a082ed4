"""The settings that several parties have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from core.limits import MOST_HOLDERS
from core.secagg.scheme import LARGEST_KEY_BITS, SMALLEST_KEY_BITS
from core.settings.setting import Bounds, Setting, Settings

Identity = Annotated[
    Path, Setting("This party's folder, made by its `enroll`, or by `python -m registrar init`.", "folder")
]
PassphraseFile = Annotated[
    Path | None,
    Setting(
        "File with the passphrase of the party's keys; without it, /run/secrets, then the federation's folder, then "
        "the terminal is asked.",
        "file",
    ),
]
Server = Annotated[
    str | None, Setting("Where the aggregator listens; without it, what party.json in the folder says.", "HOST:PORT")
]
Patience = Annotated[float, Setting("How long to wait for an aggregator that is away.", "seconds", Bounds(at_least=1))]
TaskName = Annotated[
    str,
    Setting(
        "What to learn; the same for the whole federation (docs/tasks.md). An own task is FILE:NAME or "
        "package.module:NAME (docs/own-task.md).",
        "name",
    ),
]
SchemeName = Annotated[
    str, Setting("How updates are encrypted: paillier, damgard-jurik, or plain, which encrypts nothing.", "name")
]
KEY_BITS = Setting(
    "Size of a round's key, a multiple of 16; 2048 bits are weaker than the 3072 that are advised, and faster.",
    "bits",
    Bounds(at_least=SMALLEST_KEY_BITS, at_most=LARGEST_KEY_BITS),
)
KeyBits = Annotated[int, KEY_BITS]
HOLDERS = Setting("How many key holders there are.", "key holders", Bounds(at_least=1, at_most=MOST_HOLDERS))
THRESHOLD = Setting("How many of the key holders open a sum together.", "key holders", Bounds(at_least=1))

InsecureDemoKeys = Annotated[
    bool,
    Setting(
        "agree to keys below 2048 bits, and to cohorts of one.", variable="GROKFED_INSECURE_DEMO_KEYS", insecure=True
    ),
]
InsecureUnbounded = Annotated[
    bool,
    Setting(
        "agree to updates without a proof that they keep their bounds; one client can then break a sum, or decide it.",
        variable="GROKFED_INSECURE_UNBOUNDED",
        insecure=True,
    ),
]
AllowPlain = Annotated[
    bool, Setting("agree to a run in which nothing is encrypted.", variable="GROKFED_ALLOW_PLAIN", insecure=True)
]
InsecurePlaintext = Annotated[
    bool,
    Setting(
        "no TLS; connections are readable, and parties do not prove who they are.",
        variable="GROKFED_INSECURE_PLAINTEXT",
        insecure=True,
    ),
]


@dataclass(frozen=True, kw_only=True)
class Connection(Settings):
    """As which party to connect to the aggregator, and where it is."""

    identity: Identity
    passphrase_file: PassphraseFile = None
    server: Server = None
    patience: Patience = 60.0
    insecure_plaintext: InsecurePlaintext = False
