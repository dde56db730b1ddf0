"""What goes over the wire, made ready beforehand: dialects, audio in their encoding, whole WebSocket frames."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, replace

from websockets.frames import Frame, Opcode

from stream_client.dialects import DIALECTS, Dialect
from stream_client.load.sherpa import SherpaDialect
from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE, Wishes

PROTOCOLS: dict[str, Callable[[Wishes], Dialect]] = {**DIALECTS, "sherpa": SherpaDialect}


@dataclass(frozen=True)
class Target:
    """Where the streams go, and in which protocol."""

    url: str
    dialect: str
    wishes: Wishes
    insecure: bool = False
    cafile: str | None = None

    def speak(self) -> Dialect:
        """A new connection's side of the protocol. Raises ValueError for wishes that it cannot say."""
        # A stream that is given up must not hold its place.
        native = self.dialect == "native"
        return PROTOCOLS[self.dialect](replace(self.wishes, resumable=False) if native else self.wishes)


def audio_frames(audio: bytes, dialect: str, message_ms: int) -> list[bytes]:
    """The WebSocket frames, masked, of 16 kHz mono s16le audio cut into messages; the last may be shorter.

    All streams of the same content send the same bytes: masks are to protect proxies from hostile web pages, and
    drawing one for every message would only cost the tool time.
    """
    size = message_ms * SAMPLE_RATE // 1000 * SAMPLE_BYTES
    messages = (audio[start : start + size] for start in range(0, len(audio), size))
    return [_frame(Opcode.BINARY, _encode(message, dialect)) for message in messages]


def text_frame(text: str) -> bytes:
    """A text message as a WebSocket frame."""
    return _frame(Opcode.TEXT, text.encode())


def _encode(audio: bytes, dialect: str) -> bytes:
    if dialect != "sherpa":
        return audio
    return array("f", [sample / 32768 for sample in array("h", audio)]).tobytes()


def _frame(opcode: Opcode, payload: bytes) -> bytes:
    return Frame(opcode, payload).serialize(mask=True)
