"""Where a session speaks: in a meeting, or for its client alone."""

from __future__ import annotations

from typing import Protocol, TypeVar

from stream_server.errors import ClientError
from stream_server.session.messages import ServerMessage, Start
from stream_server.session.session import Session

M = TypeVar("M", bound=ServerMessage)


class Seat(Protocol):
    """Told what a session hears and says."""

    def attend(self, session: Session) -> None:
        """This is the session; it has begun, and nothing was heard yet."""

    def said(self, message: M) -> M:
        """What the session says; returns it as its client is to be told it."""

    def leave(self) -> None:
        """The session is over; told once or more."""


class Seats(Protocol):
    """Gives a session its seat."""

    async def take(self, start: Start) -> Seat:
        """The seat that a session asks for. Raises ClientError, fatal, and Overloaded where there is none for it."""


class Alone:
    """Nobody else hears of it."""

    def attend(self, session: Session) -> None:
        """Nothing of it is wanted."""

    def said(self, message: M) -> M:
        return message

    def leave(self) -> None:
        """There is nothing to leave."""


ALONE = Alone()


class NoRooms:
    """Of a server without meetings."""

    async def take(self, start: Start) -> Seat:
        if start.room is not None:
            raise ClientError("unsupported", "there are no rooms here", field="room", value=start.room,
                              allowed="leave it out", fatal=True)
        return ALONE
