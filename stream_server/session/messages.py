"""What a client may say to a session, and what a session says to its client.

Times are milliseconds of session time: since the first sample received. Dialects translate wire protocols to and
from these; the native dialect is nearly these themselves, as JSON.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from stream_server.config import VadKind
from stream_server.speech.hotwords import HotwordList

Encoding = Literal["pcm_s16le", "pcm_f32le", "mulaw", "alaw"]
Reason = Literal["silence", "length", "flush", "stop", "error"]
"""Why a segment ended: end-of-speech silence, its longest length, the client's flush or stop, the engine's failure."""


class Start(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False):
    """Opens the session. Every field has a default; None leaves the choice to the server.

    `chunk_size` is samples at 16 kHz together with `hop_size`, or FunASR's [l, c, r] without it. `hotwords` are laid
    over the server's. `room`: the speaker token of a meeting, in which `name` is the speaker's.
    """

    encoding: Encoding = "pcm_s16le"
    sample_rate: int = 16_000
    chunk_size: int | list[int] | None = None
    hop_size: int | None = None
    encoder_look_back: int | None = None
    decoder_look_back: int | None = None
    vad: VadKind | None = None
    vad_aggressiveness: int | None = None
    end_silence_ms: int | None = None
    min_speech_ms: int | None = None
    pre_roll_ms: int | None = None
    max_segment_ms: int | None = None
    second_pass: bool | None = None
    punctuation: bool | None = None
    itn: bool | None = None
    partials: bool = True
    name: str = ""
    hotwords: HotwordList | None = None
    resumable: bool = True
    room: str | None = None


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Goes on with a session whose connection was lost, in place of a Start.

    `token` is the `resume` of its Ready; of its finals the client has the first `segments`. `encoding` and
    `sample_rate` are those of the audio to come; None: as before.

    `overlap_ms`: the client does not know to the sample what the server has, since its audio came by a track; what it
    sends begins about so much earlier, and where it goes on is found by comparing. `bridge`, where audio is a track:
    before its sound comes PCM.
    """

    token: str
    segments: int = 0
    encoding: Encoding | None = None
    sample_rate: int | None = None
    overlap_ms: int = 0
    bridge: bool = False


class Flush(msgspec.Struct, frozen=True, kw_only=True):
    """Ends the open segment now; answered by Flushed once every final before it is out."""

    id: str = ""


class Hotwords(msgspec.Struct, frozen=True, kw_only=True):
    """Replaces the session's hotwords from the next hop on."""

    hotwords: HotwordList


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """No more audio: the open segment is finished, then the session ends."""


Command = Start | Resume | Flush | Hotwords | Stop


class RoomNote(msgspec.Struct, frozen=True, kw_only=True):
    """The meeting in which the session speaks; `read`: what lets others read it; `speaker`: who this is in it."""

    name: str
    read: str
    speaker: int
    recorded: bool


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The session is open; says what is in force after the server's choices.

    `resume` is the token by which it can be gone on with within `resume_s` after its connection was lost, where it
    can be.
    """

    session: str
    model: str
    encoding: Encoding
    sample_rate: int
    window: dict[str, object]
    vad: VadKind
    end_silence_ms: int
    pre_roll_ms: int
    min_speech_ms: int
    max_segment_ms: int
    second_pass: bool = False
    punctuation: bool = False
    itn: bool = False
    room: RoomNote | msgspec.UnsetType = msgspec.UNSET
    resume: str | msgspec.UnsetType = msgspec.UNSET
    resume_s: float | msgspec.UnsetType = msgspec.UNSET


class Resumed(msgspec.Struct, frozen=True, kw_only=True, tag="resumed"):
    """The session goes on. What it said after the client's last final follows, then what is new.

    `samples`: whole samples of the session's audio that the server has, counted at `sample_rate`: the next binary
    message begins with that sample. `messages`: text messages that it has taken since the start, which is not counted.
    `segments`: finals that it has said in all. `stopped`: it has the client's stop; nothing more is to be sent.
    """

    session: str
    samples: int
    received_ms: int
    messages: int
    segments: int
    encoding: Encoding
    sample_rate: int
    stopped: bool = False


class Speech(msgspec.Struct, frozen=True, kw_only=True, tag="speech"):
    """A segment began: someone speaks since `start_ms`."""

    segment: int
    start_ms: int


class Partial(msgspec.Struct, frozen=True, kw_only=True, tag="partial"):
    """Text of an open segment, whole each time. The first `stable` characters will not change.

    `tokens` are [text, start_ms, end_ms] of each character or word, `confidences` how probable the model holds each,
    0 to 1.
    """

    segment: int
    revision: int
    text: str
    stable: int
    start_ms: int
    end_ms: int
    tokens: list[tuple[str, int, int]] = []
    confidences: list[float] = []


class Final(msgspec.Struct, frozen=True, kw_only=True, tag="final"):
    """A segment's text that will not change. `tokens` are [text, start_ms, end_ms] of each character or word,
    `confidences` how probable the model holds each, 0 to 1; `hotwords` those that are in the text.

    `second_pass`: the text is that of the offline model, which heard the whole segment; else the first pass's stands.

    Where marks or numbers were written into the text, `spoken` is what it was before; `places` is where each token
    stands in `text`, [begin, end) of its characters, and `marks` what the model put behind each. Else all three are
    empty.
    """

    segment: int
    revision: int
    text: str
    start_ms: int
    end_ms: int
    reason: Reason
    tokens: list[tuple[str, int, int]] = []
    confidences: list[float] = []
    hotwords: list[str] = []
    second_pass: bool = False
    spoken: str = ""
    places: list[tuple[int, int]] = []
    marks: list[str] = []


class HotwordsTaken(msgspec.Struct, frozen=True, kw_only=True, tag="hotwords"):
    """The engine has the client's list of so many `words`; the model's vocabulary cannot spell the `unspelt`."""

    words: int
    unspelt: list[str]


class Flushed(msgspec.Struct, frozen=True, kw_only=True, tag="flushed"):
    """The answer to the Flush with this id: everything received before it has had its final."""

    id: str
    at_ms: int


class Ended(msgspec.Struct, frozen=True, kw_only=True, tag="ended"):
    """The last message of a session. The four sums are milliseconds of audio; received = the other three together."""

    received_ms: int
    recognised_ms: int
    silent_ms: int
    dropped_ms: int
    segments: int


class Error(msgspec.Struct, frozen=True, kw_only=True, tag="error"):
    """Something could not be done. After a `fatal` one the session ends; otherwise it is as it was before."""

    code: str
    message: str
    fatal: bool = False
    field: str | None = None
    value: str | None = None
    allowed: str | None = None
    retry_after_s: int | None = None


ServerMessage = Ready | Resumed | Speech | Partial | Final | HotwordsTaken | Flushed | Ended | Error
