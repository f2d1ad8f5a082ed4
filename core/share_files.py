"""Files of key shares: the registrar writes one for each round key into each holder's folder, and holders read them.

A file holds the key's certificate in clear and the holder's share of the key, sealed to that holder.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.message import DecodeError

from core.errors import DataError
from core.identity.files import SECRET, read_file, write_file
from core.protocol import KeyCertificate, Signed
from core.wire import federation_pb2 as pb
from core.wire.messages import certificate_from_bytes, signed_key_from_wire, signed_key_to_wire

ENDING = ".share"
LARGEST_SHARE = 1 << 16
"""Bytes that a file may have."""


@dataclass(frozen=True, repr=False)
class ShareFile:
    """What a file holds.

    Attributes:
        signed: the key's certificate, as it travels.
        certificate: the same as plain data.
        sealed: the share, which only its holder can open.
    """

    signed: Signed
    certificate: KeyCertificate
    sealed: bytes

    def __repr__(self) -> str:
        return f"ShareFile(key {self.certificate.serial}, {len(self.sealed)} bytes sealed)"


def share_name(serial: int) -> str:
    """Return the name of the file with a holder's share of one key."""
    return f"{serial:08d}{ENDING}"


def share_paths(folder: Path) -> list[Path]:
    """Return the files of shares in a folder, by serial number; whether they can be read is not looked at."""
    try:
        with os.scandir(folder) as entries:
            return [folder / name for name in sorted(entry.name for entry in entries) if name.endswith(ENDING)]
    except FileNotFoundError:
        return []


def write_share(folder: Path, serial: int, key: Signed, sealed: bytes) -> None:
    """Put a sealed share into a folder, whole or not at all. Raises StorageError."""
    message = pb.DealtShare(key=signed_key_to_wire(key), sealed=sealed)
    write_file(folder / share_name(serial), message.SerializeToString(deterministic=True), SECRET)


def read_share(path: Path) -> ShareFile:
    """Read a file. Raises DataError, or Refused, for one that holds no share; StorageError."""
    message = pb.DealtShare()
    try:
        message.ParseFromString(read_file(path, LARGEST_SHARE))
    except DecodeError as error:
        raise DataError(f"{path} is not a key share") from error
    signed = signed_key_from_wire(message.key)
    return ShareFile(signed, certificate_from_bytes(signed.body), message.sealed)
