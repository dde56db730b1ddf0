"""Joins a client's link, its dialect, its sessions and the engine.

One task reads, one writes; in between everything is synchronous: whatever arrives is given to the session, and what
the session then has for the engine and the client is passed on at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from stream_server.config import SessionDefaults, SessionLimits
from stream_server.dialects import Dialect
from stream_server.doors.delivery import INTERNAL_ERROR, Delivery
from stream_server.doors.engine_link import Engine
from stream_server.doors.hold import Hold
from stream_server.doors.jury import Jury
from stream_server.doors.link import Link, LinkLost
from stream_server.doors.observer import Observer
from stream_server.doors.pace import HOTWORDS_EVERY_S, Pace
from stream_server.doors.seats import ALONE, NoRooms, Seat, Seats
from stream_server.doors.stopwatch import Stopwatch
from stream_server.errors import ClientError, EngineError, Overloaded
from stream_server.session.messages import Command, Ended, Error, Flush, Hotwords, ServerMessage, Start, Stop
from stream_server.session.session import Session
from stream_server.session.states import State
from stream_server.speech.hotwords import EMPTY, HotwordList
from stream_server.speech.recognition import Hypothesis, SecondPass
from stream_server.speech.scribe import Scribed
from stream_server.speech.vad import Vad

log = logging.getLogger(__name__)

CLOSE_CODES = {"bad_json": 1007, "too_large": 1009}
"""How a fatal error of the client closes the connection; all others are violations of policy: 1008."""

GOING_AWAY = (1001, "the server is going away")
ENGINE_AWAY_RETRY_S = 5

AUDIO_PIECE_BYTES = 64 << 10


class Driver:
    """One connection, from its first message to its end."""

    def __init__(self, link: Link, dialect: Dialect, engine: Engine, observer: Observer, *,
                 defaults: SessionDefaults, limits: SessionLimits, jury: Jury,
                 new_session_id: Callable[[], str], hotwords: HotwordList = EMPTY,
                 seats: Seats = NoRooms()) -> None:  # noqa: B008 - without state
        self.session_id: str | None = None
        self._link = link
        self._dialect = dialect
        self._engine = engine
        self._observer = observer
        self._defaults = defaults
        self._limits = limits
        self._jury = jury
        self._new_session_id = new_session_id
        self._hotwords = hotwords
        self._seats = seats
        self._seat: Seat = ALONE
        self._session: Session | None = None
        self._goodbye: tuple[int, str] | None = None
        self._delivery = Delivery(link, dialect, observer, limits.write_timeout_s, self._delivered)
        self._outbox = self._delivery.outbox
        self._progress = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._lists = Pace(HOTWORDS_EVERY_S)
        self._alarm: asyncio.TimerHandle | None = None
        self._stopwatch = Stopwatch(observer)

    async def run(self) -> None:
        """Serves the connection until it ends, and frees what it held, however it ends."""
        self._set_alarm()
        self._link.offer_bytes(self._take)
        reader = asyncio.create_task(self._read())
        writer = asyncio.create_task(self._delivery.run())
        try:
            await asyncio.wait({reader, writer, self._link.lost}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._stop_alarm()
            await _cancel(reader, writer)
            self._part()
        await self._link.close(*(self._outbox.goodbye or INTERNAL_ERROR))

    def drain(self) -> None:
        """The server ends: the open segment is finished, its final goes out, then the connection closes."""
        self._hang_up(*GOING_AWAY)

    def leave(self) -> None:
        """The server ends now, whatever is open."""
        self._outbox.close(*GOING_AWAY)

    def receive_hypothesis(self, hypothesis: Hypothesis) -> None:
        """What the engine recognised in the session's last chunk."""
        self._stopwatch.answered()
        self._tell(lambda session: session.receive_hypothesis(hypothesis))

    def receive_second_pass(self, second_pass: SecondPass) -> None:
        """What the second pass made of one of the session's segments."""
        self._tell(lambda session: session.receive_second_pass(second_pass))

    def receive_written(self, segment: int, scribed: Scribed | None) -> None:
        """A final of the session as it is written."""
        self._tell(lambda session: session.receive_written(segment, scribed))

    @property
    def unjudged(self) -> Vad | None:
        """The session's detector, while what it has heard waits to be judged."""
        return self._session and self._session.unjudged

    def receive_scores(self) -> None:
        """The session's detector has been judged."""
        self._tell(lambda session: session.receive_scores())

    def engine_lost(self) -> None:
        """The engine is away: what it knew of the open segment is lost."""
        self._tell(lambda session: session.receive_engine_lost())

    def engine_back(self) -> None:
        """The engine can be used again."""
        self._tell(lambda session: session.receive_engine_back())

    def engine_refused(self, message: str) -> None:
        """The engine came back without room for this session: others were quicker."""
        if self._session is not None:
            self._refuse(Overloaded(message))
            self._progress.set()

    async def _read(self) -> None:
        try:
            while True:
                data = await self._link.receive()
                self._heard_at = self._loop.time()
                # The server may have begun to end meanwhile: what comes then is too late, but no client's mistake.
                await self._until_wanted()
                await self._handle(data)
                await self._until_wanted()
        except LinkLost:
            return
        except Exception:
            self.fail()
            await self._link.lost

    def _take(self, data: bytes) -> Hold | None:
        """Handles a message of audio at once, where nothing has to be waited for; None where the reader has to."""
        session = self._session
        if session is None:
            return None
        # The alarm stays where it is: an open session's deadline only moves away, and `_ring` looks at this.
        self._heard_at = self._loop.time()
        if session.held.take(data):
            return session.held
        if session.state is not State.OPEN or len(data) > AUDIO_PIECE_BYTES or not self._wanted():
            return None
        try:
            try:
                commands, audio = self._dialect.receive_bytes(data)
                for command in commands:
                    self._pass_on(command)
                session.receive_audio(audio)
            except ClientError as error:
                self._complain(error)
            self._pass_on_output(session)
        except Exception:
            self.fail()
        return session.held

    @property
    def _patience_s(self) -> float:
        """How long a client without a session may be silent; a session knows that itself."""
        return self._limits.start_timeout_s if self.session_id is None else self._limits.idle_timeout_s

    def _give_up_waiting(self) -> None:
        code = "start_timeout" if self.session_id is None else "idle_timeout"
        message = f"nothing came for {self._patience_s:g} s"
        self._say(Error(code=code, message=message, fatal=True))
        self._outbox.close(1008, message)

    async def _until_wanted(self) -> None:
        """Waits while the session has enough audio, the client enough to read, or the connection is closing."""
        while not self._wanted():
            self._progress.clear()
            await self._progress.wait()

    def _wanted(self) -> bool:
        if self._outbox.full or self._outbox.goodbye is not None or self._goodbye is not None:
            return False
        return self._session is None or self._session.wants_audio

    async def _handle(self, data: str | bytes) -> None:
        try:
            if isinstance(data, str):
                commands, audio = self._dialect.receive_text(data)
                await self._hear(audio)
                for command in commands:
                    await self._obey(command)
            else:
                commands, audio = self._dialect.receive_bytes(data)
                for command in commands:
                    await self._obey(command)
                await self._hear(audio)
        except ClientError as error:
            self._complain(error)
        except (Overloaded, EngineError) as error:
            self._refuse(error)
        self._pump()

    async def _hear(self, audio: bytes) -> None:
        """Gives a long message to the session in pieces, so that no more waits in it than of many short ones."""
        for start in range(0, len(audio), AUDIO_PIECE_BYTES):
            if self._session is None:
                return
            self._session.receive_audio(audio[start:start + AUDIO_PIECE_BYTES])
            if start + AUDIO_PIECE_BYTES < len(audio):
                self._pump()
                await asyncio.sleep(0)
                await self._until_wanted()

    async def _obey(self, command: Command) -> None:
        if isinstance(command, Start):
            await self._open(command)
        elif self._session is not None:
            self._pass_on(command)
            if isinstance(command, Hotwords):
                await asyncio.sleep(self._lists.wait(self._loop.time()))

    def _pass_on(self, command: Flush | Hotwords | Stop) -> None:
        if isinstance(command, Flush):
            self._session.receive_flush(command)
        elif isinstance(command, Hotwords):
            self._session.receive_hotwords(command)
        else:
            self._session.receive_stop(command)

    async def _open(self, start: Start) -> None:
        while self._session is not None:
            self._pump()
            self._progress.clear()
            await self._progress.wait()
        self.session_id = self._new_session_id()
        self._seat = await self._seats.take(start)
        await self._engine.admit(self.session_id)
        info = self._engine.info
        session = Session(self.session_id, model=info.model, windows=info.windows, defaults=self._defaults,
                          limits=self._limits, detectors=self._jury.detectors, hotwords=self._hotwords,
                          second_model=bool(info.second_model), punctuation=bool(info.punctuation_model), itn=info.itn,
                          new_held=Hold)
        self._session = session
        self._observer.session_opened()
        try:
            session.receive_start(start)
        except ClientError as error:
            self._free()
            error.fatal = True
            raise
        self._seat.attend(session)

    def _complain(self, error: ClientError) -> None:
        self._say(Error(code=error.code, message=error.message, fatal=error.fatal, field=error.field,
                        value=error.value, allowed=error.allowed))
        if error.fatal:
            self._hang_up(CLOSE_CODES.get(error.code, 1008), error.message)

    def _refuse(self, error: Overloaded | EngineError) -> None:
        self._observer.refused()
        code, retry = ("overloaded", error.retry_after_s) if isinstance(error, Overloaded) else \
            ("engine_away", ENGINE_AWAY_RETRY_S)
        self._say(Error(code=code, message=str(error), fatal=True, retry_after_s=retry))
        self._outbox.close(1013, f"{error}; try again in {retry} s")

    def fail(self) -> None:
        """An error of our own, which is being handled: it is logged, and the connection closed."""
        log.exception("connection of %s failed", self._link.peer)
        self._say(Error(code="internal", message=INTERNAL_ERROR[1], fatal=True))
        self._outbox.close(*INTERNAL_ERROR)

    def _tell(self, news: Callable[[Session], None]) -> None:
        """Gives the session news from outside the reader, and passes on what follows."""
        if self._session is None:
            return
        try:
            news(self._session)
            self._pump()
        except Exception:
            self.fail()

    def _hang_up(self, code: int, reason: str) -> None:
        """Lets the session end in its own time, then closes."""
        if self._session is None:
            self._outbox.close(code, reason)
            return
        self._goodbye = (code, reason)
        if self._session.state is State.OPEN:
            self._tell(lambda session: session.receive_stop())

    def _pump(self) -> None:
        """Passes on what the session has, and lets those go on who wait for that."""
        if self._session is not None:
            self._pass_on_output(self._session)
        self._set_alarm()
        self._progress.set()

    def _pass_on_output(self, session: Session) -> None:
        """What the session has for the engine and for the client."""
        generation = session.take_abort()
        if generation is not None:
            self._engine.abort(self.session_id, generation)
        chunk = session.take_chunk()
        if chunk is not None:
            self._stopwatch.submitted()
            self._engine.submit(self.session_id, chunk)
        if session.guesses and (guess := session.take_guess()) is not None:
            self._engine.guess(self.session_id, guess)
        if session.writes and (text := session.take_text()) is not None:
            self._engine.write(self.session_id, *text)
        for message in session.take_messages():
            self._say(self._seat.said(message))
        if session.judged_later and session.unjudged is not None:
            self._jury.call(self)

    def _say(self, message: ServerMessage) -> None:
        if isinstance(message, Error):
            self._observer.failed(message.code)
        self._stopwatch.said(message)
        self._put(message)

    def _put(self, message: ServerMessage) -> None:
        self._delivery.put(message)

    def _set_alarm(self) -> None:
        if self._outbox.goodbye is not None:
            return
        session = self._session
        deadline = session.next_deadline(self._loop.time()) if session else self._heard_at + self._patience_s
        # Deadlines move with every message; an alarm that rings too early sets the next one.
        if deadline is None or (self._alarm is not None and self._alarm.when() <= deadline):
            return
        self._stop_alarm()
        self._alarm = self._loop.call_at(deadline, self._ring)

    def _stop_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self) -> None:
        self._alarm = None
        if self._outbox.goodbye is not None:
            return
        now = self._loop.time()
        if self._session is not None:
            # What `_take` handled or was held was heard then, not now.
            self._session.next_deadline(max(self._heard_at, self._session.held.at))
            self._tell(lambda session: session.receive_time(now))
        elif now >= self._heard_at + self._patience_s:
            self._give_up_waiting()
        else:
            self._set_alarm()

    def _delivered(self, message: ServerMessage) -> None:
        self._observer.sent(message)
        self._stopwatch.sent(message)
        if isinstance(message, Ended):
            self._heard_at = self._loop.time()
            self._free()
            if self._goodbye is not None:
                self._outbox.close(*self._goodbye)
            self._set_alarm()
        if self._dialect.ended:
            self._outbox.finish(1000, "")
        self._progress.set()

    def _part(self) -> None:
        """The connection has ended, whatever the session's state."""
        self._free()

    def _free(self) -> None:
        """Gives back the session's room in the engine."""
        session, self._session = self._session, None
        if session is not None and not session.ended:
            session.receive_disconnect()
            session.statistics.drop_until(session.statistics.received)
        self._seat.leave()
        if session is None:
            return
        self._engine.release(self.session_id)
        sums = session.statistics.ended()
        self._observer.session_closed(sums)
        log.info("session %s of %s over: %d segments, %d ms received, %d recognised, %d silent, %d dropped",
                 self.session_id, self._link.peer, sums.segments, sums.received_ms, sums.recognised_ms, sums.silent_ms,
                 sums.dropped_ms)


async def _cancel(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
