"""What a door tells those who count. Quick, and never raises."""

from __future__ import annotations

from typing import Protocol

from stream_server.session.messages import Ended, ServerMessage


class Observer(Protocol):
    """Counts what happens at a door."""

    def connected(self, dialect: str) -> None:
        """A connection was made."""

    def disconnected(self, dialect: str) -> None:
        """It ended."""

    def session_opened(self) -> None:
        """The engine has given room."""

    def session_closed(self, sums: Ended) -> None:
        """Its room was given back; `sums` are those of its audio."""

    def parked(self, sessions: int) -> None:
        """So many sessions wait at this door for a client whose connection was lost."""

    def resumed(self) -> None:
        """A client has gone on with its session."""

    def carried(self) -> None:
        """A connection is handed on to the door that has its session."""

    def expired(self, why: str) -> None:
        """A session waited in vain: `late` or `crowded`."""

    def refused(self) -> None:
        """The engine had no room, or was away."""

    def sent(self, message: ServerMessage) -> None:
        """A message has gone to its client."""

    def first_partial(self, seconds: float) -> None:
        """Time from the detection of speech to its first text on the way to the client."""

    def answered(self, seconds: float) -> None:
        """Time from the handing over of a hop to the engine to its text on the way to the client."""

    def failed(self, code: str) -> None:
        """Something was refused or went wrong; `code` is the error's word."""
