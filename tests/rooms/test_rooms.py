"""The rooms of one door, in its loop; another door's doings are done in the store."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import numpy as np
import pytest
from starlette.applications import Starlette

from stream_server.config import RoomSettings
from stream_server.doors import meetings
from stream_server.rooms import rooms as rooms_module
from stream_server.rooms import store as store_module
from stream_server.rooms.recording import HEADER_BYTES
from stream_server.rooms.rooms import Rooms
from stream_server.rooms.store import Store
from stream_server.session.messages import Start
from stream_server.units import SAMPLE_RATE
from tests.rooms.onlooker import Onlooker

SECOND = np.ones(SAMPLE_RATE, np.int16)
LONG = 2_000
"""Rounds of the loop, with a hundredth of a second each: far more than anything here takes."""


@asynccontextmanager
async def a_door(folder: Path, onlooker: Onlooker, **settings: object) -> AsyncIterator[Rooms]:
    rooms = Rooms(RoomSettings(store=folder / "rooms", **settings), folder, "door-0", ("door-0", "door-1"),
                  patience_s=30.0, observer=onlooker)
    try:
        yield rooms
    finally:
        await rooms.close()


async def until(happened: Callable[[], bool]) -> None:
    for _ in range(LONG):
        if happened():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it does not happen")


async def test_sound_is_kept_until_the_meeting_ends_and_no_longer(tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "LOOK_S", 0.05)
    sounds = tmp_path / "sounds"
    sounds.mkdir()
    async with a_door(tmp_path, Onlooker(), recording_folder=sounds) as rooms:
        ended, going_on = await rooms.create("晨会", True), await rooms.create("晚会", True)
        seats = [await rooms.take(Start(room=made.speak, name="小王")) for made in (ended, going_on)]
        heard = 0

        async def speak() -> bool:
            """All say a second more, which is written; whether it is so of the meeting that ends."""
            nonlocal heard
            heard += 1
            for seat in seats:
                seat.hear(SECOND)
            await until(lambda: pieces(sounds / going_on.room.public) == heard)
            return pieces(sounds / ended.room.public) == heard

        assert await speak()
        other = Store(tmp_path / "rooms")
        other.end(ended.speak, ended.room.began_ms + 1)
        other.close()
        while await speak():
            assert heard < LONG
        assert not await speak()
        for seat in seats:
            seat.leave()
    assert pieces(sounds / ended.room.public) == heard - 2 and pieces(sounds / going_on.room.public) == heard


def pieces(folder: Path) -> int:
    """Seconds in the one recording of a room."""
    files = list(folder.iterdir()) if folder.exists() else []
    return sum((file.stat().st_size - HEADER_BYTES) // (2 * SAMPLE_RATE) for file in files)


async def test_a_store_that_is_locked_when_a_door_begins_does_not_make_it_forget_the_living(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms_module, "SWEEP_S", 0.05)
    monkeypatch.setattr(store_module, "BUSY_S", 0.0)
    before = Store(tmp_path / "rooms")
    made = before.create("晨会", False, 1_800_000_000_000, most=9)
    for name, door in (("dead", "door-0"), ("beside", "door-1")):
        before.join(made.speak, name, door, most=9)
    onlooker = Onlooker()
    async with a_door(tmp_path, onlooker) as rooms:
        lock = sqlite3.connect(tmp_path / "rooms", isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError):
            await rooms.take(Start(room=made.speak, name="小王"))
        lock.execute("ROLLBACK")
        lock.close()
        await rooms.take(Start(room=made.speak, name="小王"))
        swept = onlooker.counted
        await until(lambda: onlooker.counted >= swept + 2)
        assert [speaker.name for speaker in before.scene(made.room.read).speakers] == ["beside", "小王"]
    before.close()


async def test_asked_for_its_head_a_live_view_has_no_body(tmp_path: Path) -> None:
    onlooker = Onlooker()
    async with a_door(tmp_path, onlooker) as rooms:
        made = await rooms.create("晨会", False)
        app = httpx2.ASGITransport(Starlette(routes=meetings.routes(rooms)))
        async with httpx2.AsyncClient(transport=app, base_url="http://door") as http:
            there = await http.head(f"/v1/rooms/{made.room.read}/live")
            assert (there.status_code, there.content, there.headers["cache-control"]) == (200, b"", "no-store")
            assert there.headers["content-type"].startswith("text/event-stream")
            assert (await http.head("/v1/rooms/none/live")).status_code == 404
            assert (await http.head(f"/v1/rooms/{made.room.read}/live?after=x")).status_code == 400
        assert onlooker.present == 0
