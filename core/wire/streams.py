"""Carry long payloads as bounded pieces, and take them in without ever holding more than was agreed.

The streamed messages (Chunk, SubmitRequest, ReleaseRequest, RosterOffer) have one shape: a header first, then data.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from core.errors import Reason, Refused, StorageError
from core.protocol import HolderSignature, digest
from core.wire import federation_pb2 as pb
from core.wire.holder_messages import holder_signatures_from_wire, holder_signatures_to_wire
from core.wire.messages import state_digest_from_wire

PIECE_BYTES = 256 * 1024
MODEL_DTYPE = "<f8"

BATCH_BYTES = 4 << 20
"""What may be asked for in one call if it is of several clients."""

FloatArray = npt.NDArray[np.float64]


def pieces(payload: bytes) -> Iterator[bytes]:
    """Cut a payload into pieces of at most PIECE_BYTES."""
    view = memoryview(payload)
    for start in range(0, len(payload), PIECE_BYTES):
        yield bytes(view[start : start + PIECE_BYTES])


SHORT_BYTES = 64 * 1024
"""A payload that goes up in one message, with its header."""


def updates_at_once(length: int) -> int:
    """Return how many updates of at most `length` bytes may be asked for in one call."""
    return max(1, BATCH_BYTES // length)


class Assembly:
    """Take in the pieces of one payload of declared length and digest.

    Args:
        into: where the pieces go, a file that can be read back; memory if left out.

    Raises Refused(WRONG_LENGTH) as soon as more arrives than declared or than `limit` allows, and at the end
    Refused(WRONG_LENGTH or WRONG_DIGEST) unless the whole is what was declared.
    """

    def __init__(self, length: int, sha256: bytes, limit: int, into: BinaryIO | None = None) -> None:
        if length > limit:
            raise Refused(Reason.WRONG_LENGTH, f"a payload of {length} bytes was announced; at most {limit} are taken")
        self._length = length
        self._sha256 = sha256
        self._file = io.BytesIO() if into is None else into
        self._arrived = 0
        self._digest = hashlib.sha256()

    def take(self, piece: bytes) -> None:
        """Take in one more piece. Raises Refused as said above, and StorageError if it cannot be kept."""
        if not 0 < len(piece) <= PIECE_BYTES:
            sentence = f"a piece has {len(piece)} bytes; expected 1 to {PIECE_BYTES}"
            raise Refused(Reason.MALFORMED, sentence)
        if self._arrived + len(piece) > self._length:
            raise Refused(Reason.WRONG_LENGTH, f"more than the announced {self._length} bytes arrived")
        self._arrived += len(piece)
        self._digest.update(piece)
        with _kept():
            self._file.write(piece)

    def check(self) -> None:
        """Refuse unless all of it arrived and is what was announced. Raises StorageError if it cannot be kept."""
        if self._arrived != self._length:
            raise Refused(Reason.WRONG_LENGTH, f"{self._arrived} bytes arrived; {self._length} were announced")
        if self._digest.digest() != self._sha256:
            raise Refused(Reason.WRONG_DIGEST, "the payload's SHA-256 is not the announced one")
        with _kept():
            self._file.flush()

    def whole(self) -> bytes:
        """Return the payload, checked."""
        self.check()
        with _kept():
            self._file.seek(0)
            return self._file.read()

    def close(self) -> None:
        """Let go of the file; that what is thrown away cannot be written any more is no matter."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def _kept() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"the payload cannot be kept while it arrives: {error.strerror}") from error


def payload_chunks(payload: bytes, header: pb.PayloadHeader | None = None) -> Iterator[pb.Chunk]:
    """Yield a payload as the Chunk messages that carry it."""
    header = header or pb.PayloadHeader()
    header.length = len(payload)
    header.sha256 = digest(payload)
    yield pb.Chunk(header=header)
    for piece in pieces(payload):
        yield pb.Chunk(data=piece)


def small_enough(payload: bytes) -> bool:
    """Return whether a payload goes along with the message about it, so that nobody has to ask for it."""
    return len(payload) <= PIECE_BYTES


