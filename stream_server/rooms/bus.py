"""What the doors of one server tell each other of rooms, by ZeroMQ's PUB and SUB on local sockets.

ZeroMQ and not the supervisor: it starts processes and carries nobody's words, and a subscription reaches the sender, so
that a door hears of the rooms alone that are read at it. What is lost here, where a door is slow or just begins, are
partials, which the next replaces, and hints that the store has news, which is looked at now and then anyway.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq
import zmq.asyncio

from stream_server.errors import SettingsError

log = logging.getLogger(__name__)

HIGH_WATER_MARK = 1_000
"""Messages that wait for a door; more are lost to it."""

LONGEST_SOCKET_PATH = 107


class PartialNews(msgspec.Struct, frozen=True, array_like=True):
    """What a speaker is saying, as the event that viewers get. Without text: nothing but that the store has news."""

    speaker: int = 0
    segment: int = 0
    event: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(PartialNews)
CHANGED = _encoder.encode(PartialNews())


class Bus:
    """This door's end. Rooms are named by their public names, all of one length."""

    def __init__(self, directory: Path, door: str, doors: tuple[str, ...],
                 on_news: Callable[[str, PartialNews], None]) -> None:
        """`directory`: the server's private one. Raises SettingsError where its path is too long for a socket."""
        self._on_news = on_news
        self._context = zmq.asyncio.Context()
        self._out = self._context.socket(zmq.PUB, socket_class=zmq.Socket)
        self._in = self._context.socket(zmq.SUB)
        for each in (self._out, self._in):
            each.setsockopt(zmq.LINGER, 0)
        self._out.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._in.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        own = directory / f"{door}.rooms"
        if len(bytes(own)) > LONGEST_SOCKET_PATH:
            raise SettingsError(f"runtime directory {directory} is too long for sockets in it")
        own.unlink(missing_ok=True)
        self._out.bind(f"ipc://{own}")
        for other in doors:
            if other != door:
                self._in.connect(f"ipc://{directory / f'{other}.rooms'}")
        self._hearing = asyncio.create_task(self._hear())

    def changed(self, room: str) -> None:
        """Tells the others that the store has news of a room."""
        self._send(room, CHANGED)

    def partial(self, room: str, speaker: int, segment: int, event: bytes) -> None:
        """Tells the others what a speaker is saying."""
        self._send(room, _encoder.encode(PartialNews(speaker, segment, event)))

    def subscribe(self, room: str) -> None:
        self._in.subscribe(room)

    def unsubscribe(self, room: str) -> None:
        self._in.unsubscribe(room)

    async def close(self) -> None:
        self._hearing.cancel()
        await asyncio.gather(self._hearing, return_exceptions=True)
        self._out.close()
        self._in.close()
        self._context.term()

    def _send(self, room: str, data: bytes) -> None:
        # A PUB socket never waits: what nobody has room for is dropped.
        self._out.send_multipart([room.encode(), data], zmq.NOBLOCK)

    async def _hear(self) -> None:
        while True:
            room, data = await self._in.recv_multipart()
            try:
                self._on_news(room.decode(), _decoder.decode(data))
            except Exception:
                log.exception("news of a room could not be told")
