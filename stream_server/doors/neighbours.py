"""What the doors of one server ask of each other: all take connections from one port, so that a request may reach
another door than the one that holds what it is about.

Each door has a socket in the server's private directory. A question is one line and its answer one line: the name of a
connection to be ended, and whether there was one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

ANSWER_WITHIN_S = 2.0
LONGEST_LINE = 256
_ENDED, _UNKNOWN = b"ended\n", b"unknown\n"


class Neighbours:
    """This door among the others. `directory` is the same for all of them and entered by nobody else."""

    def __init__(self, directory: Path, name: str, names: tuple[str, ...], end: Callable[[str], bool]) -> None:
        """`names` are all doors', this one's included; `end` ends a connection of this door, if there is such a one."""
        self.name = name
        self._directory = directory
        self._names = frozenset(names)
        self._end = end
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        """Answers the other doors until `close`."""
        path = self._socket(self.name)
        path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._answer, path, limit=LONGEST_LINE)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

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
                line = await reader.readline()
                writer.write(_ENDED if self._end(line.decode(errors="replace").strip()) else _UNKNOWN)
                await writer.drain()
        except (OSError, ValueError, TimeoutError) as error:
            log.warning("a door asked in vain: %s", error)
        finally:
            writer.close()
