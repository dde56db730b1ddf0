"""Audio from files: anything that FFmpeg reads, as blocks of 16 kHz mono 16 bit, in bounded memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from stream_client.errors import MediaError
from stream_client.wishes import SAMPLE_BYTES, SAMPLE_RATE

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.container import InputContainer

BLOCK_MS = 60
BLOCKS_PER_TURN = 16
"""Blocks decoded in one visit to a thread; about a second of audio."""
RAW_SUFFIXES = (".pcm", ".raw")


async def read_blocks(path: str | Path, block_ms: int = BLOCK_MS) -> AsyncIterator[bytes]:
    """The audio of a file in blocks of `block_ms`; the last may be shorter.

    Raises MediaError for what cannot be read. A file damaged in its midst gives what can be read, then raises.
    """
    blocks = iter_blocks(Path(path), block_ms)
    while turn := await asyncio.to_thread(_turn, blocks):
        for block in turn:
            if isinstance(block, MediaError):
                raise block
            yield block


def iter_blocks(path: Path, block_ms: int = BLOCK_MS) -> Iterator[bytes]:
    """`read_blocks` without asyncio."""
    try:
        if not path.exists():
            raise MediaError(f"{path}: there is no such file")
        if not path.is_file():
            raise MediaError(f"{path}: not a file")
        if path.stat().st_size == 0:
            raise MediaError(f"{path}: the file is empty")
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({_reason(error)})") from None
    block_bytes = SAMPLE_RATE * block_ms // 1000 * SAMPLE_BYTES
    pieces = _read_raw(path, block_bytes) if path.suffix.lower() in RAW_SUFFIXES else _decode(path)
    return _cut(pieces, block_bytes)


def _turn(blocks: Iterator[bytes]) -> list[bytes | MediaError]:
    """The next blocks; an error takes its place among them, behind what was read before it."""
    turn: list[bytes | MediaError] = []
    try:
        for block in islice(blocks, BLOCKS_PER_TURN):
            turn.append(block)
    except MediaError as error:
        turn.append(error)
    return turn


def _cut(pieces: Iterator[bytes], block_bytes: int) -> Iterator[bytes]:
    rest = bytearray()
    failure = None
    try:
        for piece in pieces:
            rest += piece
            whole = len(rest) - len(rest) % block_bytes
            for start in range(0, whole, block_bytes):
                yield bytes(rest[start : start + block_bytes])
            del rest[:whole]
    except MediaError as error:
        failure = error
    if rest:
        yield bytes(rest)
    if failure is not None:
        raise failure


def _read_raw(path: Path, piece_bytes: int) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(piece_bytes):
                yield piece
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({_reason(error)})") from None


def _decode(path: Path) -> Iterator[bytes]:
    import av

    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(f"{path}: not an audio or video file that can be read ({_reason(error)})") from None
    with container:
        if not container.streams.audio:
            raise MediaError(f"{path}: there is no audio in this file")
        heard, damage = 0, None
        for frame in _frames(container, path):
            if isinstance(frame, MediaError):
                damage = frame
                continue
            heard += len(frame)
            yield frame
    if damage is not None:
        raise damage
    if heard == 0:
        raise MediaError(f"{path}: the file holds no sound")


def _frames(container: InputContainer, path: Path) -> Iterator[bytes | MediaError]:
    """The sound of the first audio stream; a MediaError stands where some of it could not be decoded."""
    import av

    resampler = _Resampler()
    packets = container.demux(container.streams.audio[0])
    ended = False
    while not ended:
        try:
            packet = next(packets, None)
            ended = packet is None
            for frame in packet.decode() if packet is not None else ():
                yield resampler.resample(frame)
        except av.FFmpegError as error:
            # After an error while reading, `packets` is at its end; after one while decoding, it goes on.
            yield MediaError(f"{path}: the file is damaged, some of it was left out ({_reason(error)})")
    yield resampler.resample(None)


class _Resampler:
    """16 kHz mono 16 bit from frames whose format may change on the way, as in joined or live recordings."""

    def __init__(self) -> None:
        self._format: tuple[object, ...] | None = None
        self._resampler: AudioResampler | None = None

    def resample(self, frame: AudioFrame | None) -> bytes:
        sound = b""
        if frame is not None:
            shape = (frame.format.name, frame.layout.name, frame.sample_rate)
            if shape != self._format:
                sound = self._take(None)
                self._start(shape)
        return sound + self._take(frame)

    def _start(self, shape: tuple[object, ...]) -> None:
        import av

        self._format = shape
        self._resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE)

    def _take(self, frame: AudioFrame | None) -> bytes:
        if self._resampler is None:
            return b""
        parts = self._resampler.resample(frame)
        # A plane may be longer than its sound: FFmpeg pads it.
        return b"".join(bytes(part.planes[0])[: part.samples * SAMPLE_BYTES] for part in parts)


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
