"""Deal round keys ahead: make a key, share it among the key holders, sign its certificate, and forget it.

Whoever deals could keep the keys and read everything; nothing but its good will stops it (N1 of the threat model). So
the registrar deals, offline; or, where there is a single key holder, that holder, who can read everything anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import SettingsError
from core.identity import signing
from core.identity.members import Role, Roster
from core.identity.party import SHARES
from core.identity.sealing import seal
from core.identity.signing import SigningKey
from core.protocol import KeyCertificate, Signed
from core.secagg.dealing import deal
from core.wire.messages import certificate_to_bytes
from keyholder.shares import ENDING, share_name, write_share

DAYS = 90
"""For how long a round key may be used."""


@dataclass(frozen=True)
class Dealer:
    """Deals keys to all key holders of a roster.

    Attributes:
        folder_of: gives the folder of the holder of a name.
        today: days since 1970-01-01.
    """

    roster: Roster
    signing: SigningKey
    folder_of: Callable[[str], Path]
    today: int

    def deal(self, first: int, count: int, scheme: str, bits: int) -> Iterator[int]:
        """Deal `count` keys with the serial numbers from `first`; gives each number when all its shares are written.

        Raises SettingsError if the folder of a holder is not here, StorageError if it cannot be written.
        """
        for serial in range(first, first + count):
            self._deal_one(serial, scheme, bits)
            yield serial

    def _deal_one(self, serial: int, scheme: str, bits: int) -> None:
        holders = [self.roster.active(Role.KEYHOLDER, member.name) for member in self.roster.holders]
        dealt = deal(scheme, bits, self.roster.threshold, len(holders))
        certificate = KeyCertificate(
            federation=self.roster.federation,
            serial=serial,
            key=dealt.public_key,
            threshold=self.roster.threshold,
            holders=len(holders),
            expires_day=self.today + DAYS,
        )
        body = certificate_to_bytes(certificate)
        signed = Signed(body, self.signing.sign(signing.KEY, body))
        for member, share in zip(holders, dealt.shares, strict=True):
            sealed = seal(member.sealing_key, share.to_bytes(), body)
            write_share(self._shares_of(member.name), serial, signed, sealed)

    def _shares_of(self, holder: str) -> Path:
        folder = self.folder_of(holder) / SHARES
        if not folder.is_dir():
            raise SettingsError(f"the folder of {holder} is not here, so it cannot be dealt a share: {folder}")
        return folder


def highest_serial(folder: Path) -> int:
    """The highest serial number among the shares in a holder's folder; 0 if there are none."""
    names = (path.name.removesuffix(ENDING) for path in (folder / SHARES).glob(f"*{ENDING}"))
    found = [int(name) for name in names if name.isdecimal() and share_name(int(name)) == f"{name}{ENDING}"]
    return max(found, default=0)
