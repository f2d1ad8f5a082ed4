"""Settings of a simulation, and what follows from them for the run and for what its parties agree to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from core.errors import SettingsError
from core.policy import Policy
from core.secagg.scheme import PLAIN
from core.settings.command_line import Given
from core.settings.common import HOLDERS, THRESHOLD, KeyBits
from core.settings.setting import Bounds, Setting, Settings
from core.tasks import Task
from core.who_reads import DEFAULT_COLLUDERS, DEFAULT_HOLDERS, DEFAULT_MIN_COHORT
from keyholder.difference import DifferenceRule
from keyholder.settings import DIFFERENCE_RULE
from server.rules import DEFAULT_OVER_SELECTION, MIN_COHORT, OVER_SELECTION, ROUND_SECONDS
from server.settings import RunSettings
from server.workable import workable

NOT_ASKED = ("max-cohort", "gather-seconds", "upload-seconds", "answer-seconds", "patience")
"""Options of the server that a simulation decides, or leaves as they are."""


class Scheme(StrEnum):
    """How updates are protected."""

    paillier = "paillier"
    damgard_jurik = "damgard-jurik"
    plain = "plain"


class Engine(StrEnum):
    """Where virtual clients train."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True, kw_only=True)
class SimulationSettings(Settings):
    """Which parties there are, with which data, and where results go; the rest is the server's RunSettings."""

    clients: Annotated[
        int | None, Setting("How many clients; default 5, or one a mailbox.", "clients", Bounds(at_least=1))
    ] = None
    data: Annotated[
        Path | None,
        Setting(
            "A folder of mailboxes (one client each), or data that is dealt out among them: one file, or what the task "
            "reads (CSV, a folder of pictures per class, ...).",
            "path",
        ),
    ] = None
    spam_label: Annotated[
        str | None, Setting("Your own name for spam in --data: of a label, a folder, or a value in a column.", "name")
    ] = None
    partition: Annotated[
        str | None, Setting("How data is dealt out: iid, dirichlet:ALPHA, or grouped (by speaker).")
    ] = None
    out: Annotated[Path | None, Setting("Where results go; default runs/TASK-TIME.", "folder")] = None
    resume: Annotated[
        Path | None,
        Setting("Go on with the interrupted run in this folder, with its own settings, to the same model.", "folder"),
    ] = None
    port: Annotated[
        int, Setting("Where the aggregator listens; 0: any free port.", bounds=Bounds(at_least=0, at_most=65535))
    ] = 0
    central: Annotated[bool, Setting("Afterwards, train on all the data in one place, to compare.")] = False
    scheme: Annotated[
        Scheme | None,
        Setting(
            "How updates are encrypted: damgard-jurik sends a quarter less; plain encrypts nothing. Default paillier, "
            "and plain with --virtual."
        ),
    ] = None
    virtual: Annotated[
        bool,
        Setting("Clients exist only while they train: any number of them, in a few processes. Nothing is protected."),
    ] = False
    workers: Annotated[
        int | None,
        Setting(
            "With --virtual: processes that train clients; default one a processor.",
            bounds=Bounds(at_least=1, at_most=1024),
        ),
    ] = None
    engine: Annotated[
        Engine, Setting("With --virtual, where clients train: workers on this machine, or a Ray cluster.")
    ] = Engine.local
    ray_address: Annotated[
        str | None, Setting("With --engine ray: the cluster; auto finds it. Default: one is started here.", "address")
    ] = None
    speeds: Annotated[
        str | None,
        Setting(
            "With --virtual, simulate time: how fast clients are, lognormal:EXAMPLES_PER_SECOND,SIGMA,BYTES_PER_SECOND,"
            "SIGMA, or a CSV file with examples_per_second and bytes_per_second."
        ),
    ] = None
    availability: Annotated[
        str | None,
        Setting(
            "With --speeds: the chance that a chosen client stays to the end, or a CSV file with client, from_s and "
            "until_s."
        ),
    ] = None
    dry_run: Annotated[
        bool,
        Setting("Say what the run would send, take, hold and reveal, by a probe of this machine, and run nothing."),
    ] = False
    as_json: Annotated[bool, Setting("With --dry-run: print one JSON object.", option="json")] = False
    key_bits: KeyBits = 2048
    holders: Annotated[
        int, HOLDERS.saying("How many key holders; 1 is the book's single one. None with --virtual.")
    ] = DEFAULT_HOLDERS
    threshold: Annotated[
        int | None, THRESHOLD.saying("How many of them open a sum together; default more than half.")
    ] = None
    difference_rule: Annotated[DifferenceRule, replace(DIFFERENCE_RULE, in_policy=False)] = DifferenceRule.REPORT
    min_cohort: Annotated[
        int | None,
        MIN_COHORT.saying(
            "Open no sum of fewer; default half the clients (with --groups, of a group), but 5 at least; "
            "without groups all, if there are fewer."
        ),
    ] = None
    round_seconds: Annotated[
        float | None,
        ROUND_SECONDS.saying(
            "Deadline of a round's commitments, then of its updates; default by the number of clients and the key. "
            "With --virtual it needs --speeds, and is in simulated time; default 120."
        ),
    ] = None
    over_selection: Annotated[
        float, OVER_SELECTION.saying(f"{OVER_SELECTION.meaning} With --virtual it needs --speeds too.")
    ] = DEFAULT_OVER_SELECTION

    insecure_demo_keys: Annotated[bool, Setting("allow keys below 2048 bits, and cohorts of one.", insecure=True)] = (
        False
    )
    insecure_unbounded: Annotated[bool, Setting("no proof that a client's update keeps its bounds.", insecure=True)] = (
        False
    )
    insecure_plaintext: Annotated[bool, Setting("no TLS between the parties.", insecure=True)] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        virtual = {
            "workers": self.workers, "speeds": self.speeds, "availability": self.availability,
            "engine": None if self.engine is Engine.local else self.engine.value,
        }  # fmt: skip
        for option, value in virtual.items():
            if value is not None and not self.virtual:
                raise SettingsError(f"--{option} is {value!r}, which only --virtual clients have; add --virtual")
        if self.dry_run and self.resume is not None:
            raise SettingsError(
                f"--resume is {str(self.resume)!r}, and --dry-run is about a new run; leave out one of them"
            )
        if self.as_json and not self.dry_run:
            raise SettingsError("--json is what --dry-run prints; add --dry-run, or find a run's rows in history.jsonl")
        if self.ray_address is not None and self.engine is not Engine.ray:
            raise SettingsError(f"--ray-address is {self.ray_address!r}, which only --engine ray has; add --engine ray")
        if self.ray_address is not None and not self.ray_address.strip():
            raise SettingsError(f"--ray-address is {self.ray_address!r}; expected auto or HOST:PORT, or leave it out")
        if self.workers is not None and self.engine is Engine.ray:
            raise SettingsError(f"--workers is {self.workers}; a Ray cluster has its own processors, so leave it out")
        if self.availability is not None and self.speeds is None:
            raise SettingsError(f"--availability is {self.availability!r}; it needs --speeds, which simulates time")
        if self.virtual:
            self._check_virtual()

    def _check_virtual(self) -> None:
        """Raise SettingsError for an option that a run with virtual clients would ignore."""
        if self.central:
            raise SettingsError("--central trains on the data of real parties' runs only; leave it or --virtual out")
        no_holders = "a run with virtual clients has no key holders"
        ignored: dict[str, tuple[object, object, str]] = {
            "port": (self.port, 0, "virtual clients have no aggregator that listens"),
            "holders": (self.holders, DEFAULT_HOLDERS, no_holders),
            "threshold": (self.threshold, None, no_holders),
            "difference-rule": (self.difference_rule.value, DifferenceRule.REPORT.value, no_holders),
        }
        if self.speeds is None:
            why = "only --speeds simulates the time that clients take"
            ignored["round-seconds"] = (self.round_seconds, None, why)
            ignored["over-selection"] = (self.over_selection, DEFAULT_OVER_SELECTION, why)
        for option, (value, usual, why) in ignored.items():
            if value != usual:
                typed = f"{value:g}" if isinstance(value, float) else value
                raise SettingsError(f"--{option} is {typed}, and {why}; leave it out")
        if self.insecure_plaintext:
            raise SettingsError(
                "--insecure-plaintext switches off TLS, and virtual clients connect to nothing; leave it out"
            )
        if self.insecure_unbounded and self.encryption is Scheme.plain:
            raise SettingsError(
                "--insecure-unbounded leaves out the proofs of encrypted updates, and --virtual encrypts nothing; "
                "leave it out, or add --scheme paillier"
            )

    @property
    def encryption(self) -> Scheme:
        """The scheme, asked for or not."""
        return self.scheme or (Scheme.plain if self.virtual else Scheme.paillier)

    def decide(self, clients: int, cohort: int | None, groups: int = 1) -> dict[str, Any]:
        """Return the fields of a RunSettings that follow from the number of clients, updates a round, and groups."""
        wanted = clients if cohort is None else cohort
        deadline = 60 + 4 * clients * (self.key_bits / 2048) ** 3 if self.round_seconds is None else self.round_seconds
        together = max(1, wanted // groups)
        # Few clients are asked for; small groups of many clients only with a --min-cohort.
        most = together if groups == 1 else max(together, DEFAULT_MIN_COHORT)
        usual = min(most, max(DEFAULT_MIN_COHORT, (together + 1) // 2))
        return {
            "scheme": self.encryption.value,
            "min_cohort": usual if self.min_cohort is None else self.min_cohort,
            "max_cohort": clients,
            "target": clients,
            "holders": self.holders,
            "threshold": self.holders // 2 + 1 if self.threshold is None else self.threshold,
            "round_seconds": deadline,
            "upload_seconds": deadline,
            "patience_seconds": 120.0 * max(1.0, (self.key_bits / 2048) ** 4),
        }


def settings_of_parties(given: Given, options: SimulationSettings, task: Task, clients: int) -> RunSettings:
    """Return the settings of a run with real parties. Raises SettingsError for those that cannot work."""
    if clients < 2 and options.encryption is not Scheme.plain and not options.insecure_demo_keys:
        raise SettingsError(
            f"there is {clients} client; the sum of one is its update in clear, so at least 2 are needed"
        )
    settings = given.make(RunSettings, task=task.name, **options.decide(clients, given["cohort"], given["groups"]))
    return workable(settings, task)


def policy_for(settings: RunSettings) -> Policy:
    """Return the strictest policy that still lets clients and key holders accept such a run."""
    asked: dict[str, Any] = {}
    if settings.privacy is not None:
        asked = {"min_noise": settings.privacy.noise_multiplier, "max_delta": settings.privacy.delta}
    min_cohort = settings.rules.min_cohort
    return Policy(
        min_cohort=min_cohort,
        max_colluders=max(0, min(DEFAULT_COLLUDERS, min_cohort - 2)),
        insecure_demo_keys=settings.insecure_demo_keys,
        insecure_unbounded=settings.insecure_unbounded,
        allow_plain=settings.scheme == PLAIN,
        **asked,
    )
