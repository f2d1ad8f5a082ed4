"""What the registrar remembers of its invitations: one file each, named by the invitation's public key.

    registrar/invitations/PUBLIC-KEY.json

The token is not in it. An invitation is for one party, or for several clients that the registrar names. It is used up
when it has admitted as many; the requests it admitted are remembered, so that the same request gets the same answer
again, and another gets none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from core.errors import DataError, SettingsError, StorageError
from core.identity import strict_json
from core.identity.files import SECRET, read_file, write_file
from core.identity.members import Member, Role
from registrar.folder import INVITATIONS, make_folder

MOST_CLIENTS_INVITED = 1000
"""By one invitation."""
LARGEST_RECORD = 1 << 22
_ADMISSION = {
    "request": str, "name": str, "number": int, "signing_key": str, "sealing_key": str, "certificate": str,
    "enrolled": bool,
}  # fmt: skip


@dataclass(frozen=True)
class Admission:
    """A request that was admitted.

    Attributes:
        request: its digest.
        certificate: PEM.
        enrolled: whether the party was put into a roster.
    """

    request: bytes
    name: str
    number: int
    signing_key: bytes = field(repr=False)
    sealing_key: bytes = field(repr=False)
    certificate: str = field(repr=False)
    enrolled: bool = False


@dataclass(frozen=True)
class InvitationRecord:
    """An invitation as the registrar knows it.

    Attributes:
        id: its public key, 32 bytes.
        name: of the party, or what the names of several clients begin with: PREFIX-1, PREFIX-2, ...
        first: the number of the party, or of the first of several.
        count: how many it admits.
        several: whether the registrar chooses the names.
        expires: seconds since 1970-01-01.
    """

    id: bytes
    role: Role
    name: str
    first: int
    count: int
    several: bool
    operator: str
    expires: int
    admissions: tuple[Admission, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names it may give, or has given."""
        return tuple(self.name_of(number) for number in range(self.first, self.first + self.count))

    def name_of(self, number: int) -> str:
        return f"{self.name}-{number}" if self.several else self.name

    @property
    def used_up(self) -> bool:
        return len(self.admissions) >= self.count

    def open_at(self, now: datetime) -> bool:
        """Return whether it still admits a party."""
        return not self.used_up and now.timestamp() <= self.expires

    def admitted(self, request: bytes) -> Admission | None:
        """Return the admission of the request with this digest, if there was one."""
        return next((each for each in self.admissions if each.request == request), None)

    def member(self, admission: Admission) -> Member:
        """Return what the roster says of a party that was admitted."""
        return Member(
            admission.name, self.role, admission.number, admission.signing_key, admission.sealing_key, self.operator
        )

    def all_enrolled(self) -> InvitationRecord:
        """Return the record once all admitted parties are in the roster."""
        return replace(self, admissions=tuple(replace(each, enrolled=True) for each in self.admissions))


class Invitations:
    """The records in the registrar's folder. Change them under its lock only."""

    def __init__(self, registrar_folder: Path) -> None:
        self._folder = registrar_folder / INVITATIONS

    def write(self, record: InvitationRecord) -> None:
        """Keep a record, durably. Raises StorageError."""
        if not self._folder.is_dir():
            make_folder(self._folder)
        content: dict[str, Any] = asdict(record)
        content["id"] = record.id.hex()
        content["admissions"] = [
            asdict(each) | {name: getattr(each, name).hex() for name in ("request", "signing_key", "sealing_key")}
            for each in record.admissions
        ]
        write_file(self._path(record.id), json.dumps(content, indent=1, allow_nan=False).encode() + b"\n", SECRET)

    def find(self, id: bytes) -> InvitationRecord | None:
        """Return the record of an invitation, if it was made here. Raises DataError for a damaged one."""
        path = self._path(id)
        return self._read(path) if path.is_file() else None

    def all(self) -> Iterator[InvitationRecord]:
        """Yield every record. Raises DataError for a damaged one."""
        if self._folder.is_dir():
            for path in sorted(self._folder.glob("*.json")):
                yield self._read(path)

    def cancel(self, record: InvitationRecord) -> None:
        """Let an invitation admit no more than it has; without an admission, it is forgotten. Raises StorageError."""
        if record.admissions:
            self.write(replace(record, count=len(record.admissions)))
            return
        try:
            self._path(record.id).unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{self._path(record.id)} cannot be removed: {error.strerror}") from error

    def _path(self, id: bytes) -> Path:
        return self._folder / f"{id.hex()}.json"

    def _read(self, path: Path) -> InvitationRecord:
        types = {
            "id": str, "role": str, "name": str, "first": int, "count": int, "several": bool, "operator": str,
            "expires": int, "admissions": list,
        }  # fmt: skip
        what = str(path)
        content = strict_json.fields(strict_json.parse(read_file(path, LARGEST_RECORD), what), what, types)
        if content["role"] not in set(Role):
            raise DataError(f"the role in {what} is {content['role'][:80]!r}; known are {', '.join(Role)}")
        admissions = tuple(_admission(each, what) for each in content["admissions"])
        id = strict_json.from_hex(content["id"], f"the number in {what}")
        return InvitationRecord(**(content | {"id": id, "role": Role(content["role"]), "admissions": admissions}))


def check_count(count: int) -> None:
    """Raise SettingsError unless one invitation may be for this many clients."""
    if not 1 <= count <= MOST_CLIENTS_INVITED:
        raise SettingsError(f"{count} clients are to be invited; expected 1 to {MOST_CLIENTS_INVITED}")


def expiry(days: int, now: datetime) -> int:
    """Return when an invitation expires that is good for `days`, in seconds since 1970-01-01."""
    return int(now.astimezone(UTC).timestamp()) + days * 86400


def _admission(value: Any, what: str) -> Admission:
    content = strict_json.fields(value, f"an admission in {what}", _ADMISSION)
    keys = {
        name: strict_json.from_hex(content[name], f"{name} in {what}")
        for name in ("request", "signing_key", "sealing_key")
    }
    return Admission(**(content | keys))
