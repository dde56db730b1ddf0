"""The door's side of an engine: a link that comes back by itself, on an asyncio loop."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable

import zmq
import zmq.asyncio
from zmq.utils.monitor import recv_monitor_message

from stream_server.engine.stream import Lane
from stream_server.engine.wire import (
    Abort,
    Admit,
    Admitted,
    Beat,
    DoorMessage,
    EngineInfo,
    EngineMessage,
    HeardAgain,
    Hello,
    Malformed,
    Ping,
    Recognised,
    Refused,
    Release,
    Stranger,
    Welcome,
    Write,
    Wrote,
    pack,
    pack_chunk,
    pack_guess,
    unpack_from_engine,
)
from stream_server.errors import EngineError, Overloaded
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass
from stream_server.speech.scribe import Scribed, Spoken

log = logging.getLogger(__name__)

RECONNECT_S = 0.1
PING_S = 1.0
SILENT_PINGS = 60
"""Pings without a word from the engine after which it is taken for hung. A process that dies is noticed at once, by
its socket; this is for one that lives and does nothing, and must outlast the longest step of a slow processor."""

ADMIT_TIMEOUT_S = 15.0
HIGH_WATER_MARK = 100_000
"""Messages that may wait during a long step: far more than the credit of a door's sessions, one chunk each."""

MESSAGES_PER_TURN = 256
"""Messages read before clients have their turn again."""

# pyzmq's flags are members of enumerations, and to join or compare those takes longer than to send a message.
_AT_ONCE = int(zmq.NOBLOCK)
_AT_ONCE_MORE_FOLLOWS = int(zmq.NOBLOCK | zmq.SNDMORE)
_READABLE = int(zmq.POLLIN)

_CONNECTED = zmq.EVENT_HANDSHAKE_SUCCEEDED
_DISCONNECTED = zmq.EVENT_DISCONNECTED | zmq.EVENT_CLOSED | zmq.EVENT_CONNECT_RETRIED


