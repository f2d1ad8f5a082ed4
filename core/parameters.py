"""A model's parameters as one flat vector, and named arrays as a file.

The flat vector is what federated learning averages, clips and encrypts; its layout is the model's
`named_parameters`, one after the other, each in row-major order.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from core.errors import DataError, StorageError
from core.nn import Module
from core.ops import Array

Layout = tuple[tuple[str, tuple[int, ...]], ...]


class FlatParameters:
    """A module's parameters as one vector. What is needed again and again, names and sizes, is looked up once."""

    def __init__(self, module: Module) -> None:
        self._named = list(module.named_parameters())
        self.size = sum(parameter.size for _, parameter in self._named)

    def read(self) -> npt.NDArray[np.float64]:
        """Copy all parameters into one vector of float64, shape (W,)."""
        vector = np.empty(self.size)
        start = 0
        for _, parameter in self._named:
            vector[start : start + parameter.size] = parameter.data.reshape(-1)
            start += parameter.size
        return vector

    def write(self, vector: npt.ArrayLike) -> None:
        """Overwrite all parameters from a vector of shape (W,); each keeps its dtype.

        Raises ValueError, and changes nothing, if the length is not W or a number is not finite in its
        parameter's dtype.
        """
        vector = np.asarray(vector)
        if vector.shape != (self.size,):
            raise ValueError(f"a vector of shape {vector.shape} does not fit {self.size} parameters")
        arrays, start = [], 0
        with np.errstate(over="ignore"):  # what overflows a smaller float is found and refused
            for name, parameter in self._named:
                array = vector[start : start + parameter.size].astype(parameter.dtype, copy=False)
                if not np.isfinite(array).all():
                    raise ValueError(f"{name} would hold a number that is not finite in {array.dtype}")
                arrays.append(array)
                start += parameter.size
        for (_, parameter), array in zip(self._named, arrays, strict=True):
            parameter.data[...] = array.reshape(parameter.shape)
            parameter.mark_changed()


def layout(module: Module) -> Layout:
    """Return name and shape of each parameter, in the order of the flat vector."""
    return tuple((name, parameter.shape) for name, parameter in module.named_parameters())


def to_vector(module: Module) -> npt.NDArray[np.float64]:
    """Copy all parameters into one vector of float64, shape (W,)."""
    return FlatParameters(module).read()


def from_vector(module: Module, vector: npt.ArrayLike) -> None:
    """Overwrite all parameters from a vector of shape (W,). Raises ValueError as `FlatParameters.write`."""
    FlatParameters(module).write(vector)


def save_npz(path: Path, arrays: Mapping[str, npt.ArrayLike]) -> None:
    """Write named arrays to a file, whole or not at all; the same arrays give the same bytes.

    Raises StorageError if it cannot be written.
    """
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **dict(arrays))
        partial.replace(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error}") from error


def load_npz(path: Path) -> dict[str, Array]:
    """Read named arrays; raise DataError if the file is missing or is no file of plain arrays."""
    try:
        with path.open("rb") as file:
            return _read_arrays(file)
    except FileNotFoundError:
        raise DataError(f"there is no file {path}") from None
    except OSError as error:
        raise DataError(f"{path} is not a readable file: {error.strerror or error}") from error
    except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is not a readable file of plain named arrays (.npz)") from error


def _read_arrays(file: BinaryIO) -> dict[str, Array]:
    content = np.load(file, allow_pickle=False)
    if not isinstance(content, np.lib.npyio.NpzFile):
        raise ValueError("it holds a single array")  # noqa: TRY004  the file's fault, not the caller's
    arrays = {name: content[name] for name in content.files}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{name} is no array")  # noqa: TRY004
    return arrays
