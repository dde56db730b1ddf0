"""What the doors of one server ask of each other: all take connections from one port, so that a request may reach
another door than the one that holds what it is about.

Each door has a socket in the server's private directory. A question begins with one line: the name of a connection to
be ended, answered by a line that says whether there was one; or a service and what it needs to know, and then whatever
that service and who asks for it have to tell each other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 2.0
LONGEST_LINE = 16 << 10
BACKLOG = 1024
"""Doors that may ask at once: as many as clients that come back together after their network was away."""

_ENDED, _UNKNOWN = b"ended\n", b"unknown\n"


Service = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""Given the rest of the line, and the connection, which it need not close."""


class Neighbours:
    """This door among the others. `directory` is the same for all of them and entered by nobody else."""

    def __init__(self, directory: Path, name: str, names: tuple[str, ...], end: Callable[[str], bool],
                 services: Mapping[str, Service] = MappingProxyType({})) -> None:
        """`names` are all doors', this one's included; `end` ends a connection of this door, if there is such a one;
        `services`: by name, what else this door does for the others."""
        self.name = name
        self._directory = directory
        self._names = frozenset(names)
        self._end = end
        self._services = services
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Answers the other doors until `close`."""
        path = self._socket(self.name)
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path, limit=LONGEST_LINE, backlog=BACKLOG)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def elsewhere(self, token: str) -> str | None:
        """The door that a session's token names, where it is another one."""
        door = token.partition(".")[0]
        return door if door in self._names and door != self.name else None

    async def ask(self, door: str, service: str, about: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to another door's service; `about` has no line breaks. Raises OSError where it is away."""
        reader, writer = await asyncio.open_unix_connection(self._socket(door))
        writer.write(f"{service} {about}\n".encode())
        return reader, writer

    async def end(self, door: str, connection: str) -> bool:
        """Ends a connection of any door; False where there is no such door or connection, or the door is away."""
        if door == self.name:
            return self._end(connection)
        if door not in self._names:
            return False
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                reader, writer = await asyncio.open_unix_connection(self._socket(door))
                try:
                    writer.write(connection.encode() + b"\n")
                    return await reader.readline() == _ENDED
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            log.warning("%s does not answer: %s", door, error)
            return False

    def _socket(self, door: str) -> Path:
        return self._directory / f"{door}.neighbours"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                line = (await reader.readline()).decode(errors="replace").strip()
            name, _, about = line.partition(" ")
            if name in self._services:
                await self._services[name](about, reader, writer)
            else:
                writer.write(_ENDED if self._end(line) else _UNKNOWN)
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("a door asked in vain: %s", error)
        finally:
            writer.close()
