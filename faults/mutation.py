"""Make malformed messages out of good ones: random bytes changed, or fields set to unexpected values."""

from __future__ import annotations

import random
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError, Message

M = TypeVar("M", bound=Message)
_INTEGERS = (0, 1, 2, 3, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1)
_LONG = (*_INTEGERS, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_SECONDS = (0.0, -1.0, 1e-300, 1e300, float("nan"), float("inf"), float("-inf"))
_TEXTS = ("", "\0", "client-1", "../..", "a" * 65, "0123456789abcdef", "é" * 16, "plain", "x" * 5000)
_SIZES = (0, 1, 15, 16, 31, 32, 33, 63, 64, 65, 1000)


def mutated_bytes(raw: bytes, rng: random.Random) -> bytes:
    """Return the same bytes with one to four changes: flipped, cut out, repeated, overwritten, cut off or added to."""
    changed = bytearray(raw)
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(changed) + 1)
        end = min(len(changed), start + rng.choice((1, 1, 2, 8, 64)))
        match rng.randrange(6):
            case 0 if start < len(changed):
                changed[start] ^= 1 << rng.randrange(8)
            case 1:
                del changed[start:end]
            case 2:
                changed[start:start] = changed[start:end]
            case 3:
                changed[start:end] = rng.randbytes(end - start)
            case 4:
                del changed[start:]
            case _:
                changed[start:start] = rng.randbytes(rng.randrange(20))
    return bytes(changed)


def mutated(message: M, rng: random.Random) -> M | None:
    """Return a copy with changed bytes or fields; None if the bytes are not even a message any more."""
    copy = type(message)()
    if rng.random() < 0.4:
        try:
            copy.ParseFromString(mutated_bytes(message.SerializeToString(), rng))
        except DecodeError:
            return None
        return copy
    copy.CopyFrom(message)
    for _ in range(rng.randint(1, 2)):
        _change_field(copy, rng)
    return copy


def _change_field(message: Message, rng: random.Random) -> None:
    if not message.DESCRIPTOR.fields:
        return
    field: Any = rng.choice(list(message.DESCRIPTOR.fields))
    if rng.random() < 0.15:
        message.ClearField(field.name)
    elif field.is_repeated:
        _change_list(getattr(message, field.name), field, rng)
    elif field.message_type is not None:
        _change_field(getattr(message, field.name), rng)
    else:
        setattr(message, field.name, _strange(field, getattr(message, field.name), rng))


def _change_list(values: Any, field: FieldDescriptor, rng: random.Random) -> None:
    if not values:
        if field.message_type is not None:
            values.add()
        else:
            values.append(_strange(field, None, rng))
        return
    place = rng.randrange(len(values))
    match rng.randrange(3):
        case 0:
            del values[place]
        case 1:
            values.append(values[place])
        case _ if field.message_type is not None:
            _change_field(values[place], rng)
        case _:
            values[place] = _strange(field, values[place], rng)


def _strange(field: FieldDescriptor, value: Any, rng: random.Random) -> Any:
    """Return a value of the field's type that a reader may not expect."""
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return not value
        case FieldDescriptor.CPPTYPE_UINT32:
            return rng.choice((*_INTEGERS, min(2**32 - 1, (value or 0) + 1)))
        case FieldDescriptor.CPPTYPE_UINT64:
            return rng.choice(_LONG)
        case FieldDescriptor.CPPTYPE_DOUBLE:
            return rng.choice(_SECONDS)
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice((*_TEXTS, (value or "") + "x"))
    if value and rng.random() < 0.6:
        return mutated_bytes(value, rng)
    return rng.randbytes(rng.choice(_SIZES))
