"""The socket that all doors share: each takes a few of the connections that wait, so that they share a burst as well.

An event loop's own server would do, but uvloop's takes all that wait at once, so that one door has them all.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable

log = logging.getLogger(__name__)

ACCEPTS_PER_TURN = 4
PAUSE_S = 0.5
"""Rest after an error that is not a client's, such as too many open files."""


class Listener:
    """Gives every connection a protocol, until closed."""

    def __init__(self, listening: socket.socket, make_protocol: Callable[[], asyncio.Protocol],
                 context: ssl.SSLContext | None) -> None:
        """`listening` becomes this object's own; `context`: connections speak TLS."""
        self._socket = listening
        self._make_protocol = make_protocol
        self._context = context
        self._loop = asyncio.get_running_loop()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._pause: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._begin()

    def close(self) -> None:
        """No more connections are taken by this process."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()

    def _begin(self) -> None:
        self._loop.add_reader(self._socket.fileno(), self._accept)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("no connection can be taken for %g s: %s", PAUSE_S, error)
                self._loop.remove_reader(self._socket.fileno())
                self._pause = self._loop.call_later(PAUSE_S, self._begin)
                return
            handshake = self._loop.create_task(self._open(connection))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _open(self, connection: socket.socket) -> None:
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await self._loop.connect_accepted_socket(self._make_protocol, connection, ssl=self._context)
        except OSError as error:
            # Of TLS too: a client that speaks something else, or goes away.
            log.debug("a connection was not opened: %s", error)
            connection.close()
