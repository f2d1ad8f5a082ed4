"""What a run is started with. The same settings are needed to go on with an unfinished run after a restart."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from core.errors import SettingsError
from core.federated import VALUE_BITS
from core.privacy.mechanism import Mechanism, Privacy, mechanism_for
from core.secagg.scheme import DEFAULT_KEY_BITS, PAILLIER, PLAIN, SAFE_KEY_BITS, check_key_bits
from core.settings.common import (
    Identity,
    InsecureDemoKeys,
    InsecurePlaintext,
    KeyBits,
    PassphraseFile,
    SchemeName,
    TaskName,
)
from core.settings.setting import Bounds, Setting, Settings
from server.rules import RoundRules


@dataclass(frozen=True, kw_only=True)
class Places(Settings):
    """Where the aggregator listens, keeps its state, finds its test data, and writes its results."""

    identity: Identity = Path("runs/federation/server")
    passphrase_file: PassphraseFile = None
    listen: Annotated[str, Setting("Where to listen; port 0 lets the system choose.", "HOST:PORT")] = "127.0.0.1:50551"
    state: Annotated[Path, Setting("The database; an unfinished run in it goes on.", "folder")] = Path("runs/server")
    out: Annotated[
        Path | None, Setting("Where to write history.csv, .jsonl, .png, report.md and model.npz.", "folder")
    ] = None
    test: Annotated[str | None, Setting("Data to judge each model on, or `generated`.", "path")] = None
    spam_label: Annotated[
        str | None, Setting("Your own name for spam in the mailbox of --test: of a label or a folder.", "name")
    ] = None
    keep_serving: Annotated[bool, Setting("Stay after the last round and hand out the model.")] = False
    metrics: Annotated[str | None, Setting("Where Prometheus can read /metrics.", "HOST:PORT")] = None


@dataclass(frozen=True)
class RunSettings(Settings):
    """One training. Raises SettingsError when made with values that cannot work."""

    task: TaskName = "spam"
    scheme: SchemeName = PAILLIER
    key_bits: KeyBits = DEFAULT_KEY_BITS
    seed: Annotated[
        int,
        Setting(
            "Of the starting model and all shuffling; public. Same seed and data, same model.",
            bounds=Bounds(at_least=0, at_most=(1 << 63) - 1),
        ),
    ] = 0
    rules: RoundRules = field(default_factory=RoundRules)
    insecure_demo_keys: InsecureDemoKeys = False
    count_cap: Annotated[
        int,
        Setting("Clients count by their examples, up to this many; 0: all alike.", "examples", Bounds(at_least=0)),
    ] = 0
    insecure_plaintext: InsecurePlaintext = False
    privacy: Privacy | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_key_bits(self.scheme, self.key_bits, insecure_demo_keys=self.insecure_demo_keys)
        if self.scheme != PLAIN and self.rules.min_cohort < 2 and not self.insecure_demo_keys:
            raise SettingsError(
                "the minimum cohort is 1; the sum of one client is that client's update in clear, "
                "so at least 2 are needed"
            )
        if self.mechanism is not None and self.count_cap:
            raise SettingsError(
                f"count_cap is {self.count_cap}; with privacy all clients count alike, because the sum of their counts "
                "would be exact"
            )

    @property
    def mechanism(self) -> Mechanism | None:
        """What clients do to their updates before they encrypt them; None for nothing."""
        return None if self.privacy is None else mechanism_for(self.privacy, self.rules.min_cohort, VALUE_BITS)

    @property
    def protection(self) -> str:
        """How updates are protected, for people."""
        if self.scheme == PLAIN:
            return "plain: NOTHING IS ENCRYPTED"
        name = "Paillier" if self.scheme == PAILLIER else "Damgård-Jurik"
        insecure = ": INSECURE" * bool(self.insecurities)
        return f"{name}, {self.key_bits} bits, {self.rules.threshold} of {self.rules.holders} key holders{insecure}"

    @property
    def insecurities(self) -> list[str]:
        """What was switched off, for the stamp on everything the run leaves behind."""
        found = {
            "nothing is encrypted": self.scheme == PLAIN,
            f"keys of {self.key_bits} bits protect nothing": self.scheme != PLAIN and self.key_bits < SAFE_KEY_BITS,
            f"sums of {self.rules.min_cohort} client": self.rules.min_cohort < 2,
            "connections without TLS": self.insecure_plaintext,
        }
        return [sentence for sentence, holds in found.items() if holds]

    @property
    def weaker_key(self) -> str:
        """A sentence, if the key is one that protects, and not as well as is advised."""
        if self.scheme == PLAIN or not SAFE_KEY_BITS <= self.key_bits < DEFAULT_KEY_BITS:
            return ""
        return (
            f"Keys of {self.key_bits} bits are weaker than the {DEFAULT_KEY_BITS} that are advised for what has to "
            "stay secret for long. "
        )

    def to_json(self) -> dict[str, Any]:
        """As stored with the run."""
        return asdict(self)

    def check_same(self, stored: dict[str, Any], where: str) -> None:
        """Raise SettingsError naming all settings that an unfinished run was started with and that differ."""
        found = [f"{name} = {old}, not {new}" for name, old, new in _differences(stored, self.to_json())]
        if found:
            raise SettingsError(
                f"{where} holds an unfinished run with {'; '.join(found)}. Start with the same settings to go on "
                "with it, or give another --state for a new run (in containers, docker compose down --volumes removes "
                "the old one)"
            )


_OPTIONS = {"target": "clients", "patience_seconds": "patience"}
"""Options whose settings have other names."""
_DERIVED = ("deal", "selection_secret")


def _differences(stored: dict[str, Any], now: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    flat = [(name, stored.get(name), value) for name, value in now.items() if name != "rules"]
    flat += [(name, stored.get("rules", {}).get(name), value) for name, value in now["rules"].items()]
    return [(_OPTIONS.get(name, name), old, new) for name, old, new in flat if old != new and name not in _DERIVED]
