"""The IDX format of the MNIST files: a magic number, the size of each axis, then one byte an entry.

bytes 0-1   0
byte  2     the type of an entry: 8 means an unsigned byte, the only one read here
byte  3     how many axes there are
then        the size of each axis, 4 bytes, big-endian
then        the entries in row-major order
"""

from __future__ import annotations

import math
import struct

import numpy as np
import numpy.typing as npt

from core.errors import DataError

UNSIGNED_BYTE = 8


def parse_idx(content: bytes, axes: int, name: str) -> npt.NDArray[np.uint8]:
    """Turn the unpacked content of an IDX file into an array.

    Args:
        name: what the sentence of an error calls the file.

    Raises:
        DataError: the magic number is another, or the length does not fit the sizes in the header.
    """
    header = 4 + 4 * axes
    expected = UNSIGNED_BYTE << 8 | axes
    if len(content) < header:
        raise DataError(f"{name} has {len(content)} bytes; the header of an IDX file with {axes} axes has {header}")
    magic, *shape = struct.unpack(f">{axes + 1}I", content[:header])
    if magic != expected:
        raise DataError(f"{name} begins with the magic number {magic}; expected {expected}")
    if len(content) - header != math.prod(shape):
        sizes = " x ".join(map(str, shape))
        raise DataError(f"{name} holds {len(content) - header} entries; its header says {sizes} = {math.prod(shape)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
