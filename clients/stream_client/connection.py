"""A session with the server over a WebSocket."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import websockets
from websockets.asyncio.client import ClientConnection
from websockets.typing import Subprotocol

from stream_client.dialects import DIALECTS, Dialect, server_error
from stream_client.errors import ConnectionFailed, ServerError, StreamClientError
from stream_client.events import Event, Problem, Ready
from stream_client.resuming import Sent, pauses
from stream_client.wishes import Wishes

DEFAULT_URL = os.environ.get("STREAM_CLIENT_URL", "ws://127.0.0.1:10095")
OPEN_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 2.0
LONGEST_MESSAGE = 1 << 24
TRY_AGAIN_LATER = 1013
DOOR_GONE = 1012
UNANSWERED_PINGS = 1011
HOW_TO_START = "start it with `stream-server serve`"


class connect:
    """A session, opened on entering and closed on leaving: `async with connect(url) as stream`.

    `url` may leave out the path; http and https count as ws and wss. `wishes` say what the session should be like.
    Raises ConnectionFailed where no server answers, ServerError where it refuses.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        dialect: str = "native",
        wishes: Wishes | None = None,
        insecure: bool = False,
        cafile: str | Path | None = None,
    ) -> None:
        self._dialect: Dialect = DIALECTS[dialect](wishes or Wishes())
        self._url = complete_url(url, self._dialect.path)
        self._ssl = ssl_context(self._url, insecure, cafile)

    async def __aenter__(self) -> Stream:
        socket = await open_socket(self._url, self._dialect, self._ssl)
        self._stream = Stream(socket, self._dialect, self._url, self._ssl)
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._stream._open()
        except TimeoutError:
            await self._stream.aclose()
            raise ConnectionFailed(f"{self._url} took the connection but did not open a session") from None
        except BaseException:
            await self._stream.aclose()
            raise
        return self._stream

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stream.aclose()


class Stream:
    """An open session: send audio, and read its events meanwhile.

    Events must be read while audio is sent: a server whose messages nobody takes stops taking audio, and `send` then
    waits. `transcribe` does both.

    A connection that is lost is made anew, where the server has waited for that, and nothing is lost or said twice.
    """

    ready: Ready

    def __init__(self, socket: ClientConnection, dialect: Dialect, url: str, context: ssl.SSLContext | None) -> None:
        self._socket = socket
        self._ssl = context
        self._sent = Sent()
        self._sending = asyncio.Lock()
        self._resuming = asyncio.Lock()
        self._again: asyncio.Task[None] | None = None
        self._closing = False
        self._dialect = dialect
        self._url = url
        self._events: deque[Event] = deque()
        self._stopped = False

    async def send(self, audio: bytes) -> None:
        """Send 16 kHz mono 16 bit audio; waits where the server does not keep up."""
        await self._write(audio)
        self._dialect.sent(audio)

    async def flush(self, id: str = "") -> None:
        """End the open segment now; answered by Flushed once its final is out."""
        await self._write(self._dialect.flush(id))

    async def stop(self) -> None:
        """No more audio: the last finals come, then the events end."""
        self._stopped = True
        await self._write(self._dialect.close())

    async def transcribe(self, blocks: AsyncIterable[bytes]) -> AsyncIterator[Event]:
        """Send all blocks, then stop; yields the events meanwhile and until the end.

        An error of `blocks` is raised after the last event, so that what was sent before it is still recognised.
        Raises ConnectionFailed where the server ends the session before all blocks were sent.
        """
        sender = asyncio.create_task(self._send_all(blocks), name="stream-client sender")
        try:
            async for event in self:
                yield event
            if not self._stopped:
                raise ConnectionFailed(f"{self._url} ended the session before all audio was sent")
            error = await sender
        finally:
            sender.cancel()
            await asyncio.wait([sender])
        if error is not None:
            raise error

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._dialect.ended:
                raise StopAsyncIteration
            await self._read()
        return self._events.popleft()

    async def aclose(self) -> None:
        """Close the connection, whether or not the session has ended."""
        self._closing = True
        if self._again is not None:
            self._again.cancel()
        await self._socket.close()

    async def _open(self) -> None:
        first, known = self._dialect.open()
        try:
            await self._socket.send(first)
        except websockets.ConnectionClosed as closed:
            raise lost(closed, self._url) from None
        self._events.extend(known)
        while not self._events:
            await self._read()
        event = self._events[0]
        if isinstance(event, Problem):
            raise server_error(event)
        if not isinstance(event, Ready):
            raise ServerError("bad_answer", f"the server began with {type(event).__name__} instead of Ready")
        self.ready = event

    async def _send_all(self, blocks: AsyncIterable[bytes]) -> StreamClientError | None:
        error = None
        try:
            async for block in blocks:
                await self.send(block)
        except ConnectionFailed:
            return None  # the reader meets the same end, and knows the reason that the server gave
        except StreamClientError as failure:
            error = failure
        try:
            await self.stop()
        except ConnectionFailed:
            pass
        return error

    async def _write(self, message: bytes | str) -> None:
        self._sent.put(message)
        await self._send_waiting()

    async def _send_waiting(self) -> None:
        async with self._sending:
            while (message := self._sent.take()) is not None:
                socket = self._socket
                try:
                    await socket.send(message)
                except websockets.ConnectionClosed as closed:
                    await self._resume(socket, closed)

    async def _resume(self, socket: ClientConnection, closed: websockets.ConnectionClosed) -> None:
        """Goes on by another connection in the place of `socket`. Raises what its end means, where that is final."""
        error = lost(closed, self._url)
        final = closed.rcvd is not None and closed.rcvd.code not in (DOOR_GONE, UNANSWERED_PINGS)
        async with self._resuming:
            # Reader and sender meet the same end.
            if self._socket is not socket:
                return
            if final or self._closing or not self._dialect.resume_s:
                raise error
            try:
                async with asyncio.timeout(self._dialect.resume_s):
                    self._socket = await self._connect_again()
            except TimeoutError:
                raise error from None
            except StreamClientError as refusal:
                self._dialect.resume_s = 0.0
                raise ConnectionFailed(f"{error}, and the session is lost with it: {refusal}") from None
            # Whoever sends next sends this first; where nobody does any more, it goes all the same.
            self._again = asyncio.create_task(self._send_again(), name="stream-client resumption")

    async def _send_again(self) -> None:
        try:
            await self._send_waiting()
        except StreamClientError:
            return  # the reader meets the same end

    async def _connect_again(self) -> ClientConnection:
        for pause in pauses():
            await asyncio.sleep(pause)
            try:
                socket = await open_socket(self._url, self._dialect, self._ssl)
            except StreamClientError:
                continue
            try:
                await socket.send(self._dialect.resume())
                answer = await socket.recv()
                self._sent.rewind(*self._dialect.resumed(str(answer)))
                return socket
            except websockets.ConnectionClosed:
                continue
            except BaseException:
                socket.transport.abort()
                raise
        raise AssertionError("there is always another pause")

    async def _read(self) -> None:
        socket = self._socket
        try:
            async with asyncio.timeout(self._dialect.patience_s):
                message = await socket.recv()
        except websockets.ConnectionClosed as closed:
            await self._resume(socket, closed)
            return
        except TimeoutError:
            self._events.append(self._dialect.give_up())
            return
        text = message if isinstance(message, str) else message.decode(errors="replace")
        self._events.extend(self._dialect.receive(text))


