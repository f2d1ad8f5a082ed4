"""What a client remembers of key holders' ledgers, so that it notices one that was restored from an old copy.

Every signature of a key holder says which entry of its ledger it is about, and in which life of the holder's program. A
life that a client has not seen yet began after all those that it has, so its entries have higher numbers; unless the
ledger has lost some. Other key holders notice that first (keyholder/starting.py), as long as they remember themselves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from core.checks import Verifier, have_quorum
from core.errors import DataError, Reason
from core.identity import strict_json
from core.identity.files import SECRET, read_file, write_file
from core.protocol import HolderSignature

FILE = "ledgers.json"
LARGEST_FILE = 1 << 20
LIVES_KEPT = 100


class SeenLedgers:
    """The newest entry that was seen of each key holder, in each of its lives; kept in `folder`, if one is given.

    Raises DataError when made if the file in the folder is damaged.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / FILE
        self._lives: dict[str, dict[str, int]] = {}
        """By holder and life (hexadecimal): the highest number seen."""
        if self._path is not None and self._path.exists():
            self._lives = _read(self._path)

    def require_fresh(self, verifier: Verifier, signatures: Sequence[HolderSignature], *, agreed: bool) -> None:
        """Refuse what fewer than t holders have signed whose ledgers are not older than what was seen of them.

        Args:
            signatures: that hold; `agreed` says whether the signers must agree about one another's lives as well.

        Raises Refused(STALE_LEDGER).
        """
        fresh = [each for each in signatures if not self._is_stale(each)]
        stale = sorted({each.holder for each in signatures} - {each.holder for each in fresh})
        threshold = verifier.roster.threshold
        verifier.require(
            not stale or (have_quorum(fresh, threshold) if agreed else len(fresh) >= threshold),
            Reason.STALE_LEDGER,
            f"{', '.join(stale)} signed with a ledger older than what was seen of it before; restored from a copy?",
        )
        for each in fresh:
            lives = self._lives.setdefault(each.holder, {})
            number = max(each.ledger.head.number, lives.pop(each.ledger.life.hex(), 0))
            lives[each.ledger.life.hex()] = number

    def _is_stale(self, signature: HolderSignature) -> bool:
        lives = self._lives.get(signature.holder, {})
        known = signature.ledger.life.hex() in lives
        return not known and signature.ledger.head.number <= max(lives.values(), default=0)

    def save(self) -> None:
        """Write down what was seen, durably. Raises StorageError."""
        if self._path is not None:
            kept = {holder: dict([*lives.items()][-LIVES_KEPT:]) for holder, lives in self._lives.items()}
            write_file(self._path, json.dumps(kept, allow_nan=False).encode() + b"\n", SECRET)


def _read(path: Path) -> dict[str, dict[str, int]]:
    found = strict_json.parse(read_file(path, LARGEST_FILE), str(path))
    right = isinstance(found, dict) and all(
        isinstance(lives, dict) and all(isinstance(number, int) for number in lives.values())
        for lives in found.values()
    )
    if not right:
        raise DataError(f"{path} does not say what was seen of key holders' ledgers; delete it to forget that")
    return found  # type: ignore[no-any-return]
