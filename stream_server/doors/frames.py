"""The usual WebSocket frame, read without the library's parser: that can stop at any byte, and costs more than all that
is then done with the audio."""

from __future__ import annotations

import struct
from collections.abc import Generator

from websockets.frames import Opcode, apply_mask
from websockets.protocol import OPEN
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

_WHOLE_BINARY = 0x80 | Opcode.BINARY
_WHOLE_TEXT = 0x80 | Opcode.TEXT
_MASKED = 0x80
_LENGTH_FOLLOWS, _LONG_LENGTH_FOLLOWS = 126, 127
_MASK_BYTES = 4
LONGEST_USUAL = (1 << 16) - 1
"""Bytes of the longest message that is read so: no server may be told to take less."""
_SHORT_HEAD, _LONG_HEAD = struct.Struct("!BBH").pack, struct.Struct("!BBQ").pack


def whole_binary_frame(data: bytes, longest: int) -> bytes | None:
    """The payload where `data` is one masked binary frame, a whole message by itself, and nothing else.

    None otherwise, and where the payload has more than `longest` bytes or than 65,535: for the library to judge.
    """
    size = len(data)
    if size < 6 or data[0] != _WHOLE_BINARY:
        return None
    length, payload = data[1] - _MASKED, 6
    if length == _LENGTH_FOLLOWS:
        length, payload = data[2] << 8 | data[3], 8
    elif length < 0 or length == _LONG_LENGTH_FOLLOWS:
        return None
    if length > longest or size != payload + length:
        return None
    return apply_mask(data[payload:], data[payload - _MASK_BYTES:payload])


def text_frame(text: str) -> bytes:
    """The frame of a text message, as a server sends it: whole and not masked."""
    payload = text.encode()
    length = len(payload)
    if length < _LENGTH_FOLLOWS:
        return bytes((_WHOLE_TEXT, length)) + payload
    if length < 1 << 16:
        return _SHORT_HEAD(_WHOLE_TEXT, _LENGTH_FOLLOWS, length) + payload
    return _LONG_HEAD(_WHOLE_TEXT, _LONG_LENGTH_FOLLOWS, length) + payload


class FrameProtocol(ServerProtocol):
    """The library's protocol, which also knows whether the next byte begins a message."""

    reader: _Reader

    @property
    def between_messages(self) -> bool:
        return self.reader.between_frames and self.current_size is None and self.state is OPEN

    def parse(self) -> Generator[None]:
        self.reader = _Reader()
        yield from super().parse()


class _Reader(StreamReader):
    """Where the parser asks whether more will come, a frame begins: it asks nowhere else."""

    between_frames = False

    def at_eof(self) -> Generator[None, None, bool]:
        self.between_frames = not self.buffer
        ended = yield from super().at_eof()
        self.between_frames = False
        return ended