def read_chunks(chunks: Iterable[pb.Chunk], limit: int) -> tuple[pb.PayloadHeader, bytes]:
    """Put together what payload_chunks() took apart."""
    stream = iter(chunks)
    first = next(stream, None)
    if first is None or first.WhichOneof("part") != "header":
        raise Refused(Reason.MALFORMED, "a stream must begin with its header")
    assembly = Assembly(first.header.length, first.header.sha256, limit)
    for chunk in stream:
        assembly.take(_data_of(chunk))
    return first.header, assembly.whole()


async def read_pieces(
    requests: AsyncIterator[pb.SubmitRequest] | AsyncIterator[pb.ReleaseRequest] | AsyncIterator[pb.RosterOffer],
    length: int,
    sha256: bytes,
    limit: int,
    into: BinaryIO | None = None,
    whole: bytes = b"",
) -> Assembly:
    """Take in the payload that follows a header already taken from `requests`; it is checked, but still where it is.

    Args:
        whole: what came in one message with the header, if anything did.
    """
    assembly = Assembly(length, sha256, limit, into)
    if whole:
        assembly.take(whole)
    async for request in requests:
        assembly.take(_data_of(request))
    assembly.check()
    return assembly


@dataclass(frozen=True)
class Model:
    """A model as it came: whose and which, the vector of shape (values,), and the key holders' signatures under it.

    Attributes:
        state_digest: of what the server's rule remembered with it; empty for fedavg.
    """

    run: str
    round: int
    vector: FloatArray
    endorsements: tuple[HolderSignature, ...]
    state_digest: bytes = b""


def model_chunks(
    payload: bytes, run: str, round_number: int, endorsements: Iterable[HolderSignature], state_digest: bytes = b""
) -> Iterator[pb.Chunk]:
    """Return a model, as model_bytes() gives it, as Chunk messages."""
    header = pb.PayloadHeader(
        dtype=MODEL_DTYPE,
        shape=[len(payload) // 8],
        run=run,
        round=round_number,
        endorsements=holder_signatures_to_wire(endorsements),
        state_digest=state_digest,
    )
    return payload_chunks(payload, header)


def model_of(header: pb.PayloadHeader, payload: bytes, values: int) -> Model:
    """Return the model in a payload; its vector, shape (values,), is aligned and writable.

    Raises Refused unless it has the stated type, exactly `values` entries, and all of them finite.
    """
    if header.dtype != MODEL_DTYPE or list(header.shape) != [values]:
        raise Refused(
            Reason.MALFORMED,
            f"the model is {header.dtype[:20]!r} of shape {list(header.shape)[:4]}; "
            f"expected '{MODEL_DTYPE}' of [{values}]",
        )
    endorsements = holder_signatures_from_wire(header.endorsements)
    vector = model_from_bytes(payload, values)
    return Model(header.run, header.round, vector, endorsements, state_digest_from_wire(header.state_digest))


def model_bytes(vector: FloatArray) -> bytes:
    """Return the bytes that a model's digest covers."""
    return np.ascontiguousarray(vector, dtype=MODEL_DTYPE).tobytes()


def model_from_bytes(payload: bytes, values: int) -> FloatArray:
    """Return the vector in `payload`, copied, checked for length and finiteness."""
    if len(payload) != values * 8:
        raise Refused(Reason.WRONG_LENGTH, f"the model has {len(payload)} bytes; expected {values * 8}")
    vector = np.frombuffer(payload, dtype=MODEL_DTYPE).astype(np.float64, copy=True)
    if not np.isfinite(vector).all():
        raise Refused(Reason.MALFORMED, "the model has weights that are not finite")
    return vector


def _data_of(message: pb.Chunk | pb.SubmitRequest | pb.ReleaseRequest | pb.RosterOffer) -> bytes:
    if message.WhichOneof("part") != "data":
        raise Refused(Reason.MALFORMED, "a second header in one stream")
    return message.data
