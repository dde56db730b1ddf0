"""A speaker in a room: what a session says to its client is passed on to those who read."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
import numpy as np

from stream_server.rooms.clerk import Left
from stream_server.rooms.events import partial_event
from stream_server.rooms.recording import Track
from stream_server.rooms.store import Caption, Room, Speaker
from stream_server.session.messages import Final, Partial, Ready, RoomNote, ServerMessage
from stream_server.session.session import Session
from stream_server.speech.subtitles import pieces

M = TypeVar("M", bound=ServerMessage)


class Seat:
    """Knows no socket and no thread; times are of the wall clock that it is given."""

    def __init__(self, room: Room, speaker: Speaker, put: Callable[[str, Caption | Left], None],
                 show: Callable[[str, int, int, bytes], None], clock: Callable[[], float],
                 track: Track | None = None) -> None:
        """`put` is given what is to be written, `show` a partial: room, speaker, segment and event; `track` the sound,
        where that is kept."""
        self._room = room
        self._speaker = speaker
        self._put = put
        self._show = show
        self._clock = clock
        self._track = track
        self._begin_ms: int | None = None
        """The session's first sample in the room's time."""
        self._left = False

    def attend(self, session: Session) -> None:
        """This is whom the seat is for; it has begun."""
        session.intake.tap = self.hear

    def hear(self, samples: np.ndarray) -> None:
        """Samples of the session: the first say when the session's time begins."""
        if self._begin_ms is None and len(samples):
            self._begin_ms = round(1000 * self._clock()) - self._room.began_ms
        if self._track is not None:
            self._track.hear(samples)

    def said(self, message: M) -> M:
        """What the session says, as its client is to be told it."""
        if isinstance(message, Ready):
            room = self._room
            note = RoomNote(name=room.name, read=room.read, speaker=self._speaker.id, recorded=room.recorded)
            return msgspec.structs.replace(message, room=note)
        if isinstance(message, Partial):
            self._pass_on(message.segment, message.start_ms, message.text, message.stable)
        elif isinstance(message, Final):
            self._keep(message)
        return message

    def leave(self) -> None:
        """The session is over."""
        if not self._left:
            self._left = True
            if self._track is not None:
                self._track.close()
            self._put(self._room.public, Left(self._speaker.id))

    def _pass_on(self, segment: int, start_ms: int, text: str, stable: int) -> None:
        event = partial_event(self._speaker, segment, self._time(start_ms), text, stable)
        self._show(self._room.public, self._speaker.id, segment, event)

    def _keep(self, final: Final) -> None:
        if not final.text:
            self._pass_on(final.segment, final.start_ms, "", 0)
            return
        timed = [(text, self._time(start), self._time(end))
                 for text, start, end in pieces(final.text, final.tokens, final.places)]
        self._put(self._room.public, Caption(
            self._room.id, self._speaker.id, final.segment, self._time(final.start_ms), self._time(final.end_ms),
            final.text, final.hotwords, timed))

    def _time(self, ms: int) -> int:
        return max(0, (self._begin_ms or 0) + ms)
