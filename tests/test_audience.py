"""An outbox keeps its messages in order until they are taken, with or without waiting, and cuts off who never reads."""

from __future__ import annotations

import asyncio

import pytest

from server.audience import LONGEST_OUTBOX, NotListeningError, Outbox


def test_messages_are_taken_in_order_without_waiting() -> None:
    outbox = Outbox[str]()
    assert (outbox.pending, outbox.take()) == (0, None)
    outbox.push("first")
    outbox.push("second")
    assert outbox.pending == 2
    assert [outbox.take(), outbox.take(), outbox.take()] == ["first", "second", None]
    assert outbox.pending == 0


def test_after_the_end_only_earlier_messages_are_taken() -> None:
    outbox = Outbox[str]()
    outbox.push("before")
    assert not outbox.ended
    outbox.close()
    outbox.push("after")
    assert outbox.ended
    assert (outbox.take(), outbox.take()) == ("before", None)


def test_a_reader_waits_for_the_next_message_and_stops_at_the_end() -> None:
    async def read() -> list[int]:
        outbox, read = Outbox[int](), list[int]()

        async def reader() -> None:
            async for message in outbox.messages():
                read.append(message)

        reading = asyncio.ensure_future(reader())
        for number in range(3):
            await asyncio.sleep(0)
            outbox.push(number)
        await asyncio.sleep(0)
        outbox.close()
        await reading
        return read

    assert asyncio.run(read()) == [0, 1, 2]


def test_a_party_that_does_not_listen_is_cut_off() -> None:
    async def read() -> None:
        outbox = Outbox[int]()
        for number in range(3 * LONGEST_OUTBOX):
            outbox.push(number)
        assert outbox.pending == LONGEST_OUTBOX
        with pytest.raises(NotListeningError):
            outbox.take()
        with pytest.raises(NotListeningError):
            await anext(outbox.messages())

    asyncio.run(read())


def test_just_enough_unread_messages_are_all_read() -> None:
    outbox = Outbox[int]()
    for number in range(LONGEST_OUTBOX):
        outbox.push(number)
    assert [outbox.take() for _ in range(LONGEST_OUTBOX)] == list(range(LONGEST_OUTBOX))
