"""Server-Sent Events of a room, as bytes: each is made once for all who read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from stream_server.rooms.store import Room, Said, Speaker

HEARTBEAT = b"event: beat\ndata: {}\n\n"
"""No comment, which a page would not see: it takes a connection without one for dead."""
RETRY_MS = 2_000
"""After how long a browser comes back whose connection broke."""

_encoder = msgspec.json.Encoder()


class Chunk(NamedTuple):
    """Bytes, and the same as a chunk of HTTP/1.1's chunked encoding."""

    plain: bytes
    framed: bytes


def chunk(data: bytes) -> Chunk:
    """Events to be sent together; not empty."""
    return Chunk(data, b"%x\r\n%b\r\n" % (len(data), data))


def described(room: Room, speakers: Sequence[Speaker]) -> dict[str, object]:
    """What everybody may know of a room who reads in it."""
    return {
        "name": room.name,
        "read": room.read,
        "began": moment(room.began_ms),
        "ended": None if room.ended_ms is None else moment(room.ended_ms),
        "recorded": room.recorded,
        "speakers": [{"speaker": speaker.id, "name": speaker.name} for speaker in speakers],
    }


def moment(ms: int) -> str:
    """A time of the wall clock as JavaScript writes it."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def room_event(room: Room, speakers: Sequence[Speaker]) -> bytes:
    return _event("room", described(room, speakers))


def final_event(said: Said) -> bytes:
    return _event("final", said._asdict(), said.id)


def partial_event(speaker: Speaker, segment: int, begin_ms: int, text: str, stable: int) -> bytes:
    return _event("partial", {"speaker": speaker.id, "name": speaker.name, "segment": segment, "begin_ms": begin_ms,
                              "text": text, "stable": stable})


def speaker_event(speaker: Speaker, state: str) -> bytes:
    """`state`: joined or left."""
    return _event("speaker", {"speaker": speaker.id, "name": speaker.name, "state": state})


def ended_event(ended_ms: int | None, reason: str) -> bytes:
    """`reason`: ended or expired."""
    return _event("ended", {"ended": None if ended_ms is None else moment(ended_ms), "reason": reason})


def opening() -> bytes:
    """What a stream begins with."""
    return b"retry: %d\n\n" % RETRY_MS


def closing_event() -> bytes:
    return _event("closing", {})


def _event(kind: str, data: object, name: int | None = None) -> bytes:
    line = b"" if name is None else b"id: %d\n" % name
    return b"event: %b\n%bdata: %b\n\n" % (kind.encode(), line, _encoder.encode(data))
