"""What a session tells its client, as typed events.

Times are milliseconds since the first sample sent. A time is None where the server's protocol does not carry it,
as in FunASR's partials.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """The session is open. `window` says in which steps the audio is recognised; `room`, in a meeting, its `name`, the
    token that others `read` by, which `speaker` this session is, and whether the sound is kept (`recorded`)."""

    session: str = ""
    model: str = ""
    encoding: str = "pcm_s16le"
    sample_rate: int = 16_000
    window: dict[str, Any] = field(default_factory=dict)
    vad: str = ""
    end_silence_ms: int | None = None
    pre_roll_ms: int | None = None
    min_speech_ms: int | None = None
    max_segment_ms: int | None = None
    second_pass: bool = False
    room: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """Someone began to speak."""

    segment: int
    start_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Partial:
    """The text of an open segment so far, whole each time. Its first `stable` characters will not change.

    `tokens` are (text, start_ms, end_ms), `confidences` how probable the model holds each, 0 to 1.
    """

    segment: int
    text: str
    revision: int = 0
    stable: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    tokens: tuple[tuple[str, int, int], ...] = ()
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The text of a segment that will not change. `tokens` are (text, start_ms, end_ms), `confidences` how probable
    the model holds each, 0 to 1; `hotwords` those that are in the text. `second_pass`: the offline model heard the
    whole segment, and may have written other text than the partials had.

    Where marks or numbers were written into the text, `spoken` is what it was before, `places` where each token stands
    in it, and `marks` what is behind each."""

    segment: int
    text: str
    revision: int = 0
    start_ms: int | None = None
    end_ms: int | None = None
    reason: str = ""
    tokens: tuple[tuple[str, int, int], ...] = ()
    confidences: tuple[float, ...] = ()
    hotwords: tuple[str, ...] = ()
    second_pass: bool = False
    spoken: str = ""
    places: tuple[tuple[int, int], ...] = ()
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hotwords:
    """The list of so many `words` is in force; the model's vocabulary cannot spell the `unspelt`."""

    words: int = 0
    unspelt: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Flushed:
    """The answer to `Stream.flush`: everything sent before it has had its final."""

    id: str = ""
    at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """The last event: where the audio went. Received is recognised, silent and dropped together."""

    received_ms: int | None = None
    recognised_ms: int | None = None
    silent_ms: int | None = None
    dropped_ms: int | None = None
    segments: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something could not be done, and the session goes on. What ends a session is raised as ServerError."""

    code: str
    message: str
    field: str | None = None
    value: str | None = None
    allowed: str | None = None
    retry_after_s: int | None = None


Event = Ready | Speech | Partial | Final | Hotwords | Flushed | Ended | Problem

NAMES: dict[type, str] = {
    Ready: "ready",
    Speech: "speech",
    Partial: "partial",
    Final: "final",
    Hotwords: "hotwords",
    Flushed: "flushed",
    Ended: "ended",
    Problem: "error",
}
TYPES: dict[str, type] = {name: kind for kind, name in NAMES.items()}


def from_fields(name: str, fields: dict[str, Any]) -> Event | None:
    """The event called `name`; None for one that this client does not know yet, whose fields it cannot judge.

    Unknown fields are left out, so that a newer server can say more.
    """
    kind = TYPES.get(name)
    if kind is None:
        return None
    known = {f.name: fields[f.name] for f in dataclasses.fields(kind) if f.name in fields}
    for name in ("tokens", "places"):
        if name in known:
            known[name] = tuple(tuple(each) for each in known[name])
    for name in ("confidences", "hotwords", "unspelt", "marks"):
        if name in known:
            known[name] = tuple(known[name])
    return kind(**known)


def to_fields(event: Event) -> dict[str, Any]:
    """The event as a flat object, its name under `type`."""
    return {"type": NAMES[type(event)], **dataclasses.asdict(event)}
