"""The WebSocket door: uvicorn hands over the sockets that ask for an upgrade, the websockets library speaks on them.

uvicorn's own implementations do push back on fast senders and slow readers, but end badly: after a message that is
too large they close the socket with the rest unread, so that the client sees a reset (1006) and not 1009; a client
that never reads keeps its socket for ever, since nothing can abort it; and a keepalive fails while reading is paused
on purpose. The library's connection does these right, or lets us.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import OPEN, Event
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from stream_server.doors.frames import FrameProtocol, text_frame, whole_binary_frame
from stream_server.doors.hold import Hold
from stream_server.doors.link import LinkLost, Take

log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT_S = 10.0
CLOSE_TIMEOUT_S = 5.0
PING_INTERVAL_S = 20.0
PONG_TIMEOUT_S = 20.0
PONG_LOOKS = 4
"""How often within PONG_TIMEOUT_S it is looked whether the pong could be read at all."""

FRAMES_WAITING = (1, 0)
"""Frames that may wait before reading from the network pauses, and resumes."""

UNSENT_BYTES = 16 << 10
"""Bytes that the kernel may hold unsent, and the process as well: beyond, a slow client gets fewer partials."""

GIVEN_UP = (1011, 4000)
"""Close codes of a client that took the connection for dead, and comes back by another: a library's whose pings were
not answered, and our page's."""

CLIENTS_FAULTS = (1002, 1003, 1007, 1009)
"""Close codes by which the library ends a connection that broke the protocol."""

LONGEST_REASON_BYTES = 123
FUNASR_SUBPROTOCOL = Subprotocol("binary")


class SocketLink:
    """A WebSocket as the driver sees it."""

    def __init__(self, connection: SocketConnection) -> None:
        host, port = (connection.remote_address or ("?", 0))[:2]
        self.peer = f"{host}:{port}"
        self._connection = connection

    @property
    def lost(self) -> asyncio.Future[None]:
        return self._connection.lost

    @property
    def left(self) -> bool:
        protocol = self._connection.protocol
        if protocol.close_rcvd is not None:
            return protocol.close_rcvd.code not in GIVEN_UP
        return protocol.close_sent is not None and protocol.close_sent.code in CLIENTS_FAULTS

    async def receive(self) -> str | bytes:
        self._connection.receiving = True
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise LinkLost(str(closed)) from None
        finally:
            self._connection.receiving = self._connection.usual = False

    def offer_bytes(self, take: Take) -> None:
        self._connection.take = take

    @property
    def free(self) -> bool:
        connection = self._connection
        return connection.protocol.state is OPEN and not connection.paused and not connection.transport.is_closing()

    def send_now(self, text: str) -> bool:
        if not self.free:
            return False
        # The library's own way costs more than the dialect's.
        self._connection.transport.write(text_frame(text))
        return True

    async def send(self, text: str) -> None:
        try:
            await self._connection.send(text)
        except ConnectionClosed as closed:
            raise LinkLost(str(closed)) from None

    async def close(self, code: int, reason: str) -> None:
        # Reading goes on meanwhile, or the client's answer would wait behind messages that nobody wants any more.
        discard = asyncio.create_task(self._discard())
        try:
            async with asyncio.timeout(2 * CLOSE_TIMEOUT_S):
                await self._connection.close(code, _shortened(reason))
        except TimeoutError:
            self.abort()
        finally:
            discard.cancel()

    def abort(self) -> None:
        self._connection.transport.abort()

    async def _discard(self) -> None:
        try:
            while True:
                await self._connection.recv()
        except ConnectionClosed:
            return


