"""Measures what a client waits for: speech to first text, and hop to its text."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from stream_server.doors.observer import Observer
from stream_server.session.messages import Final, Partial, ServerMessage, Speech


class Stopwatch:
    """The times of one session."""

    def __init__(self, observer: Observer, clock: Callable[[], float] = monotonic) -> None:
        self._observer = observer
        self._clock = clock
        self._submitted: float | None = None
        self._answered: float | None = None
        self._waiting_for_text: tuple[int, float] | None = None

    def submitted(self) -> None:
        """A hop went to the engine."""
        self._submitted = self._clock()

    def answered(self) -> None:
        """The engine answered; the next hop may go before this answer has reached the client."""
        self._submitted, self._answered = None, self._submitted

    def said(self, message: ServerMessage) -> None:
        """The session has a message for its client."""
        if isinstance(message, Speech):
            self._waiting_for_text = (message.segment, self._clock())

    def sent(self, message: ServerMessage) -> None:
        """A message has gone to the client."""
        if not isinstance(message, Partial | Final):
            return
        now = self._clock()
        if self._answered is not None:
            self._observer.answered(now - self._answered)
            self._answered = None
        if self._waiting_for_text is not None and self._waiting_for_text[0] == message.segment:
            self._observer.first_partial(now - self._waiting_for_text[1])
            self._waiting_for_text = None