def complete_url(url: str, path: str) -> str:
    """The WebSocket address behind what a person wrote: scheme and path may be missing, http means ws."""
    if "://" not in url:
        url = f"ws://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.hostname and parts.port != 0
    except ValueError:  # brackets without their pair, a port that is no number or too large
        usable = False
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme) if usable else ""
    if scheme not in ("ws", "wss"):
        raise ConnectionFailed(f"{url} is no address of a server; write for example ws://127.0.0.1:10095")
    return urlunsplit((scheme, parts.netloc, path if parts.path in ("", "/") else parts.path, parts.query, ""))


def ssl_context(url: str, insecure: bool, cafile: str | Path | None) -> ssl.SSLContext | None:
    """What a wss address is checked against; None for ws."""
    if not url.startswith("wss:"):
        return None
    try:
        context = ssl.create_default_context(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise ConnectionFailed(f"{cafile} is not a readable file of certificates (PEM): {error}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def open_socket(
    url: str, dialect: Dialect, context: ssl.SSLContext | None, *, ping_interval_s: float | None = 20.0
) -> ClientConnection:
    """A connection in the dialect's subprotocol. Raises ConnectionFailed, or ServerError where there is no room."""
    subprotocols = [Subprotocol(name) for name in dialect.subprotocols] or None
    try:
        return await websockets.connect(
            url, ssl=context, subprotocols=subprotocols, compression=None, max_size=LONGEST_MESSAGE,
            open_timeout=OPEN_TIMEOUT_S, close_timeout=CLOSE_TIMEOUT_S, ping_interval=ping_interval_s,
        )  # fmt: skip
    except websockets.InvalidStatus as refusal:
        raise _refused(refusal, url) from None
    except ssl.SSLCertVerificationError as error:
        raise ConnectionFailed(
            f"the certificate of {url} is not trusted ({error.verify_message}); name its authority with "
            "--cafile, or accept any with --insecure"
        ) from None
    except (ssl.SSLError, ConnectionResetError) as error:
        advice = "try ws:// instead of wss://" if context is not None else "try wss:// instead of ws://"
        raise ConnectionFailed(f"{url} broke off the greeting ({_reason(error)}); {advice}") from None
    except (OSError, TimeoutError) as error:
        raise ConnectionFailed(f"no server answers at {url} ({_reason(error)}); {HOW_TO_START}") from None
    except (websockets.InvalidHandshake, websockets.InvalidURI, EOFError) as error:
        advice = "" if context is not None else "; if it speaks TLS, write wss:// instead of ws://"
        raise ConnectionFailed(
            f"{url} does not answer as a speech recognition server ({_reason(error)}){advice}"
        ) from None


def _refused(refusal: websockets.InvalidStatus, url: str) -> StreamClientError:
    status = refusal.response.status_code
    if status == 503:
        after = refusal.response.headers.get("Retry-After", "")
        return ServerError(
            "overloaded", "the server has no room for another session",
            retry_after_s=int(after) if after.isdigit() else None,
        )
    if status == 404:
        return ConnectionFailed(f"there is no such path on the server: {url}")
    return ConnectionFailed(f"{url} refused the connection (HTTP {status})")


def lost(closed: websockets.ConnectionClosed, url: str) -> StreamClientError:
    """The error that a connection's end is, where the session has not ended."""
    received = closed.rcvd
    if received is not None and received.code == TRY_AGAIN_LATER:
        return ServerError("overloaded", received.reason or "the server has no room for another session")
    reason = f"{received.code} {received.reason}".strip() if received is not None else "no close frame"
    return ConnectionFailed(f"the connection to {url} was lost before the end ({reason})")


def _reason(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
