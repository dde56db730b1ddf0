"""Doors that ask each other, over their sockets in one process."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from stream_server.doors.neighbours import BACKLOG, Neighbours

NAMES = ("door-0", "door-1")
SYSTEM_ALLOWS = int(Path("/proc/sys/net/core/somaxconn").read_text())


async def test_as_many_may_ask_at_once_as_come_back_together_and_no_more(tmp_path: Path) -> None:
    """The door that is asked is busy meanwhile: its loop does not turn."""
    asked = []
    door = Neighbours(tmp_path, "door-0", NAMES, lambda name: not asked.append(name))
    await door.listen()
    sockets: list[socket.socket] = []
    try:
        while True:
            sockets.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            sockets[-1].setblocking(False)
            try:
                sockets[-1].connect(str(tmp_path / "door-0.neighbours"))
            except BlockingIOError:
                break
        most = min(BACKLOG, SYSTEM_ALLOWS)
        assert most <= len(sockets) - 1 <= most + 1
        sockets.pop().close()
        for number, each in enumerate(sockets):
            each.send(f"{number}\n".encode())
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            answers = {await loop.sock_recv(each, 100) for each in sockets}
        assert answers == {b"ended\n"} and sorted(asked, key=int) == [str(n) for n in range(len(sockets))]
    finally:
        for each in sockets:
            each.close()
        door.close()


async def test_who_asks_for_nobody_and_who_says_nothing_are_let_go(tmp_path: Path) -> None:
    door, other = (Neighbours(tmp_path, name, NAMES, lambda name: False) for name in NAMES)
    await door.listen()
    try:
        assert not await other.end("door-0", "nobody")
        reader, writer = await asyncio.open_unix_connection(tmp_path / "door-0.neighbours")
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()
    finally:
        door.close()
