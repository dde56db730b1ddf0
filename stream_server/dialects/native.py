"""The server's own dialect: the session's messages as JSON, each with its "type"; binary messages are audio.

Strict, so that a typo does not pass for a wish: unknown fields, wrong types and numbers out of range are told.
"""

from __future__ import annotations

from difflib import get_close_matches
from enum import Enum

import msgspec

from stream_server.dialects import ranges
from stream_server.dialects.document import read_object
from stream_server.errors import ClientError
from stream_server.session.messages import (
    Command,
    Ended,
    Flush,
    Hotwords,
    Resume,
    Resumed,
    ServerMessage,
    Start,
    Stop,
)
from stream_server.speech.hotwords import from_native

LONGEST_TEXT = 128 << 10
"""As long as a list of hotwords may be."""
LONGEST_FLUSH_ID = ranges.Text(256)

_encoder = msgspec.json.Encoder()


class _Stage(Enum):
    BEFORE_START = "before start"
    OPEN = "open"
    STOPPED = "after stop"


class NativeDialect:
    """One connection carries one session: start or resume, audio, flushes and hotwords, stop."""

    def __init__(self) -> None:
        self._stage = _Stage.BEFORE_START
        self._stray_audio_told: _Stage | None = None
        self._ended = False

    def receive_text(self, text: str) -> tuple[list[Command], bytes]:
        """One start, resume, flush, hotwords or stop. Raises ClientError with what is allowed instead."""
        fields = read_object(text, LONGEST_TEXT)
        kind = fields.pop("type", None)
        readers = {"start": self._start, "flush": self._flush, "hotwords": self._hotwords, "stop": self._stop,
                   "resume": self._resume}
        read = readers.get(kind) if _is_word(kind) else None
        if read is None:
            raise ClientError("bad_field", "no such type of message", field="type",
                              value="nothing" if kind is None else kind, allowed="one of " + ", ".join(readers))
        return [read(fields)], b""

    def receive_bytes(self, data: bytes) -> tuple[list[Command], bytes]:
        """Audio as it is. Where none can be taken now, the first such message is an error and the rest are dropped."""
        if self._stage is _Stage.OPEN:
            return [], data
        if self._stray_audio_told is self._stage:
            return [], b""
        self._stray_audio_told = self._stage
        raise self._out_of_place("audio")

    def send(self, message: ServerMessage) -> list[str]:
        if isinstance(message, Resumed) and message.stopped:
            self._stage = _Stage.STOPPED
        self._ended = self._ended or isinstance(message, Ended)
        return [_encoder.encode(message).decode()]

    @property
    def ended(self) -> bool:
        return self._ended

    def _start(self, fields: dict[str, object]) -> Start:
        if self._stage is not _Stage.BEFORE_START:
            raise self._out_of_place("start")
        _no_others(fields, tuple(ranges.START))
        if fields.get("hotwords") is not None:
            hotwords = from_native(fields.pop("hotwords"))
        else:
            hotwords = None
        for field, value in fields.items():
            ranges.check(field, value)
        start = Start(**{**fields, "hotwords": hotwords})
        ranges.check_window(start)
        ranges.check_speaker(start)
        self._stage = _Stage.OPEN
        return start

    def _resume(self, fields: dict[str, object]) -> Resume:
        if self._stage is not _Stage.BEFORE_START:
            raise self._out_of_place("resume")
        _no_others(fields, tuple(ranges.RESUME))
        if "token" not in fields:
            raise ClientError("bad_field", "token is missing", field="token", allowed="the `resume` of a ready")
        for field, value in fields.items():
            if not ranges.RESUME[field].holds(value):
                raise ClientError("bad_field", f"{field} cannot be this", field=field,
                                  value="null" if value is None else value, allowed=ranges.RESUME[field].allowed)
        self._stage = _Stage.OPEN
        return Resume(**fields)

    def _flush(self, fields: dict[str, object]) -> Flush:
        if self._stage is not _Stage.OPEN:
            raise self._out_of_place("flush")
        _no_others(fields, ("id",))
        name = fields.get("id", "")
        if not isinstance(name, str) or not LONGEST_FLUSH_ID.holds(name):
            raise ClientError("bad_field", "id cannot be this", field="id", value="null" if name is None else name,
                              allowed=LONGEST_FLUSH_ID.allowed)
        return Flush(id=name)

    def _hotwords(self, fields: dict[str, object]) -> Hotwords:
        if self._stage is not _Stage.OPEN:
            raise self._out_of_place("hotwords")
        _no_others(fields, ("hotwords",))
        return Hotwords(hotwords=from_native(fields.get("hotwords", "nothing")))

    def _stop(self, fields: dict[str, object]) -> Stop:
        if self._stage is not _Stage.OPEN:
            raise self._out_of_place("stop")
        _no_others(fields, ())
        self._stage = _Stage.STOPPED
        return Stop()

    def _out_of_place(self, what: str) -> ClientError:
        advice = {
            _Stage.BEFORE_START: 'send {"type":"start"} first; every field of it has a default',
            _Stage.OPEN: "audio, flush, hotwords and stop; for other options open another connection",
            _Stage.STOPPED: "nothing more; for another session open another connection",
        }[self._stage]
        return ClientError("bad_state", f"{what} has no place {_PLACE[self._stage]}", value=what, allowed=advice)


_PLACE = {
    _Stage.BEFORE_START: "before the start message",
    _Stage.OPEN: "while the session is open",
    _Stage.STOPPED: "after stop",
}


def _is_word(value: object) -> bool:
    return isinstance(value, str)


def _no_others(fields: dict[str, object], known: tuple[str, ...]) -> None:
    for field, value in fields.items():
        if field not in known:
            near = get_close_matches(field[:64], known, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise ClientError("bad_field", f"no such field{meant}", field=field[:64], value=value,
                              allowed=", ".join(known) or "no fields besides type")