class Sockets:
    """All WebSockets of a process: what a connection's handler is, and whether new ones are taken."""

    def __init__(self, serve: Callable[[str, SocketLink], Awaitable[None]], paths: Sequence[str],
                 max_message_bytes: int, heard: Callable[[], None]) -> None:
        """`heard` is called whenever something came from a client, before it is handled."""
        self.handler_tasks: set[asyncio.Task[None]] = set()
        self.heard = heard
        self.draining = False
        self._serve = serve
        self._paths = frozenset(paths)
        self._max_message_bytes = max_message_bytes

    def protocol(self, *, server_state: Any, **_: object) -> SocketConnection:
        """What uvicorn calls for a request that asks for an upgrade."""
        return SocketConnection(self, server_state.connections, self._max_message_bytes)

    def is_serving(self) -> bool:
        return not self.draining

    async def handler(self, connection: SocketConnection) -> None:
        """Serves a connection from its handshake to its end; started by the connection itself."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_S):
                await connection.handshake(self._check_path, server_header=None)
            if connection.state is OPEN:
                connection.start_keepalive()
                await self._serve(connection.request.path.partition("?")[0], SocketLink(connection))
        except (ConnectionClosed, TimeoutError) as ended:
            log.debug("no handshake: %r", ended)
        except Exception:
            log.exception("a connection's handler failed")
        finally:
            connection.transport.abort()
            self.handler_tasks.discard(asyncio.current_task())

    def _check_path(self, connection: ServerConnection, request: Request) -> Response | None:
        path = request.path.partition("?")[0]
        if path in self._paths:
            return None
        return connection.respond(404, f"No WebSocket here. There is one at: {', '.join(sorted(self._paths))}\n")


class SocketConnection(ServerConnection):
    """One WebSocket; also what uvicorn takes for a protocol of its own."""

    # What each message needs lies together: the library's attributes alone are nearly as many as Python keeps so.
    __slots__ = ("lost", "take", "held", "receiving", "usual", "_heard", "_time", "_connections", "_longest")

    server: Sockets
    protocol: FrameProtocol

    def __init__(self, sockets: Sockets, connections: set[object], max_message_bytes: int) -> None:
        protocol = FrameProtocol(max_size=max_message_bytes, select_subprotocol=_select_subprotocol)
        super().__init__(protocol, sockets, ping_interval=PING_INTERVAL_S, close_timeout=CLOSE_TIMEOUT_S,
                         max_queue=FRAMES_WAITING, write_limit=UNSENT_BYTES)
        self.lost: asyncio.Future[None] = self.loop.create_future()
        self.take: Take | None = None
        self.held = Hold()
        """Where audio may be put without asking; in this one, never."""
        self.receiving = False
        self.usual = False
        """The reader waits, nobody is before the next message, and that begins with the next byte."""
        self._heard = sockets.heard
        self._time = self.loop.time
        self._connections = connections
        self._longest = max_message_bytes

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._connections.add(self)
        limit = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if limit is not None:
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, limit, UNSENT_BYTES)
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._heard()
        # Once found to be so it stays so, until something is left to the library or the reader gets something.
        if self.usual or self._is_usual():
            if self.held.take_frame(data):
                self.held.at = self._time()
                return
            audio = whole_binary_frame(data, self._longest)
            if audio is not None and (held := self.take(audio)) is not None:
                self.held = held
                return
            self.usual = False
        super().data_received(data)
        if self.request is not None and self.response is not None and self.state is not OPEN:
            self._lose()

    def process_event(self, event: Event) -> None:
        if self.receiving and _is_whole(event) and self._take(bytes(event.data)):
            return
        super().process_event(event)

    def _is_usual(self) -> bool:
        self.usual = (self.receiving and self.take is not None and self.protocol.between_messages
                      and not self.recv_messages.frames.queue)
        return self.usual

    def _take(self, audio: bytes) -> bool:
        # A message that nobody is before and somebody waits for needs no queue, and no task to be woken: with audio
        # that is nearly every message, and half of its cost.
        return self.take is not None and not self.recv_messages.frames.queue and self.take(audio) is not None

    def eof_received(self) -> None:
        super().eof_received()
        self._lose()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        super().connection_lost(exc)
        self._lose()

    def shutdown(self) -> None:
        """Called by uvicorn's own shutdown, when the sessions have been drained."""
        self.transport.abort()

    async def keepalive(self) -> None:
        """Closes when a ping stays unanswered although its answer could have been read.

        The library's own keepalive takes a client for dead whose pong waits behind audio that is not read on purpose.
        """
        try:
            while True:
                await asyncio.sleep(PING_INTERVAL_S)
                if not await self._answered(await self.ping()):
                    self.usual = False
                    async with self.send_context():
                        self.protocol.fail(1011, "keepalive ping timeout")
        except ConnectionClosed:
            return

    async def _answered(self, pong: asyncio.Future[float]) -> bool:
        looks = 0
        while looks < PONG_LOOKS and not pong.done():
            await asyncio.wait({pong}, timeout=PONG_TIMEOUT_S / PONG_LOOKS)
            looks += not self.recv_messages.paused
        return pong.done()

    def _lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)


def _is_whole(event: Event) -> bool:
    return isinstance(event, Frame) and event.opcode is Opcode.BINARY and event.fin


def _select_subprotocol(_: ServerProtocol, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return FUNASR_SUBPROTOCOL if FUNASR_SUBPROTOCOL in offered else None


def _shortened(reason: str) -> str:
    return reason.encode()[:LONGEST_REASON_BYTES].decode(errors="ignore")
