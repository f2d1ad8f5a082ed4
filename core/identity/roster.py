"""The roster file: the list of members, signed by the registrar, of which every party has a copy.

Every party pins the registrar's public key. To change the members, the registrar signs the next version; the
aggregator hands it on, or a person replaces the file: nothing is started again. A party keeps the highest version it
has seen while it runs; started anew it believes the file it is given, so an old file must not be put back.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog

from core.errors import DataError, SettingsError, StorageError
from core.identity import signing, strict_json
from core.identity.files import PUBLIC, read_file, write_file
from core.identity.members import Member, Role, Roster

__all__ = ["LARGEST_ROSTER", "Member", "Role", "Roster", "RosterFile", "read_roster", "sign_roster"]

LARGEST_ROSTER = 1 << 23
"""Bytes of a roster file: some ten thousand members."""

log = structlog.get_logger()


def sign_roster(roster: Roster, key: signing.SigningKey) -> bytes:
    """Return the roster as a file: JSON for people, with the registrar's signature on the canonical form of the same.

    Raises SettingsError if there are more members than fit.
    """
    content = _to_json(roster)
    signature = key.sign(signing.ROSTER, strict_json.canonical(content))
    raw = as_file({"roster": content, "signature": signature.hex()})
    if len(raw) > LARGEST_ROSTER:
        raise SettingsError(f"the roster would have {len(raw)} bytes; the limit is {LARGEST_ROSTER}")
    return raw


def as_file(signed: dict[str, Any]) -> bytes:
    """Return a roster and its signature as the registrar writes them."""
    return json.dumps(signed, indent=2, allow_nan=False).encode() + b"\n"


@lru_cache(maxsize=2)  # where many parties share a process, they are given the same file
def read_roster(raw: bytes, registrar: bytes) -> Roster:
    """Return the roster in a file, if the holder of the key `registrar` (32 bytes) signed it.

    Raises DataError for a file too long, not exactly of the expected form, or of another signature, and for a roster
    that contradicts itself.
    """
    if len(raw) > LARGEST_ROSTER:
        raise DataError(f"the roster has {len(raw)} bytes; at most {LARGEST_ROSTER} are read")
    outer = strict_json.fields(
        strict_json.parse(raw, "the roster"), "the roster file", {"roster": dict, "signature": str}
    )
    signature = strict_json.from_hex(outer["signature"], "the roster's signature")
    if not signing.verify(registrar, signing.ROSTER, strict_json.canonical(outer["roster"]), signature):
        raise DataError("the roster is not signed by this federation's registrar, or was changed")
    try:
        return _from_json(outer["roster"])
    except SettingsError as error:
        raise DataError(f"the roster cannot be right: {error}") from error


class RosterFile:
    """The roster in the file `path`, as it is now. May be asked from several threads.

    `registrar_public` is the registrar's key, 32 bytes. Raises DataError when made if the file holds no good roster.
    Later a file that is missing, broken, of another federation, or older than what was seen, is warned of, once, and
    the roster seen before stays in force.
    """

    def __init__(self, path: Path, registrar_public: bytes) -> None:
        self._path = path
        self._registrar = registrar_public
        self._lock = threading.Lock()
        self._seen = _state_of(path)
        self._raw, self._roster = self._read()

    def current(self) -> Roster:
        """Return the newest roster seen. Costs one look at the file's time and size unless it was replaced."""
        with self._lock:
            # Before reading: what is written while we read changes it again, and is read the next time.
            state = _state_of(self._path)
            if state != self._seen:
                self._seen = state
                self._renew()
            return self._roster

    @property
    def raw(self) -> bytes:
        """The newest roster seen, as the file that the registrar signed."""
        self.current()
        return self._raw

    def accept(self, raw: bytes) -> bool:
        """Take over a newer roster that another party has handed on, and keep it in the file.

        Return whether it is newer; the same one again changes nothing. Raises DataError for one that the registrar did
        not sign, of another federation, or older than what was seen. Where the file cannot be written, the roster is in
        force as long as this process runs.
        """
        found = read_roster(raw, self._registrar)
        known = self.current()
        with self._lock:
            _check_follows(found, self._roster)
            if found.version == self._roster.version:
                return False
            try:
                write_file(self._path, raw, PUBLIC)
            except StorageError as error:
                log.warning("the new roster is not kept", version=found.version, why=str(error))
            self._seen = _state_of(self._path)
            self._raw, self._roster = raw, found
        log.info("a new roster is in force", version=found.version, instead_of=known.version)
        return True

    def _renew(self) -> None:
        try:
            raw, found = self._read()
            _check_follows(found, self._roster)
        except DataError as error:
            log.warning("the roster file was not taken over", version=self._roster.version, why=str(error))
            return
        if found.version > self._roster.version:
            log.info("a new roster is in force", version=found.version)
        self._raw, self._roster = raw, found

    def _read(self) -> tuple[bytes, Roster]:
        try:
            raw = read_file(self._path, LARGEST_ROSTER)
            return raw, read_roster(raw, self._registrar)
        except DataError as error:
            raise DataError(f"{self._path} is no good roster: {error}") from None

    def __repr__(self) -> str:
        return f"RosterFile({str(self._path)!r}, version {self._roster.version})"


def _check_follows(found: Roster, known: Roster) -> None:
    """Raise DataError unless `found` is `known` itself or a later version of it."""
    if found.federation != known.federation:
        raise DataError(f"it is of federation {found.federation}; expected {known.federation}")
    if found.version < known.version:
        raise DataError(f"it has version {found.version}; version {known.version} was seen before")
    if found.version == known.version and found != known:
        raise DataError(f"it differs from the roster seen before, and has the same version {found.version}")


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced or written; None if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


_ROSTER_FIELDS = {"federation": str, "version": int, "threshold": int, "members": list, "retired_keys": int}
_MEMBER_FIELDS = {
    "name": str, "role": str, "number": int, "signing_key": str, "sealing_key": str, "operator": str, "revoked": bool,
}  # fmt: skip


def _to_json(roster: Roster) -> dict[str, Any]:
    members = [
        asdict(member) | {"signing_key": member.signing_key.hex(), "sealing_key": member.sealing_key.hex()}
        for member in roster.members
    ]
    return {name: getattr(roster, name) for name in _ROSTER_FIELDS} | {"members": members}


def _from_json(value: Any) -> Roster:
    content = strict_json.fields(value, "the roster", _ROSTER_FIELDS)
    members = tuple(_member_from_json(member) for member in content["members"])
    return Roster(content["federation"], content["version"], content["threshold"], members, content["retired_keys"])


def _member_from_json(value: Any) -> Member:
    content = strict_json.fields(value, "a member of the roster", _MEMBER_FIELDS)
    name, role = content["name"], content["role"]
    if role not in set(Role):
        raise DataError(f"the role of {name[:80]!r} is {role[:80]!r}; known are {', '.join(Role)}")
    keys = {
        key: strict_json.from_hex(content[key], f"{key} of {name[:80]!r}") for key in ("signing_key", "sealing_key")
    }
    return Member(**(content | keys | {"role": Role(role)}))
