"""Deal round keys ahead: make a key, share it among the key holders, sign its certificate, and forget it.

The dealer could keep the keys and read everything; only its honesty prevents that (N1 of the threat model). So
the registrar deals, offline.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from core.commands import command_of
from core.errors import SettingsError
from core.identity import signing
from core.identity.members import Roster
from core.identity.party import SHARES
from core.identity.sealing import seal
from core.identity.signing import SigningKey
from core.protocol import KeyCertificate, Signed
from core.share_files import read_share, share_paths, write_share
from core.wire.messages import certificate_to_bytes
from registrar.dealing import deal

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

        A revoked holder gets none. Raises SettingsError if the folder of a holder is not here, or fewer than t holders
        are left; StorageError if a folder cannot be written.
        """
        left, needed = len(self.roster.active_holders), self.roster.threshold
        if left < needed:
            raise SettingsError(
                f"{left} key holders are not revoked, and {needed} are needed; put others in the place of the revoked "
                f"ones with {command_of('registrar')} replace-holder"
            )
        for serial in range(first, first + count):
            self._deal_one(serial, scheme, bits)
            yield serial

    def _deal_one(self, serial: int, scheme: str, bits: int) -> None:
        holders = self.roster.holders
        dealt = deal(scheme, bits, self.roster.threshold, len(holders))
        certificate = KeyCertificate(
            federation=self.roster.federation,
            serial=serial,
            key=dealt.public_key,
            threshold=self.roster.threshold,
            holders=len(holders),
            expires_day=self.today + DAYS,
            values=dealt.values,
        )
        body = certificate_to_bytes(certificate)
        signed = Signed(body, self.signing.sign(signing.KEY, body))
        for member, share in zip(holders, dealt.shares, strict=True):
            if member.revoked:
                continue  # its share is forgotten; the others are enough
            sealed = seal(member.sealing_key, share.to_bytes(), body)
            write_share(self._shares_of(member.name), serial, signed, sealed)

    def _shares_of(self, holder: str) -> Path:
        folder = self.folder_of(holder) / SHARES
        if not folder.is_dir():
            raise SettingsError(f"the folder of {holder} is not here, so it cannot be dealt a share: {folder}")
        return folder


def dealt_to_all(folders: Iterable[Path], scheme: str, bits: int, today: int) -> frozenset[int]:
    """Return the serial numbers of usable keys of a kind of which there is a share in each holder's folder.

    `today` is days since 1970-01-01. Raises DataError, or Refused, for a file that is no share.
    """
    found: list[frozenset[int]] = []
    for folder in folders:
        keys = [read_share(path).certificate for path in share_paths(folder / SHARES)]
        found.append(frozenset(c.serial for c in keys if _usable(c, scheme, bits, today)))
    return frozenset.intersection(*found)


def _usable(certificate: KeyCertificate, scheme: str, bits: int, today: int) -> bool:
    return certificate.key.is_of(scheme, bits) and certificate.expires_day >= today and certificate.provable
