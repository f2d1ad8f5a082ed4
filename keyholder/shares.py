"""A key holder's folder of shares, one file a round key; a share leaves it once, and is then destroyed."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog
from google.protobuf.message import DecodeError

from core.errors import DataError, GrokfedError, Reason, Refused, StorageError
from core.identity.files import SECRET, read_file, write_file
from core.identity.party import SHARES, PartyIdentity
from core.protocol import KeyCertificate, Signed
from core.secagg.key_share import KeyShare
from core.wire import federation_pb2 as pb
from core.wire.messages import certificate_from_bytes, signed_key_from_wire, signed_key_to_wire

log = structlog.get_logger()
ENDING = ".share"
LARGEST_SHARE = 1 << 16


def share_name(serial: int) -> str:
    """Name of the file with a holder's share of one key."""
    return f"{serial:08d}{ENDING}"


def write_share(folder: Path, serial: int, key: Signed, sealed: bytes) -> None:
    """Put a sealed share into a holder's folder, whole or not at all. Raises StorageError."""
    message = pb.DealtShare(key=signed_key_to_wire(key), sealed=sealed)
    write_file(folder / share_name(serial), message.SerializeToString(deterministic=True), SECRET)


@dataclass(frozen=True)
class DealtKey:
    """A key of which there is a share here: its certificate, as it travels and as plain data."""

    signed: Signed
    certificate: KeyCertificate


class Shares:
    """The shares in the folder of one key holder. Files that are no shares are left alone, with a warning."""

    def __init__(self, identity: PartyIdentity) -> None:
        self._identity = identity
        self._folder = identity.folder / SHARES
        self._seen: dict[str, DealtKey] = {}

    def dealt(self) -> list[DealtKey]:
        """The keys of which there are shares, by serial number; new files are noticed."""
        names = sorted(path.name for path in self._folder.glob(f"*{ENDING}"))
        self._seen = {name: self._seen[name] for name in names if name in self._seen}
        for name in names:
            if name not in self._seen:
                try:
                    self._seen[name] = _dealt_key(self._message(name))
                except GrokfedError as error:
                    log.warning("not a share", file=name, why=str(error))
        return [self._seen[name] for name in names if name in self._seen]

    def has(self, certificate: KeyCertificate) -> bool:
        """Whether there is a share of exactly this key."""
        return any(key.certificate == certificate for key in self.dealt())

    def open(self, certificate: KeyCertificate) -> KeyShare:
        """This holder's share of a key. Raises Refused(UNKNOWN_KEY) if it is not here or does not fit."""
        name = share_name(certificate.serial)
        if not self.has(certificate) or self._identity.sealing is None:
            raise Refused(Reason.UNKNOWN_KEY, f"there is no share of the key {certificate.serial} here (any more)")
        try:
            message = self._message(name)
            raw = self._identity.sealing.open(message.sealed, message.key.certificate)
        except DataError as error:  # a reason to decline this sum, not to end
            raise Refused(Reason.UNKNOWN_KEY, f"the share in {name} cannot be used: {error}") from error
        share = KeyShare.from_bytes(raw)
        expected = (certificate.key, certificate.threshold, certificate.holders, self._identity.number)
        if (share.public_key, share.threshold, share.holders, share.holder) != expected:
            raise Refused(Reason.UNKNOWN_KEY, f"the share in {name} is not this holder's of the certified key")
        return share

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

    def _message(self, name: str) -> pb.DealtShare:
        return _message(self._folder / name)


def _message(path: Path) -> pb.DealtShare:
    message = pb.DealtShare()
    try:
        message.ParseFromString(read_file(path, LARGEST_SHARE))
    except DecodeError as error:
        raise DataError(f"{path} is not a key share") from error
    return message


def dealt_to_all(folders: Iterable[Path], scheme: str, bits: int, today: int) -> frozenset[int]:
    """Serial numbers of the keys of this kind, not yet expired, that have a share in each of these parties' folders.

    `today` is days since 1970-01-01. Raises DataError for a file that is no share.
    """
    found: list[frozenset[int]] = []
    for folder in folders:
        keys = [_dealt_key(_message(path)).certificate for path in (folder / SHARES).glob(f"*{ENDING}")]
        found.append(frozenset(c.serial for c in keys if c.key.is_of(scheme, bits) and c.expires_day >= today))
    return frozenset.intersection(*found)


def _dealt_key(message: pb.DealtShare) -> DealtKey:
    signed = signed_key_from_wire(message.key)
    return DealtKey(signed, certificate_from_bytes(signed.body))
