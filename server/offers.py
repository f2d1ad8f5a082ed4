"""The choice of the next round key: the lowest one that enough key holders have an unused share of."""

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
    """The keys that holders have offered for the next attempt.

    Args:
        used: the serial numbers that no attempt may use any more.
    """

    def __init__(self, used: Callable[[], frozenset[int]]) -> None:
        self.above = 0
        """Holders are asked for keys with larger serial numbers: each offers the first few of many."""
        self._used = used
        self._offers: dict[str, dict[int, Signed]] = {}

    @property
    def holders(self) -> int:
        """Number of holders that have offered keys."""
        return len(self._offers)

    def clear(self) -> None:
        """Forget all offers, for another attempt."""
        self._offers.clear()
        self.above = 0

    def turn_page(self, holders: Collection[str], needed: int) -> None:
        """Ask for the next page of keys if no offered one can be used and every connected holder has offered.

        A holder that was away has shares of keys that the others have used up since; the keys they have in common may
        come later. After the last page the first is asked for again, because new keys may be dealt. Keys passed over
        are lost, so the page is not turned while an offer is on its way.
        """
        if len(holders) >= needed and all(holder in self._offers for holder in holders):
            ends = [max(keys) for keys in self._offers.values() if len(keys) >= MOST_OFFERED]
            self._offers.clear()
            self.above = min(ends, default=0)

    def take(self, holder: str, keys: Iterable[Signed]) -> None:
        """Replace the earlier offer of this holder."""
        self._offers[holder] = {certificate_from_bytes(key.body).serial: key for key in keys}

    def choose(self, needed: int, scheme: str, bits: int, verifier: Verifier, today: int) -> Signed | None:
        """Return the usable key with the lowest serial number that `needed` holders offer alike, if there is one."""
        used = self._used()
        votes = Counter(offer for keys in self._offers.values() for offer in keys.items())
        shared = {serial: key for (serial, key), count in votes.items() if count >= needed and serial not in used}
        for _, key in sorted(shared.items()):
            if self._usable(key, scheme, bits, verifier, today):
                return key
        return None

    @staticmethod
    def _usable(signed: Signed, scheme: str, bits: int, verifier: Verifier, today: int) -> bool:
        try:
            certificate: KeyCertificate = verifier.verify_key(signed, today)
            verifier.verify_key_in_use(certificate)
        except Refused as refusal:
            log.warning("key not used", reason=refusal.reason.value, why=str(refusal))
            return False
        return certificate.key.is_of(scheme, bits)
