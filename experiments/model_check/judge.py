"""What has been opened in a state, and whether it should not have been."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from core.errors import Refused
from core.secagg.opening import combine, partial_of
from experiments.arrays import IntArray
from experiments.cheating_server.ciphertexts import deltas
from experiments.cheating_server.stage import MIN_COHORT
from experiments.model_check.adversary import Adversary, Request
from experiments.model_check.parties import Local
from experiments.model_check.scene import CLIENTS, Broken, Scene


@dataclass
class Judge:
    """Opens whatever t key holders have given their shares for, and looks at what is in it."""

    scene: Scene
    adversary: Adversary
    _opened: dict[str, IntArray] = field(default_factory=dict)

    def broken(self, state: Mapping[str, Local]) -> Iterator[Broken]:
        """Yield the properties that do not hold in this state."""
        opened = {subject: self._read(subject, shares) for subject, shares in self._open(state).items()}
        if len(opened) > 1:
            yield Broken.TWICE
        if any(len(set(self.adversary.requests[subject].contributors)) < MIN_COHORT for subject in opened):
            yield Broken.TOO_FEW
        truths = [self.scene.stage.truth(client) for client in CLIENTS]
        differences = [one - other for one, other in combinations(opened.values(), 2)]
        candidates = [*opened.values(), *differences, *(-each for each in differences)]
        if any((each == truth).all() for each in candidates for truth in truths):
            yield Broken.ALONE

    def _open(self, state: Mapping[str, Local]) -> dict[str, dict[str, bytes]]:
        """Return the shares of the sums that can be opened, by the request and the honest holder."""
        shares: dict[str, dict[str, bytes]] = {}
        for holder, local in state.items():
            for each in local.said:
                if each.kind == "share":
                    shares.setdefault(each.subject, {})[holder] = each.content
        profile, dishonest = self.scene.case.profile, self.scene.case.dishonest
        return {subject: given for subject, given in shares.items() if len(given) + dishonest >= profile.threshold}

    def _read(self, subject: str, shares: Mapping[str, bytes]) -> IntArray:
        """Combine the answers, the dishonest holders' too; return the changes of the weights in the sum."""
        if subject not in self._opened:
            request = self.adversary.requests[subject]
            self._opened[subject] = self._combined(request, shares)
        return self._opened[subject]

    def _combined(self, request: Request, shares: Mapping[str, bytes]) -> IntArray:
        crafted, profile = self.scene.attempts[request.listing.attempt], self.scene.case.profile
        key, count = crafted.key, crafted.encoding.plaintexts
        numbers = {holder: self.scene.stage.identities[holder].number for holder in shares}
        answers = {numbers[holder]: partial_of(key, count, share) for holder, share in shares.items()}
        answers |= self.scene.conspirators.partials(crafted.description.certificate, request.total)
        try:
            opened = combine(key, profile.threshold, profile.holders, request.total, answers)
        except Refused as refusal:
            raise AssertionError(f"t answers to {request.subject} do not open it: {refusal}") from refusal
        return deltas(crafted.encoding, opened.plaintexts, len(request.contributors))
