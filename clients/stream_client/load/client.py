"""One stream's connection: opened beforehand, written to by whole frames, read to its end."""

from __future__ import annotations

import asyncio
import socket as sockets
import ssl
import time
from collections.abc import Callable

import websockets
from websockets.asyncio.client import ClientConnection

from stream_client.connection import OPEN_TIMEOUT_S, complete_url, lost, open_socket, ssl_context
from stream_client.dialects import server_error
from stream_client.errors import ConnectionFailed, ServerError, StreamClientError
from stream_client.events import Problem
from stream_client.load.tokens import Transcript
from stream_client.load.wire import Target, text_frame

REFUSALS = ("overloaded", "engine_away")
"""Errors of stream-server that mean: not now."""

UNSENT_BYTES = 32 << 10
"""What the kernel takes of a connection that the other side does not read from: a second of audio. What it does not
take is late, and should be seen to be."""


class Client:
    """Opened by `open`; `listen` then reads until the session ends, while `write` and `stop` are called."""

    def __init__(self, target: Target, transcript: Transcript) -> None:
        self.transcript = transcript
        self.ended = False
        self.error: StreamClientError | None = None
        self.problems: list[str] = []
        """What the server could not do while the session went on."""
        self.text_at: float | None = None
        """When something of the text last came (time.monotonic)."""
        self.on_text: Callable[[], None] = lambda: None
        self._target = target
        self._dialect = target.speak()
        self._socket: ClientConnection | None = None
        self._stopped = False
        self._deadline: float | None = None
        self._limit: asyncio.Timeout | None = None

    @property
    def refused(self) -> bool:
        """The server had no room for this session; it was none that went wrong later."""
        return isinstance(self.error, ServerError) and self.error.code in REFUSALS and self.text_at is None

    @property
    def finished(self) -> bool:
        """Nothing more will come."""
        return self.ended or self.error is not None

    async def open(self, context: ssl.SSLContext | None) -> None:
        """Connects, and opens the session where the protocol says when that is done. Errors go to `error`."""
        url = complete_url(self._target.url, self._dialect.path)
        try:
            # No pings: a server that cannot keep up is to be measured, not to be taken for dead.
            self._socket = await open_socket(url, self._dialect, context, ping_interval_s=None)
            self._transport = self._socket.transport
            _limit_unsent(self._transport)
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._greet()
        except websockets.ConnectionClosed as closed:
            self.error = lost(closed, url)
        except TimeoutError:
            self.error = ConnectionFailed(f"{url} took the connection but did not open a session")
        except StreamClientError as error:
            self.error = error

    def write(self, frame: bytes) -> bool:
        """Sends a frame; False, and nothing is sent, while the socket takes no more. Goes past the library, whose
        connection is only read from once it is open: it would mask and copy every message anew."""
        if self._transport.get_write_buffer_size():
            return False
        if not self._transport.is_closing():
            self._transport.write(frame)
        return True

    def stop(self, patience_s: float) -> None:
        """Says that there is no more audio; the end has to come within `patience_s`."""
        self._stopped = True
        self._transport.write(text_frame(self._dialect.close()))
        self._expect_within(patience_s)

    async def listen(self) -> None:
        """Reads to the end of the session, or to what went wrong, which is in `error` then."""
        if self.error is not None:
            return
        try:
            async with asyncio.timeout_at(self._deadline) as self._limit:
                while not self._dialect.ended:
                    self._receive(await self._socket.recv())
            self.ended = True
        except TimeoutError:
            if self._dialect.patience_s is None:
                self.error = ConnectionFailed("the end of a stream did not come in time")
            else:
                self._dialect.give_up()
                self.ended = True
        except websockets.ConnectionClosed as closed:
            self._closed(closed)
        except StreamClientError as error:
            self.error = error

    async def close(self) -> None:
        """Closes the connection, if there is one, without waiting for what the server still has to say."""
        if self._socket is not None:
            await self._socket.close()

    def abort(self) -> None:
        """Drops the connection."""
        if self._socket is not None:
            self._transport.abort()

    async def _greet(self) -> None:
        first, known = self._dialect.open()
        if first:
            await self._socket.send(first)
        while not known:
            known = self._dialect.receive(_text(await self._socket.recv()))
        if isinstance(known[0], Problem):
            raise server_error(known[0])

    def _receive(self, message: str | bytes) -> None:
        said = False
        for event in self._dialect.receive(_text(message)):
            if isinstance(event, Problem):
                self.problems.append(event.message)
            said |= self.transcript.receive(event)
        if said:
            self.text_at = time.monotonic()
            self.on_text()
        if self._dialect.patience_s is not None:
            self._expect_within(self._dialect.patience_s)

    def _expect_within(self, seconds: float) -> None:
        self._deadline = asyncio.get_running_loop().time() + seconds
        if self._limit is not None:
            self._limit.reschedule(self._deadline)

    def _closed(self, closed: websockets.ConnectionClosed) -> None:
        ending = getattr(self._dialect, "closed", None)
        if not (self._stopped and ending):
            self.error = lost(closed, self._target.url)
            return
        for event in ending():
            self.transcript.receive(event)
        self.ended = True


def tls(target: Target) -> ssl.SSLContext | None:
    """What all connections to a wss address share. Raises ConnectionFailed."""
    return ssl_context(complete_url(target.url, "/"), target.insecure, target.cafile)


def _text(message: str | bytes) -> str:
    return message if isinstance(message, str) else message.decode(errors="replace")


def _limit_unsent(transport: asyncio.WriteTransport) -> None:
    option = getattr(sockets, "TCP_NOTSENT_LOWAT", None)
    if option is not None:
        transport.get_extra_info("socket").setsockopt(sockets.IPPROTO_TCP, option, UNSENT_BYTES)
