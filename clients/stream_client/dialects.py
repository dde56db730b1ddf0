"""Wire protocols in, events out; what the client says, as wire messages. No sockets here.

`native` is the server's own protocol; `funasr` is FunASR's, and so speaks to FunASR's servers as well.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

from stream_client.errors import ServerError
from stream_client.events import Ended, Event, Final, Partial, Problem, Ready, from_fields
from stream_client.resuming import Heard
from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE, Wishes

GOES_ON = ("bad_audio", "engine_failed")
"""Errors of stream-server that end no session, in FunASR's protocol too."""


class Dialect(Protocol):
    """One connection's protocol. Raises ServerError for what ends the session."""

    path: str
    subprotocols: tuple[str, ...]
    ended: bool
    patience_s: float | None
    """After this long without a message the session counts as ended; None waits for the server to say so."""
    resume_s: float
    """How long the session outlives a lost connection; 0 where it does not."""

    def resume(self) -> str:
        """The first message of another connection, which goes on with the session."""

    def resumed(self, text: str) -> tuple[int, int]:
        """The samples and text messages that the server has, by its answer to `resume`. Raises ServerError."""

    def open(self) -> tuple[str, list[Event]]:
        """The first message, and what is known without an answer to it."""

    def flush(self, id: str) -> str:
        """The message that ends the open segment."""

    def close(self) -> str:
        """The message that says that there is no more audio."""

    def sent(self, audio: bytes) -> None:
        """This much audio went out."""

    def receive(self, text: str) -> list[Event]:
        """What a message of the server says."""

    def give_up(self) -> Event:
        """The end of the session, as far as it is known when patience is over."""


class NativeDialect:
    """The server's own protocol: its events are the messages, as JSON."""

    path = "/v1/stream"
    subprotocols: tuple[str, ...] = ()
    patience_s = None

    def __init__(self, wishes: Wishes) -> None:
        self.ended = False
        self.resume_s = 0.0
        self._token = ""
        self._heard = Heard()
        self._wishes = wishes

    def open(self) -> tuple[str, list[Event]]:
        fields = {name: getattr(self._wishes, name) for name in Wishes.__dataclass_fields__}
        wished = {name: value for name, value in fields.items() if value not in (None, "", ())}
        return _json(type="start", encoding="pcm_s16le", sample_rate=SAMPLE_RATE, **wished), []

    def resume(self) -> str:
        return _json(type="resume", token=self._token, segments=self._heard.finals)

    def resumed(self, text: str) -> tuple[int, int]:
        fields = _object(text)
        if fields.get("type") == "resumed":
            return int(fields["samples"]), int(fields["messages"])
        problem = from_fields("error", fields) if fields.get("type") == "error" else None
        raise server_error(problem or Problem(code="bad_answer", message="the server did not answer to resume"))

    def flush(self, id: str) -> str:
        self._heard.flush(id)
        return _json(type="flush", id=id)

    def close(self) -> str:
        return _json(type="stop")

    def sent(self, audio: bytes) -> None:
        pass

    def receive(self, text: str) -> list[Event]:
        fields = _object(text)
        fatal = fields.get("fatal", False)
        if fields.get("resume"):
            self._token, self.resume_s = str(fields["resume"]), float(fields.get("resume_s") or 0)
        event = from_fields(str(fields.pop("type", "")), fields)
        if isinstance(event, Problem) and fatal:
            raise server_error(event)
        self.ended = isinstance(event, Ended)
        return [event] if event is not None and self._heard.is_new(event) else []

    def give_up(self) -> Ended:
        raise AssertionError("the native protocol always says when it ends")


