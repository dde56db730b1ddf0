"""Where the audio of WebSocket frames is held for a session: compiled where it was built, else the same in Python."""

from __future__ import annotations

from stream_server.doors.frames import LONGEST_USUAL, whole_binary_frame
from stream_server.session.held import Held

_INTERFACE = 1
"""Of the compiled one: a library from another time is not to be used."""


class PlainHold(Held):
    """A session's held audio that takes WebSocket frames as they are."""

    __slots__ = ()

    def take_frame(self, data: bytes) -> bool:
        """Takes the audio of `data` where that is one masked binary frame, a whole message by itself, and nothing else.
        False where it is not or `take` would not take it: nothing is taken then."""
        audio = whole_binary_frame(data, LONGEST_USUAL)
        return audio is not None and self.take(audio)


def _compiled() -> type[PlainHold] | None:
    try:
        from stream_server.doors import _hold
    except ImportError:
        return None
    return _hold.Hold if _hold.INTERFACE == _INTERFACE else None


Hold: type[PlainHold] = _compiled() or PlainHold
