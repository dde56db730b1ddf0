"""Audiences, the store and time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from stream_server.rooms.clerk import Clerk
from stream_server.rooms.hall import Hall, Limits
from tests.rooms.onlooker import Onlooker
from tests.rooms.test_audience import Reader, kinds


async def test_viewers_who_leave_while_the_hall_closes_hold_up_nobody(tmp_path: Path) -> None:
    onlooker, read = Onlooker(), []
    clerk = Clerk(tmp_path / "rooms", 1000, onlooker, lambda rooms: None)
    hall = Hall(clerk, Limits(9, 1000, 30.0), onlooker, read.append, read.remove)
    rooms = [(await clerk.write(lambda store: store.create("晨会", False, 0, most=9))).room for _ in range(3)]
    readers = [Reader() for _ in rooms]
    places = [await hall.enter(room, reader, 0, reader.end) for room, reader in zip(rooms, readers, strict=True)]
    assert read == [room.public for room in rooms] and onlooker.present == 3
    closing = asyncio.create_task(hall.close())
    # Once round the loop: the closing waits for the store.
    await asyncio.sleep(0)
    assert not closing.done()
    hall.leave(places[0])
    await closing
    assert [kinds(reader.take()) for reader in readers] == [["room"], ["room", "closing"], ["room", "closing"]]
    for place in places[1:]:
        hall.leave(place)
    assert read == [] and onlooker.present == 0
    await clerk.close()
