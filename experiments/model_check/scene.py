"""The federation of a check, and what is fixed in advance: the attempts of one round, and who is dishonest."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from pathlib import Path

from core.errors import Reason
from core.federated import encoding_for
from core.identity import signing
from core.policy import Policy
from core.protocol import LIFE_BYTES, AttemptId, Commitment, Head, RoundDescription, Signed, digest
from core.tasks.spam import SPAM
from core.wire.messages import commitment_to_bytes, description_to_bytes
from core.wire.streams import model_bytes
from experiments.cheating_server.ciphertexts import blend
from experiments.cheating_server.conspirators import Conspirators
from experiments.cheating_server.crafted import Round
from experiments.cheating_server.stage import CONSPIRATORS, MAX_COHORT, MIN_COHORT, Profile, Stage, build
from keyholder.shares import Shares

CLIENTS = ("client-1", "client-2")
"""The honest clients."""
COLLUDER = CONSPIRATORS[0]
RUN = "00112233445566ff"


class Broken(StrEnum):
    """A property that does not hold."""

    TWICE = "one round is opened for two requests"
    TOO_FEW = "a sum of too few different clients is opened"
    ALONE = "an honest client's update is read"


@dataclass(frozen=True)
class Case:
    """One question to the checker.

    Attributes:
        profile: how keys are shared.
        dishonest: how many of the key holders work with the aggregator, the last ones.
        attempts: how many attempts of the round the aggregator may begin, each with its own key.
        without: checks that are switched off at all honest parties.
        orders: whether lists and sums are also tried in another order of the same clients.
        thorough: whether the aggregator also tries lists and requests of fewer clients than are needed.
        expects: what can be broken, by the threat model.
    """

    profile: Profile
    dishonest: int = 1
    attempts: int = 1
    without: frozenset[Reason] = frozenset()
    orders: bool = False
    thorough: bool = False
    expects: frozenset[Broken] = frozenset()

    @property
    def title(self) -> str:
        """The case in a few words."""
        shared = f"{self.profile.threshold} of {self.profile.holders}, {self.dishonest} dishonest"
        attempts = f", {self.attempts} attempts" if self.attempts > 1 else ""
        off = f", without {' and '.join(sorted(self.without))}" if self.without else ""
        return shared + attempts + off


@dataclass
class Scene:
    """A federation in which one round is played, from one case.

    Attributes:
        attempts: the descriptions that the aggregator signs, the first attempt first.
        conspirators: the dishonest key holders and a client, which do whatever the aggregator wants.
        lives: of all key holders.
    """

    case: Case
    stage: Stage
    attempts: tuple[Round, ...] = ()
    lives: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.stage.forget_keys()
        self.stage.deal(self.case.attempts)
        keys = [share.signed for share in Shares(self.stage.identities[self.stage.holders[0]]).dealt()]
        self.attempts = tuple(self._describe(key, number) for number, key in enumerate(keys, 1))
        self.lives.update({name: secrets.token_bytes(LIFE_BYTES) for name in self.stage.holders})
        dishonest = self.stage.holders[len(self.stage.holders) - self.case.dishonest :]
        self.conspirators = Conspirators(self.stage, (COLLUDER, *dishonest), self.lives)

    @property
    def holders(self) -> tuple[str, ...]:
        """The honest key holders."""
        return tuple(name for name in self.stage.holders if name not in self.conspirators)

    @property
    def policy(self) -> Policy:
        """What the honest parties agree to."""
        return Policy(MIN_COHORT, insecure_demo_keys=True, insecure_unbounded=True)

    def _describe(self, key: Signed, attempt: int) -> Round:
        identity, start = self.stage.identities["server"], self.stage.start
        (certificate,) = [
            share.certificate
            for share in Shares(self.stage.identities[self.stage.holders[0]]).dealt()
            if share.signed == key
        ]
        description = RoundDescription(
            federation=identity.federation,
            id=AttemptId(RUN, 1, attempt),
            task=SPAM.name,
            seed=self.stage.seed,
            model_digest=digest(model_bytes(start)),
            certificate=certificate,
            signed_certificate=key,
            encoding=encoding_for(SPAM, len(start), certificate.key.plaintext_bits, MAX_COHORT, 0),
            min_cohort=MIN_COHORT,
            deadline_seconds=60.0,
        )
        body = description_to_bytes(description)
        return Round(Signed(body, identity.signing.sign(signing.ROUND, body)), description)

    def colluding_update(self, attempt: int, cancels: Iterable[bytes] = ()) -> bytes:
        """Return the colluder's ciphertexts: those of no change, less the updates that they are to cancel."""
        crafted, powers = self.attempts[attempt], [(payload, -1) for payload in cancels]
        return blend(crafted.key, crafted.encoding, powers, neutrals=1 + len(powers))

    def colluding_commitment(self, attempt: int, payload: bytes) -> Signed:
        """Return the colluder's commitment to its ciphertexts."""
        crafted = self.attempts[attempt]
        submission, memory = digest(payload)[:16], Head(1, digest(b"one entry for all attempts at a round"))
        body = commitment_to_bytes(
            Commitment(crafted.description.id, COLLUDER, submission, crafted.digest, digest(payload), memory)
        )
        return Signed(body, self.conspirators.identity(COLLUDER).signing.sign(signing.COMMITMENT, body))


@cache
def stage_in(folder: Path, profile: Profile, seed: int) -> Stage:
    """Return the federation of a profile in a folder, which is made once."""
    return build(folder / profile.name.replace(" ", "-"), profile, seed)
