"""A connection that came to another door than its session's: that door hands on each message, both ways.

It reads no more from the client than the session's door takes, and from that door no more than the client takes.
"""

from __future__ import annotations

import asyncio
import json
import logging

from stream_server.doors import parcels
from stream_server.doors.link import Link, LinkLost, Take
from stream_server.doors.neighbours import Neighbours
from stream_server.doors.observer import Observer

log = logging.getLogger(__name__)

CARRY = "carry"
"""The service by which a door takes what another one carries to it."""

CLOSE_TIMEOUT_S = 12.0
"""Longer than the door that has the connection waits for its client to say goodbye."""

DOOR_GONE = (1012, "the door that has the session ended")


class Carriage:
    """The connection `link`, handed on by `run` and brought to its end by `end`.

    In between it is closed by whoever has it: only then is it known whether its client has heard the session's end.
    """

    def __init__(self, link: Link, neighbours: Neighbours, door: str, path: str, observer: Observer,
                 write_timeout_s: float) -> None:
        """A client that takes nothing for `write_timeout_s` is cut."""
        self._link = link
        self._neighbours = neighbours
        self._door = door
        self._path = path
        self._observer = observer
        self._write_timeout_s = write_timeout_s
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, first: str) -> tuple[int, str]:
        """Hands on what comes, beginning with `first`, until either side ends; how the connection is to be closed."""
        try:
            reader, self._writer = await self._neighbours.ask(self._door, CARRY, f"{self._path} {self._link.peer}")
        except OSError as error:
            log.warning("%s is away: %s", self._door, error)
            return DOOR_GONE
        self._observer.carried()
        log.debug("%s is carried to %s", self._link.peer, self._door)
        self._writer.transport.set_write_buffer_limits(parcels.MOST_UNSENT_BYTES)
        parcels.write(self._writer, parcels.TEXT, first.encode())
        goodbye = None
        there, back = asyncio.create_task(self._there()), asyncio.create_task(self._back(reader))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            goodbye = back.result() if back.done() else None
        finally:
            there.cancel()
            back.cancel()
            await asyncio.gather(there, back, return_exceptions=True)
            if goodbye is None:
                self.end()
        return goodbye or DOOR_GONE

    def end(self) -> None:
        """The connection has ended: so the other door is told, and whether its client said goodbye."""
        writer, self._writer = self._writer, None
        if writer is not None:
            if self._link.left:
                parcels.write(writer, parcels.LEFT)
            writer.close()

    async def _there(self) -> None:
        try:
            while True:
                data = await self._link.receive()
                if isinstance(data, str):
                    parcels.write(self._writer, parcels.TEXT, data.encode())
                else:
                    parcels.write(self._writer, parcels.AUDIO, data)
                await self._writer.drain()
        except (LinkLost, OSError):
            return

    async def _back(self, reader: asyncio.StreamReader) -> tuple[int, str] | None:
        """How the other door closes; None where it does not come to that."""
        link = self._link
        try:
            while (parcel := await parcels.read(reader)) is not None:
                kind, data = parcel
                if kind == parcels.GOODBYE:
                    code, reason = json.loads(data)
                    return code, reason
                if not link.send_now(data.decode()):
                    async with asyncio.timeout(self._write_timeout_s):
                        await link.send(data.decode())
        except LinkLost:
            pass
        except TimeoutError:
            link.abort()
        return None


class CarriedLink:
    """The same connection at the session's door."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: str) -> None:
        self.peer = peer
        self.left = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reader = reader
        self._writer = writer
        writer.transport.set_write_buffer_limits(parcels.MOST_UNSENT_BYTES)
        self._discarding = False
        # One message is read ahead, so that the end is noticed while nobody asks for one.
        self._next: asyncio.Queue[str | bytes] = asyncio.Queue(1)
        self._reading = asyncio.create_task(self._read())

    async def receive(self) -> str | bytes:
        getting = asyncio.ensure_future(self._next.get())
        try:
            await asyncio.wait({getting, self.lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not getting.done():
                getting.cancel()
        if not getting.done():
            raise LinkLost("the door that has the connection let go of it")
        return getting.result()

    def offer_bytes(self, take: Take) -> None:
        """Nothing is offered: all is received."""

    @property
    def free(self) -> bool:
        return not self.lost.done() and self._writer.transport.get_write_buffer_size() <= parcels.MOST_UNSENT_BYTES

    def send_now(self, text: str) -> bool:
        if not self.free:
            return False
        parcels.write(self._writer, parcels.TEXT, text.encode())
        return True

    async def send(self, text: str) -> None:
        try:
            await self._writer.drain()
        except OSError as error:
            raise LinkLost(str(error)) from None
        if self.lost.done():
            raise LinkLost("the door that has the connection let go of it")
        parcels.write(self._writer, parcels.TEXT, text.encode())

    async def close(self, code: int, reason: str) -> None:
        if not self.lost.done():
            parcels.write(self._writer, parcels.GOODBYE, json.dumps([code, reason]).encode())
            # Messages that nobody wants any more must not keep the end from being noticed.
            self._discarding = True
            if self._next.full():
                self._next.get_nowait()
            await asyncio.wait({self.lost}, timeout=CLOSE_TIMEOUT_S)
        self.abort()

    def abort(self) -> None:
        self._writer.transport.abort()
        self._reading.cancel()
        self._lose()

    async def _read(self) -> None:
        while (parcel := await parcels.read(self._reader)) is not None:
            kind, data = parcel
            if kind == parcels.LEFT:
                self.left = True
            elif not self._discarding:
                await self._next.put(data.decode() if kind == parcels.TEXT else data)
        self._lose()

    def _lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
