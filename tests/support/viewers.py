"""Viewers of a room over real sockets, and sockets at a door of one's choice."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.server import Server

PATIENCE_S = 90.0
TRIES = 40
AT_ONCE = 8


class Viewer:
    """Reads a room's events."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.events: list[tuple[str, dict]] = []
        self.ended = False
        """The server has ended the answer as HTTP has it."""
        self.last_id: str | None = None
        self._reader = reader
        self._writer = writer
        self._rest = b""

    @classmethod
    async def connect(cls, address: str, token: str, *, last_id: str | None = None, sock: socket.socket | None = None,
                      query: str = "", version: str = "1.1", limit: int = 1 << 16) -> Viewer:
        """Asks for the room's events and reads the answer's head; `limit`: bytes that are kept unread."""
        place = urlsplit(address)
        where = {"sock": sock} if sock is not None else {"host": place.hostname, "port": place.port}
        viewer = cls(*await asyncio.open_connection(**where, limit=limit))
        more = "" if last_id is None else f"Last-Event-ID: {last_id}\r\n"
        viewer._writer.write(f"GET /v1/rooms/{token}/live{query} HTTP/{version}\r\nHost: {place.netloc}\r\n"
                             f"Accept: text/event-stream\r\n{more}\r\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            head = (await viewer._reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        viewer.status = int(first.split()[1])
        viewer.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
        return viewer

    async def until(self, wanted: Callable[[str, dict], bool], within_s: float = PATIENCE_S) -> dict:
        """Reads up to the first event that is `wanted`; its data. One that was read before counts too."""
        seen = 0
        async with asyncio.timeout(within_s):
            while True:
                for kind, data in self.events[seen:]:
                    seen += 1
                    if wanted(kind, data):
                        return data
                if not await self.read():
                    raise AssertionError(f"the stream ended after {self.events[-3:]}")

    async def rest(self, within_s: float = PATIENCE_S) -> None:
        """Reads to the end, and closes."""
        async with asyncio.timeout(within_s):
            while await self.read():
                pass
        self.close()

    async def read(self) -> bool:
        """Reads some; False at the end."""
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            try:
                size = int(await self._reader.readline() or b"-1", 16)
                data = (await self._reader.readexactly(size + 2))[:-2] if size >= 0 else b""
            except (ConnectionError, asyncio.IncompleteReadError):
                return False
            self.ended = self.ended or size == 0
        else:
            data = await self._reader.read(1 << 16)
        if not data:
            return False
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        for block in blocks:
            self._take(block.decode())
        return True

    def close(self) -> None:
        self._writer.close()

    def of(self, kind: str) -> list[dict]:
        """The data of all events of a kind."""
        return [data for each, data in self.events if each == kind]

    def _take(self, block: str) -> None:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":"))
        self.last_id = fields.get("id", self.last_id)
        if "event" in fields:
            self.events.append((fields["event"], json.loads(fields["data"])))


async def socket_at(server: Server, door: str) -> socket.socket:
    """A connection that this door has taken."""
    (pid,) = server.process_ids(door)
    place = urlsplit(server.http)
    for _ in range(TRIES):
        tried = [socket.create_connection((place.hostname, place.port)) for _ in range(AT_ONCE)]
        await asyncio.sleep(0.1)
        inodes = _inodes(pid)
        found = [each for each in tried if _inode(place.port, each.getsockname()[1]) in inodes]
        for each in tried:
            if each not in found[:1]:
                each.close()
        if found:
            found[0].setblocking(False)
            return found[0]
    raise AssertionError(f"{door} takes no connection")


def _inode(server_port: int, client_port: int) -> str | None:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        parts = line.split()
        if [int(parts[number].split(":")[1], 16) for number in (1, 2)] == [server_port, client_port]:
            return parts[9]
    return None


def _inodes(pid: int) -> set[str]:
    links = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            links.append(os.readlink(entry.path))
        except OSError:
            continue
    return {link[8:-1] for link in links if link.startswith("socket:[")}
