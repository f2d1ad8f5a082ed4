"""The registrar's answer to an enrolment request: the certificate, and all that the newcomer's folder needs.

    {"answer":    {"federation", "request", "role", "name", "number", "certificate", "address"},
     "signature": the registrar's, on the canonical form of "answer",
     "roster":    the text of the roster file, which has a signature of its own}

Nothing in it is secret.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from core.errors import DataError
from core.identity import signing, strict_json
from core.identity.members import Role, Roster
from core.identity.roster import LARGEST_ROSTER, read_roster
from core.identity.signing import SigningKey

LARGEST_ANSWER = 2 * LARGEST_ROSTER
"""Bytes; a roster file in an answer is written as one JSON text, which doubles its line ends and quotation marks."""
_FIELDS = {
    "federation": str, "request": str, "role": str, "name": str, "number": int, "certificate": str, "address": str,
}  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """What the registrar says to one request.

    Attributes:
        request: the digest of the request.
        certificate: PEM.
        address: of the aggregator, HOST:PORT.
        roster_file: the signed roster, as it belongs into the folder.
    """

    federation: str
    request: bytes
    role: Role
    name: str
    number: int
    certificate: str = field(repr=False)
    address: str
    roster_file: bytes = field(repr=False)

    def sign(self, key: SigningKey) -> bytes:
        """Return the answer as a file."""
        content = {name: getattr(self, name) for name in _FIELDS} | {"request": self.request.hex()}
        signature = key.sign(signing.ANSWER, strict_json.canonical(content))
        whole = {"answer": content, "signature": signature.hex(), "roster": self.roster_file.decode()}
        return json.dumps(whole, allow_nan=False).encode() + b"\n"


def read_answer(raw: bytes, registrar: bytes) -> tuple[Answer, Roster]:
    """Return the answer and its roster, if the holder of the key `registrar` (32 bytes) signed both.

    Raises DataError for a file too long, not exactly of this form, or of another signature.
    """
    if len(raw) > LARGEST_ANSWER:
        raise DataError(f"the registrar's answer has {len(raw)} bytes; at most {LARGEST_ANSWER} are read")
    what = "the registrar's answer"
    outer = strict_json.fields(strict_json.parse(raw, what), what, {"answer": dict, "signature": str, "roster": str})
    signature = strict_json.from_hex(outer["signature"], "the answer's signature")
    if not signing.verify(registrar, signing.ANSWER, strict_json.canonical(outer["answer"]), signature):
        raise DataError(
            "the answer is not signed by the registrar of the invitation: it is another federation's, or was changed"
        )
    content = strict_json.fields(outer["answer"], what, _FIELDS)
    if content["role"] not in set(Role):
        raise DataError(f"the role in {what} is {content['role'][:80]!r}; known are {', '.join(Role)}")
    roster_file = outer["roster"].encode(errors="replace")
    values = {
        "request": strict_json.from_hex(content["request"], f"the request in {what}"), "role": Role(content["role"]),
        "roster_file": roster_file,
    }  # fmt: skip
    return Answer(**(content | values)), read_roster(roster_file, registrar)
