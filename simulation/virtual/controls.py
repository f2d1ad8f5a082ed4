"""The control variates c_i of virtual clients in a run with SCAFFOLD: one file of numbers that all workers share.

Nothing else in a run of virtual clients is kept of any of them. This is: each client that took part leaves two vectors
of the model's length, 16 bytes a weight. The file is sparse, so clients that were never drawn take no room on the disk.

Two vectors, because a block may be done again: by another worker when one dies, or by a run that goes on after an
interruption in the middle of a round. What a round finds is what the rounds before it left, whatever was begun since.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from core.errors import SettingsError, StorageError
from core.wording import counted

FloatArray = npt.NDArray[np.float64]
FILE = "controls.bin"
PLACES = 2


@dataclass(frozen=True)
class Controls:
    """The file at `path` for clients 1 to `clients`, of models with so many weights."""

    path: Path
    clients: int
    values: int

    @property
    def _place(self) -> np.dtype[Any]:
        """What one of a client's two places holds: c_i, and the round that left it; 0 for none."""
        return np.dtype([("round", "<i8"), ("control", "<f8", (self.values,))])

    def prepare(self, most: int) -> None:
        """Make the file, or keep the one there is.

        Args:
            most: how many clients can take part in the run.

        Raises SettingsError if the disk has no room for what they leave, StorageError if there can be no such file.
        """
        size = PLACES * self._place.itemsize
        try:
            free = shutil.disk_usage(self.path.parent).free
            if size * most > free:
                raise SettingsError(
                    f"--rule scaffold keeps {size:,} bytes of each client that takes part, {size * most:,} bytes of up "
                    f"to {counted(most, 'client')}, and the disk of {self.path.parent} has {free:,} left; give --out "
                    "on another one, or a smaller --cohort"
                )
            with self.path.open("ab") as file:
                file.truncate(size * self.clients)
        except OSError as error:
            raise StorageError(
                f"{self.path} cannot hold the control variates of {counted(self.clients, 'client')}: {error.strerror}"
            ) from error

    def before(self, number: int, round_number: int) -> FloatArray:
        """Return c_i of one client before a round, shape (values,): what its last earlier round left, or 0."""
        places = self._places(number)
        earlier = [(int(each["round"]), place) for place, each in enumerate(places) if each["round"] < round_number]
        found, place = max(earlier, default=(0, 0))
        return np.array(places[place]["control"]) if found else np.zeros(self.values)

    def keep(self, number: int, round_number: int, control: FloatArray) -> None:
        """Write down c_i of one client after a round, shape (values,), and keep what that round found."""
        places = self._places(number)
        rounds = [int(each) for each in places["round"]]
        found = max((each for each in rounds if each < round_number), default=0)
        place = 1 if rounds[0] == found else 0
        places["round"][place] = 0  # not to be read while it is written
        places["control"][place] = control
        places["round"][place] = round_number

    def _places(self, number: int) -> Any:
        """Map the two places of one client into memory. Raises StorageError."""
        try:
            offset = (number - 1) * PLACES * self._place.itemsize
            return np.memmap(self.path, self._place, "r+", offset, (PLACES,))
        except (OSError, ValueError) as error:
            raise StorageError(f"{self.path} cannot be used: {error}") from error
