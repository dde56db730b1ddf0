"""A network between a client and a server that breaks when a test wants it: connections are reset, or stand still."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class Proxy:
    """Hands on bytes between those who connect to `port` and the server."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._server = (address.hostname, address.port)
        self._open: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.connections = 0
        self.passed = 0
        """Bytes that went to the server."""
        self.refusing = False
        """Whether new connections are reset too."""
        self.cut_at: list[int] = []
        """At how many bytes to the server, rising, everything is cut."""
        self.deaf = asyncio.Event()
        """From when it is set, nothing comes from the server any more, and nobody is told."""

    def cut(self) -> None:
        """Resets all connections; what is on its way is lost."""
        for writer in list(self._open):
            writer.transport.abort()

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.connections += 1
        there, onward = await asyncio.open_connection(*self._server)
        self._open |= {writer, onward}
        try:
            await asyncio.gather(self._pass(reader, onward, True), self._pass(there, writer, False))
        except OSError:
            pass
        finally:
            self._open -= {writer, onward}
            writer.transport.abort()
            onward.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, counted: bool) -> None:
        while data := await reader.read(4096):
            if counted:
                self.passed += len(data)
                if self.cut_at and self.passed >= self.cut_at[0]:
                    del self.cut_at[0]
                    self.cut()
            if not counted and self.deaf.is_set():
                continue
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A running proxy before the server at `url`."""
    between = Proxy(url)
    server = await asyncio.start_server(between.handle, "127.0.0.1", 0)
    between.port = server.sockets[0].getsockname()[1]
    try:
        yield between
    finally:
        server.close()
        between.cut()