class EngineClient:
    """A door's link to one engine. Its methods and callbacks belong to the loop that awaits `run`.

    A link lives as long as one engine process does: after a restart everything is connected, greeted and admitted
    anew, so that nothing meant for the former engine reaches the new one. Door and session names are unique: a door's
    name among the living, a session's name for ever.

    `on_ready(info)` each time the engine can be used: sessions that were admitted still are, their streams are gone.
    `on_lost()` each time that ends: chunks in flight get no result.
    `on_hypothesis(session, hypothesis)` once for each chunk, unless lost, aborted or released.
    `on_second_pass(session, second_pass)` once for each chunk that closed a segment and did not fail, unless lost,
    aborted or released.
    `on_written(session, segment, scribed)` once for each final given to `write`, with None where it could not be
    written, unless lost or released.
    `on_refused(session, message)` where a session found no room after a restart; it is no longer admitted then, and
    each chunk that it submits is answered by a hypothesis with an error.
    """

    def __init__(self, endpoint: str, door: str, *, on_hypothesis: Callable[[str, Hypothesis], None],
                 on_lost: Callable[[], None], on_ready: Callable[[EngineInfo], None],
                 on_refused: Callable[[str, str], None] | None = None,
                 on_second_pass: Callable[[str, SecondPass], None] | None = None,
                 on_written: Callable[[str, int, Scribed | None], None] | None = None) -> None:
        self.ready = False
        self.info: EngineInfo | None = None
        self.statistics: dict[str, float] = {}
        self._endpoint = endpoint
        self._door = door
        self._on_hypothesis = on_hypothesis
        self._on_lost = on_lost
        self._on_ready = on_ready
        self._on_refused = on_refused
        self._on_second_pass = on_second_pass
        self._on_written = on_written
        self._link: _Link | None = None
        self._sessions: set[str] = set()
        self._admissions: dict[str, asyncio.Future[None]] = {}
        self._readmissions: set[str] = set()
        self._homeless: dict[str, str] = {}
        self._used = 0

    @property
    def free_places(self) -> int:
        """Sessions that the engine has room for, as far as is known: by its last beat and what was asked for since."""
        return 0 if self.info is None else self.info.capacity - self._used

    @property
    def descriptor(self) -> int | None:
        """Can be read when the link has something to do; another one after each loss of the engine."""
        return None if self._link is None else self._link.descriptor

    async def run(self) -> None:
        """Keeps the link up until cancelled, which is no loss: no callback comes of it."""
        context = zmq.asyncio.Context()
        try:
            while True:
                await self._live_with_one_engine(context)
                await asyncio.sleep(RECONNECT_S)
        finally:
            context.destroy(linger=0)

    async def admit(self, session: str) -> None:
        """Asks room for a session. Raises Overloaded where there is none, EngineError where the engine is away."""
        if not self.ready:
            raise EngineError("the engine is not ready")
        if session in self._sessions or session in self._admissions:
            raise AssertionError(f"session {session} asks for room twice")
        answer = asyncio.get_running_loop().create_future()
        self._admissions[session] = answer
        self._used += 1
        self._send(Admit(session))
        try:
            async with asyncio.timeout(ADMIT_TIMEOUT_S):
                await answer
        except BaseException as error:
            self.release(session)
            if isinstance(error, TimeoutError):
                raise EngineError("the engine did not answer in time") from None
            raise
        finally:
            self._admissions.pop(session, None)

    def release(self, session: str) -> None:
        """Gives back the room of a session, with whatever stream it has. Does nothing for one that has none."""
        if session in self._sessions or session in self._admissions:
            self._used -= 1
        self._sessions.discard(session)
        self._homeless.pop(session, None)
        self._send(Release(session))
        self._readmitted(session)

    def submit(self, session: str, chunk: Chunk, lane: Lane = Lane.LIVE) -> None:
        """Sends a chunk on its way; never blocks. Raises EngineError where the engine is away."""
        if not self.ready:
            raise EngineError("the engine is not ready")
        if session in self._homeless:
            failed = Hypothesis(chunk.generation, chunk.sequence, last=chunk.last, error=self._homeless[session])
            asyncio.get_running_loop().call_soon(self._call, self._on_hypothesis, session, failed)
            return
        if session not in self._sessions:
            raise AssertionError(f"session {session} is not admitted")
        self._link.send(pack_chunk(session, chunk, lane))

    def guess(self, session: str, guess: Guess) -> None:
        """Says that a segment may be about to end. Nothing comes back."""
        if session in self._sessions and self._link is not None:
            self._link.send(pack_guess(session, guess))

    def abort(self, session: str, generation: int) -> None:
        """Says that a stream's text is no longer wanted. Nothing comes back; a result on its way still may."""
        self._send(Abort(session, generation))

    def write(self, session: str, segment: int, spoken: Spoken) -> None:
        """Sends a final to be written as people read it. Raises EngineError where the engine is away."""
        if not self.ready:
            raise EngineError("the engine is not ready")
        if session in self._homeless:
            asyncio.get_running_loop().call_soon(self._call, self._on_written, session, segment, None)
        else:
            self._send(Write(session, segment, spoken))

    async def _live_with_one_engine(self, context: zmq.asyncio.Context) -> None:
        self._link = link = _Link(context, self._endpoint, self._door, self._handle)
        tasks = [asyncio.create_task(part) for part in (link.watch(), link.ping(), link.until_over())]
        try:
            # No task group: one whose task fails in the moment of its cancellation forgets the latter.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            was_ready = self.ready
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._let_go(link)
        for task in done:
            if not isinstance(task.exception(), _Over):
                task.result()
        log.log(logging.WARNING if was_ready else logging.DEBUG, "engine lost: %s", done.pop().exception())
        if was_ready:
            self._call(self._on_lost)

    def _handle(self, message: EngineMessage) -> None:
        match message:
            case Recognised(session=session, hypothesis=hypothesis):
                if session in self._sessions:
                    self._call(self._on_hypothesis, session, hypothesis)
            case HeardAgain(session=session, second_pass=second_pass):
                if session in self._sessions and self._on_second_pass is not None:
                    self._call(self._on_second_pass, session, second_pass)
            case Wrote(session=session, segment=segment, scribed=scribed):
                if session in self._sessions and self._on_written is not None:
                    self._call(self._on_written, session, segment, scribed)
            case Admitted(session=session):
                self._admitted(session)
            case Refused():
                self._refused(message)
            case Beat(statistics=statistics):
                self.statistics = statistics
                self._used = int(statistics.get("sessions", 0))
            case Welcome(info=info):
                self._welcomed(info)
            case Stranger():
                raise _Over("it took this door for dead")

    def _welcomed(self, info: EngineInfo) -> None:
        self.info = info
        self._used = len(self._sessions)
        self._readmissions = set(self._sessions)
        for session in self._sessions:
            self._send(Admit(session))
        self._become_ready_if_settled()

    def _admitted(self, session: str) -> None:
        answer = self._admissions.get(session)
        if answer is not None and not answer.done():
            self._sessions.add(session)
            answer.set_result(None)
        self._readmitted(session)

    def _refused(self, message: Refused) -> None:
        session = message.session
        answer = self._admissions.get(session)
        if answer is not None and not answer.done():
            answer.set_exception(Overloaded(message.message, retry_after_s=message.retry_after_s))
        elif session in self._sessions:
            self._sessions.discard(session)
            self._homeless[session] = message.message
            if self._on_refused is not None:
                self._call(self._on_refused, session, message.message)
        self._readmitted(session)

    def _readmitted(self, session: str) -> None:
        if session in self._readmissions:
            self._readmissions.discard(session)
            self._become_ready_if_settled()

    def _become_ready_if_settled(self) -> None:
        if not self.ready and not self._readmissions and self._link is not None:
            self.ready = True
            self._call(self._on_ready, self.info)

    def _let_go(self, link: _Link) -> None:
        link.close()
        self._link = None
        self.ready = False
        self._readmissions.clear()
        for answer in self._admissions.values():
            if not answer.done():
                answer.set_exception(EngineError("the engine was lost"))

    def _send(self, message: DoorMessage) -> None:
        if self._link is not None:
            self._link.send([pack(message)])

    def _call(self, callback: Callable[..., None], *arguments: object) -> None:
        # A mistake in one session's callback must not cost all sessions their engine.
        try:
            callback(*arguments)
        except Exception:
            log.exception("a callback of the engine's client failed")


