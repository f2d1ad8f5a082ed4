"""Which round key to use next: the lowest one that enough key holders have an unused share of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable

import structlog

from core.checks import Verifier
from core.errors import Refused
from core.protocol import MOST_OFFERED, KeyCertificate, Signed
from core.wire.messages import certificate_from_bytes

log = structlog.get_logger()


class KeyOffers:
    """What the holders have offered for the attempt that is to be opened next.

    Args:
        used: the serial numbers that no attempt may use any more.
    """

    def __init__(self, used: Callable[[], frozenset[int]]) -> None:
        self.above = 0
        """Holders are asked for keys with larger serial numbers: each offers the first few of many."""
        self._used = used
        self._offers: dict[str, dict[int, Signed]] = {}

    def clear(self) -> None:
        """Begin anew, for another attempt."""
        self._offers.clear()
        self.above = 0

    def turn_page(self, holders: Collection[str], needed: int) -> None:
        """Nothing that was offered can be used: if enough holders are there, and all of them have offered, go on.

        A holder that was away has shares of keys that the others have used up since; what they have in common may come
        later. At the end it begins from the start again, for new keys may be dealt. What is passed over is lost, so no
        page is turned while an offer is on its way.
        """
        if len(holders) >= needed and all(holder in self._offers for holder in holders):
            ends = [max(keys) for keys in self._offers.values() if len(keys) >= MOST_OFFERED]
            self._offers.clear()
            self.above = min(ends, default=0)

    def take(self, holder: str, keys: Iterable[Signed]) -> None:
        """Replace what a holder has offered before."""
        self._offers[holder] = {certificate_from_bytes(key.body).serial: key for key in keys}

    def choose(self, needed: int, scheme: str, bits: int, trust: Verifier, today: int) -> Signed | None:
        """The key with the lowest serial number that `needed` holders offer alike, if there is one that can be used."""
        used = self._used()
        votes = Counter(offer for keys in self._offers.values() for offer in keys.items())
        shared = {serial: key for (serial, key), count in votes.items() if count >= needed and serial not in used}
        for _, key in sorted(shared.items()):
            if self._usable(key, scheme, bits, trust, today):
                return key
        return None

    @staticmethod
    def _usable(signed: Signed, scheme: str, bits: int, trust: Verifier, today: int) -> bool:
        try:
            certificate: KeyCertificate = trust.verify_key(signed, today)
        except Refused as refusal:
            log.warning("key not used", reason=refusal.reason.value, why=str(refusal))
            return False
        return certificate.key.is_of(scheme, bits)
