"""What a run is started with. The same settings are needed to go on with an unfinished run after a restart."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from core.bounds.parameters import Parameters
from core.errors import SettingsError
from core.federated import VALUE_BITS
from core.local_settings import CONSTANT, LocalSettings, OptimiserName
from core.privacy.mechanism import LARGEST_CLIP, SMALLEST_CLIP, Mechanism, Privacy, mechanism_for
from core.proven_bounds import proven_of
from core.robust import Grouping, Robust
from core.scaffold import check_rule
from core.secagg.encoding import Encoding
from core.secagg.scheme import DEFAULT_KEY_BITS, PAILLIER, PLAIN, SAFE_KEY_BITS, check_key_bits
from core.server_rules import FEDAVG, ServerRule
from core.settings.common import (
    Identity,
    InsecureDemoKeys,
    InsecurePlaintext,
    InsecureUnbounded,
    KeyBits,
    PassphraseFile,
    SchemeName,
    TaskName,
)
from core.settings.setting import Bounds, Setting, Settings
from core.tasks.local import OPTIMISERS
from core.tasks.task import Task
from core.who_reads import WhoReads
from server.differences import differences
from server.rules import RoundRules


class Bound(StrEnum):
    """What clients prove of their updates."""

    RANGE = "range"
    NORM = "norm"


class Start(StrEnum):
    """Which model a new run starts from."""

    CONTINUE = "continue"
    FRESH = "fresh"


@dataclass(frozen=True, kw_only=True)
class Places(Settings):
    """Where the aggregator listens, keeps its state, finds its first model and test data, and writes its results."""

    identity: Identity = Path("runs/federation/server")
    passphrase_file: PassphraseFile = None
    listen: Annotated[str, Setting("Where to listen; port 0 lets the system choose.", "HOST:PORT")] = "127.0.0.1:50551"
    state: Annotated[Path, Setting("The database; an unfinished run continues.", "folder")] = Path("runs/server")
    start: Annotated[
        Start,
        Setting(
            "Where a new run starts: continue, from the last model of an earlier run of the same task in --state, if "
            "there is one; or fresh, from the task's initial model, which serves one run only."
        ),
    ] = Start.CONTINUE
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
    insecure_unbounded: InsecureUnbounded = False
    bound: Annotated[
        Bound,
        Setting(
            "What clients prove of their updates: range, of each weight; or norm, that of all weights together "
            "too: the clip norm with privacy, else --largest-norm."
        ),
    ] = Bound.RANGE
    largest_norm: Annotated[
        float | None,
        Setting(
            "With --bound norm: the largest L2 norm of an update; longer ones are shortened. How large it may be, the "
            "task decides: less than about 128 times its clip.",
            bounds=Bounds(at_least=SMALLEST_CLIP, at_most=LARGEST_CLIP),
        ),
    ] = None
    count_cap: Annotated[
        int,
        Setting("Clients count by their examples, up to this many; 0: all alike.", "examples", Bounds(at_least=0)),
    ] = 0
    insecure_plaintext: InsecurePlaintext = False
    privacy: Privacy | None = None
    server_rule: ServerRule = FEDAVG
    local: LocalSettings | None = None
    robust: Annotated[
        Robust | None, Setting("With --groups: median (the default), trimmed-mean or geometric-median of their means.")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rules.target is not None:
            object.__setattr__(self, "server_rule", self.server_rule.over(self.rules.target))
        object.__setattr__(self, "privacy", self._with_count_noise())
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
        self._check_norm()
        if self.robust is not None and self.grouping is None:
            raise SettingsError(f"--robust is {self.robust.value}, which decides between groups; add --groups")
        if self.grouping is not None:
            self.grouping.require_rule(self.server_rule)

    def _check_norm(self) -> None:
        norm = self.largest_norm
        if self.bound is Bound.RANGE and norm is not None:
            raise SettingsError(f"--largest-norm is {norm:g}, which only --bound norm proves; add --bound norm")
        if self.bound is Bound.RANGE:
            return
        if self.scheme == PLAIN or self.insecure_unbounded:
            why = "with --insecure-unbounded" if self.insecure_unbounded else "of updates that are not encrypted"
            raise SettingsError(f"--bound is norm, and nothing is proven {why}; leave one of the two out")
        if self.privacy is not None and norm is not None:
            raise SettingsError(f"--largest-norm is {norm:g}; with privacy the clip norm is proven, so leave it out")
        if self.privacy is None and norm is None:
            raise SettingsError("--bound is norm; add --largest-norm, the largest L2 norm of an update")

    def _with_count_noise(self) -> Privacy | None:
        """Return the privacy, where the clip adapts with the usual noise on the number of updates within it."""
        privacy, adapts = self.privacy, self.server_rule.adapts_clip
        if privacy is None or not adapts or privacy.count_noise is not None:
            return privacy
        return replace(privacy, count_noise=max(self.rules.min_cohort / 20, privacy.noise_multiplier))

    @property
    def bounded(self) -> bool:
        """Whether clients prove that their updates keep their bounds."""
        return self.scheme != PLAIN and not self.insecure_unbounded

    @property
    def proven_norm(self) -> float | None:
        """The L2 norm that clients prove their updates to keep to; None with a proof of ranges alone."""
        if self.bound is Bound.RANGE:
            return None
        return self.largest_norm if self.privacy is None else self.privacy.clip_norm

    def proven(self, encoding: Encoding) -> Parameters | None:
        """Return what clients prove of their updates; None for nothing. Raises SettingsError if there is no proof."""
        if not self.bounded:
            return None
        try:
            ranges = proven_of(encoding, self.mechanism, None)
        except SettingsError as error:
            without = " without --bound norm" * (self.bound is Bound.NORM)
            raise SettingsError(f"{error}; --insecure-unbounded{without} leaves the proof out") from None
        if self.proven_norm is None:
            return ranges
        try:
            return proven_of(encoding, self.mechanism, self.proven_norm)
        except SettingsError as error:
            raise SettingsError(
                f"{error}; or leave --bound norm out, to prove the range of each weight alone"
            ) from None

    @property
    def mechanism(self) -> Mechanism | None:
        """What clients do to their updates before they encrypt them; None for nothing."""
        return None if self.privacy is None else mechanism_for(self.privacy, self.rules.min_cohort, VALUE_BITS)

    @property
    def grouping(self) -> Grouping | None:
        """How contributors are divided; None if they are not."""
        return None if self.rules.groups == 1 else Grouping(self.rules.groups, self.robust or Robust.median)

    @property
    def local_training(self) -> LocalSettings | None:
        """What the run changes in its clients' training, with a schedule over its rounds; None for nothing."""
        return None if self.local is None else self.local.over(self.rules.rounds)

    @property
    def protection(self) -> str:
        """How updates are protected, for people."""
        if self.scheme == PLAIN:
            return "plain: NOTHING IS ENCRYPTED"
        name = "Paillier" if self.scheme == PAILLIER else "Damgård-Jurik"
        insecure = ": INSECURE" * bool(self.insecurities)
        return f"{name}, {self.key_bits} bits, {self.rules.threshold} of {self.rules.holders} key holders{insecure}"

    @property
    def who_reads(self) -> str:
        """Who together can read what, in a few sentences; empty where every party can read everything."""
        if self.scheme == PLAIN or self.key_bits < SAFE_KEY_BITS:
            return ""
        rules, noise = self.rules, 0.0 if self.privacy is None else self.privacy.noise_multiplier
        return WhoReads(rules.threshold, rules.holders, rules.min_cohort, noise, rules.groups).sentence

    @property
    def insecurities(self) -> list[str]:
        """What was switched off, for the stamp on everything the run leaves behind."""
        found = {
            "nothing is encrypted": self.scheme == PLAIN,
            f"keys of {self.key_bits} bits protect nothing": self.scheme != PLAIN and self.key_bits < SAFE_KEY_BITS,
            f"sums of {self.rules.min_cohort} client": self.rules.min_cohort < 2,
            "connections without TLS": self.insecure_plaintext,
            "updates without a proof of their bounds": self.insecure_unbounded and self.scheme != PLAIN,
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

    def check_training(self, task: Task) -> None:
        """Raise SettingsError if clients cannot train the task as this run asks."""
        task.local_in(self.local_training, 1)
        check_rule(self.server_rule, task, self.local_training, privacy=self.privacy, count_cap=self.count_cap)

    def training_options(self, task: Task) -> dict[str, Any]:
        """Return how clients train, by the options that say it: as asked, and as the task says where nothing was asked.

        The learning rate is the one that a schedule starts from; an optimiser of the task's own has no name. Of a task
        that trains by its own code alone there is nothing to say.
        """
        if not task.takes_settings:
            return {}
        asked, own = self.local or LocalSettings(), task.local
        optimiser = next((name for name in OptimiserName if OPTIMISERS[name] is own.optimiser), None)
        in_passes = asked.local_steps is None and (asked.local_epochs is not None or own.steps is None)
        return {
            "learning-rate": asked.learning_rate or own.learning_rate,
            "lr-schedule": asked.lr_schedule or CONSTANT,
            "local-epochs": (asked.local_epochs or own.epochs) if in_passes else None,
            "local-steps": None if in_passes else asked.local_steps or own.steps,
            "batch-size": asked.batch_size or own.batch_size,
            "optimiser": asked.optimiser or optimiser,
        }

    def to_json(self) -> dict[str, Any]:
        """As stored with the run."""
        return asdict(self)

    def check_same(self, stored: dict[str, Any], where: str, *, begun: bool = True) -> None:
        """Raise SettingsError naming all settings that an unfinished run was started with and that differ.

        Before it has begun, how many clients it waits for may change.
        """
        differing = differences(RunSettings, stored, self.to_json())
        found = [words for option, words in differing.items() if begun or option != "clients"]
        if found:
            raise SettingsError(
                f"{where} holds an unfinished run with {'; '.join(found)}. Start with the same settings to go on "
                "with it, or give another --state for a new run (in containers, docker compose down --volumes removes "
                "the old one)"
            )
