"""Key holders' signatures under one thing, kept such that all of them agree about one another's lives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from core.protocol import HolderSignature

MOST_RENEWALS = 5
"""How often one holder is asked for a newer signature under one thing."""


class Signatures:
    """The signatures of different holders, of which any t can be shown to others together."""

    def __init__(self, signatures: Iterable[HolderSignature] = ()) -> None:
        self._of = {each.holder: each for each in signatures}
        self._renewals: Counter[str] = Counter()

    def __contains__(self, holder: object) -> bool:
        return holder in self._of

    def all(self) -> tuple[HolderSignature, ...]:
        """Return the signatures, in the order of the holders' names."""
        return tuple(self._of[holder] for holder in sorted(self._of))

    def keep(self, signature: HolderSignature) -> None:
        """Keep a signature without comparing it with others."""
        self._of[signature.holder] = signature

    def take(self, new: HolderSignature, lives: dict[str, bytes]) -> list[str]:
        """Keep a signature, and forget those that do not go with it; return whose are to be renewed.

        A holder that started again has another life since. Of two signatures that do not agree, the outdated one is
        of a life that is over, or it knows the other signer in such a life.

        Args:
            lives: of the holders that are connected, by name.
        """
        outdated = [other for other in self._of if other != new.holder and not new.agrees_with(self._of[other])]
        known = dict(new.ledger.peers)
        if any(known.get(other) != self._of[other].ledger.life == lives.get(other) for other in outdated):
            self._of.pop(new.holder, None)
            return self._renewable([new.holder])
        for other in outdated:
            del self._of[other]
        self._of[new.holder] = new
        return self._renewable(outdated)

    def _renewable(self, holders: Iterable[str]) -> list[str]:
        self._renewals.update(holders)
        return [holder for holder in holders if self._renewals[holder] <= MOST_RENEWALS]
