"""How long rooms live, how many there are, who is cut off; each with a server of its own settings."""

from __future__ import annotations

import asyncio
import json
import socket
import sqlite3
import time
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import websockets

from stream_server.rooms.store import Caption, Store
from tests.doors.conversations import NATIVE
from tests.support.server import Server, running_server
from tests.support.viewers import Viewer

NARROW = 4096


async def request(server: Server, method: str, path: str, **options: object) -> httpx2.Response:
    async with httpx2.AsyncClient(base_url=server.http, timeout=30) as http:
        return await http.request(method, path, **options)


def fill(store: Store, name: str, captions: int, now: int, length: int = 1) -> dict:
    """A room with so many captions."""
    made = store.create(name, False, now, most=1000)
    _, speaker = store.join(made.speak, "小王", "door-9", most=9)
    store.add([Caption(made.room.id, speaker.id, number, number, number + 1, "话" * length)
               for number in range(captions)], now, most=100_000)
    return {"speak": made.speak, "read": made.room.read}


def set_last_word(file: Path, ms: int) -> None:
    with sqlite3.connect(file) as database:
        database.execute("UPDATE rooms SET last_ms = ?", (ms,))
    database.close()


async def test_rooms_outlive_a_server_that_keeps_them_and_viewers_come_back(tmp_path: Path, small_model: Path) -> None:
    """A file from before; the server ends while a viewer reads and a speaker is there; another goes on with it, until
    the room expires. A viewer that takes nothing is cut off; how many speak, view and are made is bounded."""
    now = round(1000 * time.time())
    store = Store(tmp_path / "rooms")
    kept, old = fill(store, "kept", 3000, now, length=300), fill(store, "old", 1, now - 4_000_000)
    store.close()
    options = ("--model", str(small_model), "--doors", "1", "--threads", "1", "--rooms-store", str(tmp_path / "rooms"),
               "--rooms-kept-hours", "1", "--rooms-most", "2", "--rooms-speakers", "1", "--rooms-viewers", "3",
               "--limits-write-timeout-s", "1", "--drain-s", "1")
    with running_server(tmp_path / "log", *options) as server:
        assert (await request(server, "GET", f"/v1/rooms/{old['read']}")).status_code == 404
        viewer = await Viewer.connect(server.http, kept["read"], query="?after=2990")
        final = await viewer.until(lambda kind, data: data.get("segment") == 2999)
        assert len(viewer.of("final")) == 10 and viewer.of("room")[0]["speakers"] == []
        await check_who_takes_nothing_is_cut_off(server, kept)
        await check_bounds(server, kept)
        async with websockets.connect(server.url + NATIVE) as speaker:
            await speaker.send(json.dumps({"type": "start", "room": kept["speak"], "name": "小王"}))
            await viewer.until(lambda kind, data: kind == "speaker" and data["state"] == "joined")
            server.stop()
            await viewer.rest()
        assert viewer.events[-1] == ("closing", {}) and viewer.ended
    set_last_word(tmp_path / "rooms", now + 4_000_000)
    with running_server(tmp_path / "log", *options, "--rooms-kept-hours", "0.01") as server:
        again = await Viewer.connect(server.http, kept["read"], last_id=str(final["id"] - 5))
        await again.until(lambda kind, data: data.get("segment") == 2999)
        assert [data["segment"] for data in again.of("final")] == list(range(2995, 3000))
        assert again.of("room")[0]["speakers"] == []
        set_last_word(tmp_path / "rooms", 0)
        await again.rest()
        assert again.events[-1] == ("ended", {"ended": None, "reason": "expired"}) and again.ended
        assert (await request(server, "GET", f"/v1/rooms/{kept['read']}")).status_code == 404


async def check_who_takes_nothing_is_cut_off(server: Server, room: dict) -> None:
    place = urlsplit(server.http)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, NARROW)
    stuck.connect((place.hostname, place.port))
    stuck.setblocking(False)
    viewer = await Viewer.connect(server.http, room["read"], sock=stuck, limit=NARROW)
    reader = await Viewer.connect(server.http, room["read"])
    await reader.until(lambda kind, data: data.get("segment") == 2999)
    assert len(reader.of("final")) == 3000
    reader.close()
    while server.metrics().get('stream_errors_total{code="slow_viewer"}', 0) < 1:
        await asyncio.sleep(0.1)
    await viewer.rest()
    assert not viewer.ended and 0 < len(viewer.of("final")) < 3000


async def check_bounds(server: Server, room: dict) -> None:
    viewers = [await Viewer.connect(server.http, room["read"], query="?after=3000") for _ in range(3)]
    assert [viewer.status for viewer in viewers] == [200, 200, 503] and int(viewers[2].headers["retry-after"]) > 0
    for viewer in viewers:
        viewer.close()
    start = json.dumps({"type": "start", "room": room["speak"], "name": "小李"})
    async with websockets.connect(server.url + NATIVE) as one, websockets.connect(server.url + NATIVE) as other:
        await one.send(start)
        assert json.loads(await one.recv())["type"] == "ready"
        await other.send(start)
        refused = json.loads(await other.recv())
        assert (refused["code"], refused["fatal"]) == ("overloaded", True) and refused["retry_after_s"] > 0
    made = await request(server, "POST", "/v1/rooms", json={"name": "second"})
    full = await request(server, "POST", "/v1/rooms", json={"name": "third"})
    assert (made.status_code, full.status_code) == (201, 503) and int(full.headers["retry-after"]) > 0
    assert (await request(server, "DELETE", f"/v1/rooms/{made.json()['speak']}")).status_code == 204
    third = await request(server, "POST", "/v1/rooms", json={"name": "third"})
    gone = await request(server, "GET", f"/v1/rooms/{made.json()['read']}")
    assert (third.status_code, gone.status_code) == (201, 404)
    assert server.metrics()["stream_rooms"] == 2
