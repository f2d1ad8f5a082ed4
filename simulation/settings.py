"""What a simulation is told, and what follows from it for the run and for what its parties agree to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from core.policy import Policy
from core.secagg.scheme import PLAIN
from core.settings.common import HOLDERS, THRESHOLD, KeyBits
from core.settings.setting import Bounds, Setting, Settings
from keyholder.difference import DifferenceRule
from keyholder.settings import DIFFERENCE_RULE
from server.rules import MIN_COHORT, ROUND_SECONDS
from server.settings import RunSettings

NOT_ASKED = ("max-cohort", "over-selection", "gather-seconds", "upload-seconds", "answer-seconds", "patience")
"""Options of the server that a simulation decides, or leaves as they are."""


class Scheme(StrEnum):
    """How updates are protected."""

    paillier = "paillier"
    damgard_jurik = "damgard-jurik"
    plain = "plain"


@dataclass(frozen=True, kw_only=True)
class SimulationSettings(Settings):
    """Who takes part, with which data, and where results go; the rest is the server's RunSettings."""

    clients: Annotated[
        int | None, Setting("How many clients; default 5, or one a mailbox.", "clients", Bounds(at_least=1))
    ] = None
    data: Annotated[
        Path | None, Setting("A folder of mailboxes (one client each) or one file, dealt out among them.", "path")
    ] = None
    spam_label: Annotated[
        str | None, Setting("Your own name for spam in --data: of a label, a folder, or a value in a column.", "name")
    ] = None
    partition: Annotated[
        str | None, Setting("How data is dealt out: iid, dirichlet:ALPHA, or grouped (by speaker).")
    ] = None
    out: Annotated[Path | None, Setting("Where results go; default runs/TASK-TIME.", "folder")] = None
    port: Annotated[
        int, Setting("Where the aggregator listens; 0: any free port.", bounds=Bounds(at_least=0, at_most=65535))
    ] = 0
    central: Annotated[bool, Setting("Afterwards, train on all the data in one place, to compare.")] = False
    scheme: Annotated[
        Scheme,
        Setting("How updates are encrypted: damgard-jurik sends a quarter less; plain encrypts nothing."),
    ] = Scheme.paillier
    key_bits: KeyBits = 2048
    holders: Annotated[int, HOLDERS.saying("How many key holders; 1 is the book's single one.")] = 3
    threshold: Annotated[
        int | None, THRESHOLD.saying("How many of them open a sum together; default more than half.")
    ] = None
    difference_rule: Annotated[DifferenceRule, replace(DIFFERENCE_RULE, in_policy=False)] = DifferenceRule.REPORT
    min_cohort: Annotated[int | None, MIN_COHORT.saying("Open no sum of fewer; default half the clients.")] = None
    round_seconds: Annotated[
        float | None,
        ROUND_SECONDS.saying(
            "Deadline of a round's commitments, then of its updates; default by the number of clients and the key."
        ),
    ] = None

    insecure_demo_keys: Annotated[bool, Setting("allow keys below 2048 bits, and cohorts of one.", insecure=True)] = (
        False
    )
    insecure_plaintext: Annotated[bool, Setting("no TLS between the parties.", insecure=True)] = False

    def decide(self, clients: int, cohort: int | None) -> dict[str, Any]:
        """Return the fields of a RunSettings that follow from the number of clients and the wanted updates a round."""
        wanted = clients if cohort is None else cohort
        deadline = 60 + 4 * clients * (self.key_bits / 2048) ** 3 if self.round_seconds is None else self.round_seconds
        return {
            "scheme": self.scheme.value,
            "min_cohort": min(wanted, max(2, (wanted + 1) // 2)) if self.min_cohort is None else self.min_cohort,
            "max_cohort": clients,
            "target": clients,
            "holders": self.holders,
            "threshold": self.holders // 2 + 1 if self.threshold is None else self.threshold,
            "round_seconds": deadline,
            "upload_seconds": deadline,
            "patience_seconds": 120.0 * max(1.0, (self.key_bits / 2048) ** 4),
        }


def policy_for(settings: RunSettings) -> Policy:
    """Return the strictest policy with which clients and key holders still take part in such a run."""
    asked: dict[str, Any] = {}
    if settings.privacy is not None:
        asked = {"min_noise": settings.privacy.noise_multiplier, "max_delta": settings.privacy.delta}
    return Policy(
        min_cohort=settings.rules.min_cohort,
        insecure_demo_keys=settings.insecure_demo_keys,
        allow_plain=settings.scheme == PLAIN,
        **asked,
    )
