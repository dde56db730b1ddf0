"""What doors and the engine say to each other: msgpack in one frame, a chunk's audio raw in a second one.

Both ends are of one version, since one supervisor starts them: there is no negotiation. Field names are on the wire,
so that a captured message can be read; windows and spans are plain lists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from stream_server.audio.windows import Window
from stream_server.engine.stream import Lane
from stream_server.speech.hotwords import HotwordList
from stream_server.speech.recognition import Chunk, Guess, Hypothesis, SecondPass, Span
from stream_server.speech.scribe import Scribed, Spoken

ModelKind = Literal["demo", "random", "directory", "hub"]


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine serves. `incarnation` differs for each start of an engine; the engine fills it in.

    `windows` has the default first; `slots` is how many streams are recognised at once, `capacity` how many sessions
    are admitted. `second_model` is the name of the second pass's model, `punctuation_model` that of the one which
    punctuates, each empty where there is none; `itn`: numbers can be written.
    """

    model: str
    model_kind: ModelKind
    windows: tuple[Window, ...]
    slots: int
    device: str
    dtype: str
    capacity: int = 0
    second_model: str = ""
    punctuation_model: str = ""
    itn: bool = False
    incarnation: str = ""


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Door: here I am. Whatever an earlier link of the same door held is freed."""

    door: str


class Admit(msgspec.Struct, frozen=True, tag=True):
    """Door: room for a session, please. Answered by Admitted or Refused."""

    session: str


class Release(msgspec.Struct, frozen=True, tag=True):
    """Door: the session is over, with whatever stream it has."""

    session: str


class Step(msgspec.Struct, frozen=True, tag=True):
    """Door: a chunk; its samples are in the second frame, int16 little-endian. Answered by one Recognised, and where
    it closes a segment by one HeardAgain.

    `hotwords`: the stream's list from this chunk on; None leaves it as it was.
    """

    session: str
    generation: int
    sequence: int
    window: Window
    last: bool = False
    lane: Lane = Lane.LIVE
    hotwords: HotwordList | None = None
    keep_from: int | None = None
    closed: Span | None = None


class Expect(msgspec.Struct, frozen=True, tag=True):
    """Door: a segment may be about to end, so that its second pass may begin; in the second frame what of `span` no
    Step has had, int16 little-endian. Without a span, it goes on. Not answered."""

    session: str
    generation: int
    span: Span | None = None


class Abort(msgspec.Struct, frozen=True, tag=True):
    """Door: the stream's text is no longer wanted. Not answered; its pending chunk is not either."""

    session: str
    generation: int


class Write(msgspec.Struct, frozen=True, tag=True):
    """Door: a segment's final, to be written as people read it. Answered by one Wrote; a session has one at a time."""

    session: str
    segment: int
    spoken: Spoken


class Ping(msgspec.Struct, frozen=True, tag=True):
    """Door: I am alive."""


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """Engine: your link stands, nothing is held for it yet."""

    info: EngineInfo


class Stranger(msgspec.Struct, frozen=True, tag=True):
    """Engine: I know no such link (any more). Connect anew and say hello."""


class Admitted(msgspec.Struct, frozen=True, tag=True):
    """Engine: the session has room."""

    session: str


class Refused(msgspec.Struct, frozen=True, tag=True):
    """Engine: no room for the session; try again after `retry_after_s`."""

    session: str
    message: str
    retry_after_s: int


class Recognised(msgspec.Struct, frozen=True, tag=True):
    """Engine: what a chunk added to its stream, or that it failed."""

    session: str
    hypothesis: Hypothesis


class HeardAgain(msgspec.Struct, frozen=True, tag=True):
    """Engine: what the second pass made of a segment that a chunk closed."""

    session: str
    second_pass: SecondPass


class Wrote(msgspec.Struct, frozen=True, tag=True):
    """Engine: a final as it is written; None where it could not be."""

    session: str
    segment: int
    scribed: Scribed | None


class Beat(msgspec.Struct, frozen=True, tag=True):
    """Engine: I am alive, and this is how I fare: the numbers of `Statistics`."""

    statistics: dict[str, float]


Buffer = bytes | memoryview
"""A frame; a view where the socket's memory need not be copied."""

_WITH_AUDIO = (Step, Expect)

DoorMessage = Hello | Admit | Release | Step | Expect | Abort | Write | Ping
EngineMessage = Welcome | Stranger | Admitted | Refused | Recognised | HeardAgain | Wrote | Beat


class Malformed(ValueError):
    """Frames that are no message."""


_encoder = msgspec.msgpack.Encoder()
_from_door = msgspec.msgpack.Decoder(DoorMessage)
_from_engine = msgspec.msgpack.Decoder(EngineMessage)


def pack(message: DoorMessage | EngineMessage) -> bytes:
    """The frame of a message."""
    return _encoder.encode(message)


def pack_chunk(session: str, chunk: Chunk, lane: Lane) -> list[bytes | memoryview]:
    """The two frames of a chunk, the second its samples where they lie."""
    step = Step(session, chunk.generation, chunk.sequence, chunk.window, chunk.last, lane, chunk.hotwords,
                chunk.keep_from, chunk.closed)
    return [_encoder.encode(step), np.ascontiguousarray(chunk.samples, dtype="<i2").view(np.uint8).data]


def pack_guess(session: str, guess: Guess) -> list[bytes]:
    """The two frames of a guess."""
    expect = Expect(session, guess.generation, guess.span)
    return [_encoder.encode(expect), np.ascontiguousarray(guess.samples, dtype="<i2").tobytes()]


def unpack_from_door(frames: Sequence[Buffer]) -> tuple[DoorMessage, Buffer]:
    """A door's message and the audio that belongs to it, empty for all but Step and Expect. Raises
    Malformed."""
    message = _decode(_from_door, frames)
    if len(frames) != (2 if isinstance(message, _WITH_AUDIO) else 1):
        raise Malformed(f"{type(message).__name__} in {len(frames)} frames")
    return message, frames[1] if len(frames) == 2 else b""


def unpack_from_engine(frames: Sequence[Buffer]) -> EngineMessage:
    """An engine's message. Raises Malformed."""
    return _decode(_from_engine, frames)


def _decode(decoder: msgspec.msgpack.Decoder, frames: Sequence[Buffer]):
    if not frames:
        raise Malformed("no frame at all")
    try:
        return decoder.decode(frames[0])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(str(error)) from error