class _Over(Exception):
    """The link came to its end; the text says why."""


class _Link:
    """One connection to one engine process. Does not reconnect: what ends it raises _Over in one of its tasks.

    The socket is a plain one, read when its descriptor says so and until nothing is left: pyzmq's asyncio socket
    makes a future for each message and asks for the socket's events several times, which costs more than the message.
    What is sent within one turn of the loop goes at its end, in order.
    """

    def __init__(self, context: zmq.asyncio.Context, endpoint: str, door: str,
                 on_message: Callable[[EngineMessage], None]) -> None:
        self._door = door
        self._on_message = on_message
        self._silent_pings = 0
        self._loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = self._loop.create_future()
        self._outgoing: list[list[bytes | memoryview]] = []
        self._socket = context.socket(zmq.DEALER, socket_class=zmq.Socket)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.SNDHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.RCVHWM, HIGH_WATER_MARK)
        self._socket.setsockopt(zmq.RECONNECT_IVL, -1)
        self._socket.setsockopt(zmq.ROUTING_ID, f"{door}.{secrets.token_hex(8)}".encode())
        self._monitor = self._socket.get_monitor_socket(_CONNECTED | _DISCONNECTED)
        self.descriptor = self._socket.getsockopt(zmq.FD)
        self._loop.add_reader(self.descriptor, self._receive)
        self._socket.connect(endpoint)
        self._connected = False
        # The socket's own `closed` asks the library.
        self._closed = False

    def send(self, frames: list[bytes | memoryview]) -> None:
        """Puts a message on its way; where there is no connection it is dropped."""
        if not self._connected:
            return
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(frames)

    def _flush(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if self._closed:
            return
        send = self._socket.send
        try:
            for frames in outgoing:
                for frame in frames[:-1]:
                    send(frame, _AT_ONCE_MORE_FOLLOWS)
                send(frames[-1], _AT_ONCE)
        except zmq.ZMQError as error:
            self._end(f"it cannot be written to: {error}")
            return
        # Sending takes note of what came meanwhile, and the descriptor then does not tell of it again.
        self._receive()

    def _receive(self) -> None:
        try:
            for _ in range(MESSAGES_PER_TURN):
                # To be told that there is nothing by an exception would cost more than a message.
                if self._closed or not zmq.zmq_poll([(self._socket, _READABLE)], 0):
                    return
                # An engine's messages are one frame each: to ask whether more follow costs as much as to read it.
                self._take(self._socket.recv(_AT_ONCE))
        except _Over as over:
            self._end(str(over))
            return
        self._loop.call_soon(self._receive)

    def _take(self, frame: bytes) -> None:
        self._silent_pings = 0
        try:
            message = unpack_from_engine([frame])
        except Malformed as error:
            log.warning("malformed message of the engine dropped: %s", error)
            return
        self._on_message(message)

    def _end(self, reason: str) -> None:
        if not self._over.done():
            self._over.set_exception(_Over(reason))

    async def until_over(self) -> None:
        """Raises _Over once the engine wants no more of this link, or takes nothing."""
        await self._over

    async def watch(self) -> None:
        """Says hello once connected; raises _Over once disconnected."""
        while True:
            event = await recv_monitor_message(self._monitor)
            if event["event"] & _DISCONNECTED:
                raise _Over("its socket closed" if self._connected else "nobody listens")
            self._connected = True
            self.send([pack(Hello(self._door))])

    async def ping(self) -> None:
        """Tells the engine that the door lives; raises _Over where the engine never says anything."""
        while True:
            await asyncio.sleep(PING_S)
            self.send([pack(Ping())])
            self._silent_pings += 1
            if self._silent_pings > SILENT_PINGS:
                raise _Over("it fell silent")

    def close(self) -> None:
        self._closed = True
        self._loop.remove_reader(self.descriptor)
        self._over.cancel()
        self._socket.disable_monitor()
        self._monitor.close(0)
        self._socket.close(0)