class FunasrDialect:
    """FunASR's protocol in its `2pass` mode, sent as FunASR's own Python client sends it.

    Partials carry what is new, so they are joined here; a sentence's final replaces them.
    """

    path = "/"
    subprotocols = ("binary",)
    resume_s = 0.0
    DEFAULT_WINDOW = (5, 10, 5)
    GRACE_S = 5.0

    def __init__(self, wishes: Wishes) -> None:
        for name in ("vad", "vad_aggressiveness", "end_silence_ms", "min_speech_ms", "max_segment_ms",
                     "second_pass", "punctuation", "itn", "room"):
            if getattr(wishes, name) is not None:
                raise ValueError(f"{name} cannot be said in FunASR's protocol; use the native dialect")
        self.ended = False
        self.patience_s: float | None = None
        self._wishes = wishes
        self._window = wishes.frames or self.DEFAULT_WINDOW
        self._closing = False
        self._open_text = ""
        self._revision = 0
        self._segments = 0
        self._received_bytes = 0

    def resume(self) -> str:
        raise AssertionError("nothing is resumed in FunASR's protocol")

    def resumed(self, text: str) -> tuple[int, int]:
        raise AssertionError("nothing is resumed in FunASR's protocol")

    def open(self) -> tuple[str, list[Event]]:
        first = _json(
            mode="2pass",
            chunk_size=list(self._window),
            chunk_interval=10,
            encoder_chunk_look_back=4,
            decoder_chunk_look_back=0,
            audio_fs=SAMPLE_RATE,
            wav_name=self._wishes.name or "demo",
            wav_format="pcm",
            is_speaking=True,
            hotwords=_funasr_hotwords(self._wishes.hotwords),
            itn=True,
        )
        return first, [Ready(window={"chunk_size_frames": list(self._window)})]

    def flush(self, id: str) -> str:
        raise ValueError("FunASR's protocol cannot end a segment without ending the speech; use the native dialect")

    def close(self) -> str:
        self._closing = True
        return _json(is_speaking=False, is_end=True)

    def sent(self, audio: bytes) -> None:
        self._received_bytes += len(audio)

    def receive(self, text: str) -> list[Event]:
        fields = _object(text)
        events = self._recognised(fields)
        if fields.get("error"):
            error = _funasr_error(fields["error"])
            if error.code not in GOES_ON:
                raise error
            events.append(Problem(code=error.code, message=error.message, field=error.field, value=error.value,
                                  allowed=error.allowed))
        if self._closing and fields.get("is_end"):
            events.append(self.give_up())
        elif self._closing and fields.get("is_final"):
            # FunASR's C++ server ends with this message; its Python server sends it after each sentence and
            # acknowledges the end with `is_end`. Only time tells them apart.
            self.patience_s = self.GRACE_S
        return events

    def give_up(self) -> Ended:
        self.ended = True
        received_ms = self._received_bytes * 1000 // (SAMPLE_RATE * SAMPLE_BYTES)
        return Ended(received_ms=received_ms, segments=self._segments)

    def _recognised(self, fields: dict[str, Any]) -> list[Event]:
        mode, text = fields.get("mode", ""), fields.get("text") or ""
        if not text:
            return []
        if mode.endswith("online"):
            self._open_text += text
            self._revision += 1
            return [Partial(segment=self._segments, text=self._open_text, revision=self._revision)]
        start_ms, end_ms = _times(fields)
        final = Final(segment=self._segments, text=text, revision=self._revision + 1, start_ms=start_ms, end_ms=end_ms)
        self._segments += 1
        self._open_text, self._revision = "", 0
        return [final]


DIALECTS: dict[str, type[NativeDialect] | type[FunasrDialect]] = {"native": NativeDialect, "funasr": FunasrDialect}


def server_error(problem: Problem) -> ServerError:
    """The problem as something to raise."""
    return ServerError(
        problem.code,
        problem.message,
        field=problem.field,
        value=problem.value,
        allowed=problem.allowed,
        retry_after_s=problem.retry_after_s,
    )


def _funasr_error(error: object) -> ServerError:
    """FunASR's servers write a sentence; stream-server writes an object."""
    if not isinstance(error, dict):
        return ServerError("funasr", str(error))
    code, message = str(error.get("code", "funasr")), str(error.get("message", "the server could not do this"))
    return ServerError(code, message, field=error.get("field"), value=error.get("value"), allowed=error.get("allowed"),
                       retry_after_s=error.get("retry_after_s"))


def _funasr_hotwords(words: tuple[str, ...]) -> str:
    """As FunASR's own client sends them: an object of weights, as a string."""
    return _json(**dict.fromkeys(words, 20)) if words else ""


def _times(fields: dict[str, Any]) -> tuple[int | None, int | None]:
    """Start and end of a sentence: named by newer servers, else from the times of its characters."""
    if "start_time" in fields and "end_time" in fields:
        return fields["start_time"], fields["end_time"]
    stamps = fields.get("timestamp")
    try:
        spans = json.loads(stamps) if isinstance(stamps, str) else stamps
        return int(spans[0][0]), int(spans[-1][1])
    except (ValueError, TypeError, IndexError, KeyError):
        return None, None


def _json(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False)


def _object(text: str) -> dict[str, Any]:
    try:
        fields = json.loads(text)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ServerError("bad_answer", f"the server sent something that is not of this protocol: {text[:80]!r}")
    return fields
