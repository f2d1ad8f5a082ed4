"""A key holder's folder of shares, one file a round key; a share leaves it once, and is then destroyed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import structlog

from core.errors import DataError, GrokfedError, Reason, Refused, StorageError
from core.identity.party import SHARES, PartyIdentity
from core.protocol import KeyCertificate
from core.secagg.key_share import KeyShare
from core.share_files import ShareFile, read_share, share_name, share_paths

log = structlog.get_logger()


class Shares:
    """The shares in the folder of one key holder. Files that are no shares are left alone, with a warning."""

    def __init__(self, identity: PartyIdentity) -> None:
        self._identity = identity
        self._folder = identity.folder / SHARES
        self._seen: dict[str, ShareFile] = {}

    def dealt(self) -> list[ShareFile]:
        """Return the keys of which there are shares, by serial number; new files are noticed."""
        names = [path.name for path in share_paths(self._folder)]
        self._seen = {name: self._seen[name] for name in names if name in self._seen}
        for name in names:
            if name not in self._seen:
                try:
                    self._seen[name] = read_share(self._folder / name)
                except GrokfedError as error:
                    log.warning("not a share", file=name, why=str(error))
        return [self._seen[name] for name in names if name in self._seen]

    def has(self, certificate: KeyCertificate) -> bool:
        """Return whether there is a share of exactly this key."""
        return any(key.certificate == certificate for key in self.dealt())

    def open(self, certificate: KeyCertificate) -> KeyShare:
        """This holder's share of a key. Raises Refused(UNKNOWN_KEY) if it is not here or does not fit."""
        name = share_name(certificate.serial)
        if not self.has(certificate) or self._identity.sealing is None:
            raise Refused(Reason.UNKNOWN_KEY, f"there is no share of the key {certificate.serial} here (any more)")
        try:
            file = read_share(self._folder / name)
            raw = self._identity.sealing.open(file.sealed, file.signed.body)
        except DataError as error:  # a reason to decline this sum, not to end
            raise Refused(Reason.UNKNOWN_KEY, f"the share in {name} cannot be used: {error}") from error
        share = KeyShare.from_bytes(raw)
        expected = (certificate.key, certificate.threshold, certificate.holders, self._identity.number)
        if (share.public_key, share.threshold, share.holders, share.holder) != expected:
            raise Refused(Reason.UNKNOWN_KEY, f"the share in {name} is not this holder's of the certified key")
        return share

    def present(self, serials: Iterable[int]) -> list[int]:
        """Return those of these serial numbers of which there is a file, whatever is in it."""
        names = {path.name for path in share_paths(self._folder)}
        return [serial for serial in serials if share_name(serial) in names]

    def destroy(self, serial: int) -> None:
        """Overwrite a share and remove its file. (What a disk or a backup keeps of it is out of reach.)"""
        path = self._folder / share_name(serial)
        try:
            with suppress(FileNotFoundError), path.open("r+b") as file:
                file.write(bytes(path.stat().st_size))
                file.flush()
                os.fsync(file.fileno())
            path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"the used share {path} cannot be destroyed: {error.strerror}") from error
