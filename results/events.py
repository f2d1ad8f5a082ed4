"""TensorBoard's event files, written by hand: records of length, checksum, content, checksum.

The content is a message of tensorflow/core/util/event.proto; only its fields for time, step and plain numbers are used.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from core.errors import StorageError

FILE = "events.out.tfevents.0.grokfed"
VERSION = b"brain.Event:2"
_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed


def _table() -> list[int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = number >> 1 ^ (_POLYNOMIAL if number & 1 else 0)
        table.append(number)
    return table


_TABLE = _table()


def write_events(folder: Path, rows: Iterable[tuple[float, int, Mapping[str, float]]]) -> None:
    """Write one event file: for each row its time (seconds since 1970), its step, and its numbers by name.

    Raises StorageError.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / FILE).open("wb") as file:
            file.write(record(event(0.0, 0, version=VERSION)))
            for seconds, step, numbers in rows:
                file.write(record(event(seconds, step, numbers)))
    except OSError as error:
        raise StorageError(f"{folder / FILE} cannot be written: {error.strerror}") from error


def record(content: bytes) -> bytes:
    """Return content as one record of the file (TFRecord)."""
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", masked(crc32c(length))) + content + struct.pack("<I", masked(crc32c(content)))


def event(seconds: float, step: int, numbers: Mapping[str, float] | None = None, version: bytes = b"") -> bytes:
    """Return an Event: wall_time (field 1), step (2), and file_version (3) or summary (5)."""
    content = b"\x09" + struct.pack("<d", seconds) + b"\x10" + _varint(step)
    if version:
        return content + b"\x1a" + _sized(version)
    values = [
        b"\x0a" + _sized(b"\x0a" + _sized(name.encode()) + b"\x15" + struct.pack("<f", number))
        for name, number in (numbers or {}).items()
    ]
    return content + b"\x2a" + _sized(b"".join(values))


def crc32c(content: bytes) -> int:
    """Return the checksum CRC-32C (RFC 3720, appendix B.4)."""
    found = 0xFFFFFFFF
    for byte in content:
        found = found >> 8 ^ _TABLE[(found ^ byte) & 0xFF]
    return found ^ 0xFFFFFFFF


def masked(checksum: int) -> int:
    """Return a checksum as TFRecord stores it: rotated, plus a constant."""
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _sized(content: bytes) -> bytes:
    return _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)
