"""Streams of Server-Sent Events past the HTTP server's own writing, which would copy and wait for each reader alone."""

from __future__ import annotations

import asyncio
import socket

from starlette.types import Receive, Scope, Send

from stream_server.rooms.events import Chunk

TRANSPORT = "transport"
"""Under this name a request's state has its connection's transport: PatientHttp puts it there."""

KERNEL_BYTES = 64 << 10
"""What the kernel may hold for a reader that does not read; it would take megabytes by itself."""

CLOSE_WITHIN_S = 2.0


class EventStream:
    """An answer that goes on. Written to by others, as it comes; `over` ends it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._transport: asyncio.Transport = scope["state"][TRANSPORT]
        self._chunked = scope["http_version"] == "1.1"
        self._receive = receive
        self._send = send
        self._over = asyncio.Event()
        self._aborted = False
        self._early: list[bytes] | None = []
        """What was written before the headers."""

    @property
    def unsent(self) -> int:
        return self._transport.get_write_buffer_size() + sum(map(len, self._early or ()))

    def write(self, data: Chunk) -> None:
        content = data.framed if self._chunked else data.plain
        if self._early is not None:
            self._early.append(content)
        elif not self._transport.is_closing():
            self._transport.write(content)

    def abort(self) -> None:
        self._aborted = True
        self._transport.abort()

    def over(self) -> None:
        """Nothing more will be written."""
        self._over.set()

    async def run(self) -> None:
        """Sends the headers and what is written; returns once the reader is gone, or all is sent."""
        await self._begin()
        gone = asyncio.create_task(self._wait_until_gone())
        over = asyncio.create_task(self._over.wait())
        try:
            await asyncio.wait({gone, over}, return_when=asyncio.FIRST_COMPLETED)
            if self._aborted:
                await asyncio.wait({gone}, timeout=CLOSE_WITHIN_S)
            elif not gone.done():
                await self._finish()
        finally:
            gone.cancel()
            over.cancel()

    async def _begin(self) -> None:
        connection = self._transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, KERNEL_BYTES)
        await self._send({"type": "http.response.start", "status": 200, "headers": [
            (b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"), (b"x-accel-buffering", b"no")]})
        early, self._early = self._early, None
        if early and not self._transport.is_closing():
            self._transport.write(b"".join(early))

    async def _finish(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_WITHIN_S):
                await self._send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            self._transport.abort()

    async def _wait_until_gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


