"""A driver whose session outlives its connection: parked when that is lost, gone on with by the driver of another."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from stream_server.doors.carrying import Carriage
from stream_server.doors.driver import GOING_AWAY, Driver
from stream_server.doors.link import Link
from stream_server.doors.parking import Parking
from stream_server.doors.seats import ALONE
from stream_server.session.messages import Command, Ended, Ready, Resume, Resumed, ServerMessage, Start
from stream_server.session.record import Record
from stream_server.session.session import Session
from stream_server.session.states import State
from stream_server.units import samples_to_ms

TAKEN_OVER = (4001, "the session goes on by another connection")


Carry = Callable[[str, Link], Carriage | None]
"""Given a token and a connection; None where no other door has the session."""


class ResumingDriver(Driver):
    """Parked, it goes on passing on what its session and the engine have for each other; only nobody listens.

    `token` names its session, as long as it holds one that can be resumed. The session itself may be over already: then
    what it said at the end is kept, for a client that did not hear it.
    """

    def __init__(self, *arguments: object, parking: Parking, moved: Callable[[str, Driver], None],
                 carry: Carry, **options: object) -> None:
        """`moved` is told that a session is this driver's from now on; `carry` makes what hands all on to
        another door, where that has the session."""
        super().__init__(*arguments, **options)
        self.token = ""
        self.parked = False
        self._parking = parking
        self._moved = moved
        self._carry = carry
        self._carriage: Carriage | None = None
        self._text = ""
        self._record: Record | None = None
        self._kept: Session | None = None
        self._messages = 0

    @property
    def over(self) -> bool:
        return self._session is None

    def drain(self) -> None:
        if self._carriage is not None:
            # The door that has the session ends it in its own time, and says how this connection is closed.
            return
        if self.parked and self.over:
            self.expire()
        else:
            super().drain()

    def leave(self) -> None:
        if self.parked:
            self.expire()
        else:
            super().leave()

    def expire(self) -> None:
        """Ends the parked session as one whose client is gone. In a meeting others wait for its last words: there it
        is finished first."""
        if self._seat is not ALONE and self._goodbye is None and self._session is not None \
                and self._session.state is State.OPEN:
            self._hang_up(*GOING_AWAY)
            return
        self.parked = False
        self._stop_alarm()
        self._free()
        self._parking.leave(self)

    def engine_refused(self, message: str) -> None:
        super().engine_refused(message)
        if self.parked:
            self.expire()

    def fail(self) -> None:
        super().fail()
        if self.parked:
            self.expire()

    async def run(self) -> None:
        try:
            await super().run()
        finally:
            if self._carriage is not None:
                self._carriage.end()
        if self.parked and self.over and self._link.left:
            # The client has heard the end: it closed after it.
            self.expire()

    async def _handle(self, data: str | bytes) -> None:
        if isinstance(data, str):
            self._text = data
            self._messages += 1
        await super()._handle(data)

    async def _obey(self, command: Command) -> None:
        if not isinstance(command, Resume):
            await super()._obey(command)
        elif not await self._hand_on(command.token):
            self._take_over(command)

    async def _open(self, start: Start) -> None:
        await super()._open(start)
        self.token = self._parking.enter(self) if start.resumable and self._dialect.resumes else ""
        self._kept, self._record, self._messages = self._session, Record() if self.token else None, 0

    async def _hand_on(self, token: str) -> bool:
        """Hands all on to the door that has the session, until that ends; False where it is no other door's."""
        self._carriage = self._carry(token, self._link)
        if self._carriage is None:
            return False
        self._stop_alarm()
        self._outbox.close(*await self._carriage.run(self._text))
        return True

    def _take_over(self, resume: Resume) -> None:
        """Raises ClientError; the session then stays where it is."""
        former = self._parking.holder(resume.token)
        again = former._record.again(resume.segments)
        former._hand_over(self)
        self.session_id, self._session, self._kept = former.session_id, former._session, former._kept
        self._record, self._messages = former._record, former._messages
        self._seat, former._seat = former._seat, ALONE
        former.session_id = former._session = former._record = None
        former.token, self.token = "", resume.token
        self._parking.take_over(self, resume.token)
        self._moved(self.session_id, self)
        self._kept.receive_resume(resume)
        self._outbox.put(self._resumed())
        for message in again:
            self._outbox.put(message)

    def _hand_over(self, to: Driver) -> None:
        """The session goes to another connection; this one, should it be half open, is closed."""
        self._stop_alarm()
        if self.parked:
            self.parked = False
        else:
            self._outbox.finish(*TAKEN_OVER)

    def _resumed(self) -> Resumed:
        intake = self._kept.intake
        return Resumed(session=self.session_id, samples=intake.position, received_ms=samples_to_ms(intake.ring.end),
                       messages=self._messages, segments=self._record.finals, encoding=intake.encoding,
                       sample_rate=intake.sample_rate, stopped=self._kept.state is not State.OPEN)

    def _put(self, message: ServerMessage) -> None:
        if self._record is not None:
            if isinstance(message, Ready):
                message = msgspec.structs.replace(message, resume=self.token, resume_s=self._parking.resume_s)
            else:
                self._record.note(message)
        if not self.parked:
            super()._put(message)
        elif isinstance(message, Ended):
            self._finish_parked()

    def _finish_parked(self) -> None:
        """The session is over, its room in the engine free; only what it said is kept, unless the server ends."""
        self._stop_alarm()
        self._free()
        if self._goodbye is not None:
            self.expire()

    def _part(self) -> None:
        ended = self._session is None and self._kept is not None
        lost = self._outbox.goodbye is None and self._goodbye is None
        if not self.token or self._link.left or self._goodbye is not None or not (lost or ended):
            super()._part()
            self._parking.leave(self)
            return
        self.parked = True
        if self._session is not None:
            self._session.parked = True
        self._parking.park(self)
        self._set_alarm()

    def _set_alarm(self) -> None:
        if not (self._carriage or self.parked and self.over):
            super()._set_alarm()
