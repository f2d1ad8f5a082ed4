"""A backup of the holders' shares of one key, which is put back after they were used and destroyed."""

from __future__ import annotations

from core.identity.files import SECRET, write_file
from core.identity.party import SHARES
from core.share_files import share_name
from experiments.cheating_server.stage import Stage


class Backup:
    """The share files of one key as they are now. Their owners make it, not the attacker: it helps them against loss,
    and it undoes what destroying a used share was good for."""

    def __init__(self, stage: Stage, serial: int) -> None:
        paths = [stage.folder / holder / SHARES / share_name(serial) for holder in stage.holders]
        self._content = {path: path.read_bytes() for path in paths}

    def restore(self) -> None:
        for path, raw in self._content.items():
            write_file(path, raw, SECRET)
