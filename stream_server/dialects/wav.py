"""WAV headers: found at the head of what a client calls PCM, read for rate and encoding, and left out of the audio."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from stream_server.dialects import ranges
from stream_server.errors import ClientError
from stream_server.session.messages import Encoding

LONGEST_HEADER = 64 << 10
"""Where no samples have begun by then, it is no WAV file that can be streamed."""

_ENCODINGS: dict[tuple[int, int], Encoding] = {
    (1, 16): "pcm_s16le",
    (3, 32): "pcm_f32le",
    (6, 8): "alaw",
    (7, 8): "mulaw",
}
_EXTENSIBLE = 0xFFFE
RATES = ranges.START["sample_rate"]
_ALLOWED = f"mono WAV (16-bit PCM, 32-bit float, A-law or µ-law) with {RATES.allowed}"


@dataclass(frozen=True, slots=True)
class WavFormat:
    """What a header says of the samples behind it."""

    encoding: Encoding
    sample_rate: int


class WavHead:
    """Takes the first bytes of a stream, cut anyhow, until it is plain whether they are a WAV header."""

    def __init__(self) -> None:
        self._held = b""
        self.decided = False
        self.format: WavFormat | None = None

    def receive(self, data: bytes) -> bytes:
        """The audio in `data` and in what was held back before; nothing while it is not decided.

        Raises ClientError where it is a WAV file of a kind that cannot be recognised.
        """
        if self.decided:
            return data
        self._held += data
        if not _could_be_wav(self._held):
            return self._decide(0)
        if len(self._held) < 12:
            return b""
        begin = self._walk()
        return b"" if begin is None else self._decide(begin)

    def _decide(self, begin: int) -> bytes:
        self.decided = True
        audio, self._held = self._held[begin:], b""
        return audio

    def _walk(self) -> int | None:
        """Where the samples begin; None while the header is not whole."""
        held, at = self._held, 12
        while at + 8 <= len(held):
            name, size = struct.unpack_from("<4sI", held, at)
            if name == b"data":
                if self.format is None:
                    raise _unusable("its samples come before their format")
                return at + 8
            if name == b"fmt ":
                if at + 8 + min(size, 26) > len(held):
                    return None
                self.format = _format(held[at + 8:at + 8 + size])
            at += 8 + size + size % 2
        if at > LONGEST_HEADER:
            raise _unusable("its header is too long")
        return None


def _could_be_wav(head: bytes) -> bool:
    return b"RIFF".startswith(head[:4]) and b"WAVE".startswith(head[8:12])


def _format(body: bytes) -> WavFormat:
    if len(body) < 16:
        raise _unusable("its format is cut short")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if tag == _EXTENSIBLE and len(body) >= 26:
        (tag,) = struct.unpack_from("<H", body, 24)
    encoding = _ENCODINGS.get((tag, bits))
    if channels != 1 or encoding is None:
        raise _unusable(f"it has {channels} channels, {bits} bits, format {tag}")
    if not RATES.holds(rate):
        raise _unusable(f"its rate is {rate} Hz")
    return WavFormat(encoding, rate)


def _unusable(why: str) -> ClientError:
    return ClientError("unsupported", f"this WAV file cannot be recognised: {why}", field="wav_format", value="wav",
                       allowed=_ALLOWED)
