"""The sound of a room, where operator and room want it kept: a WAV file for each speaker and session."""

from __future__ import annotations

import logging
import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from stream_server.rooms.store import Room, Speaker
from stream_server.units import SAMPLE_RATE

log = logging.getLogger(__name__)

PIECE_BYTES = 2 * SAMPLE_RATE
"""A second: so much is written at once, and lost when the server is killed."""

MOST_WAITING = 60
"""Pieces of a speaker that wait for a disk; with more, the recording ends."""

HEADER_BYTES = 44


class Recorder:
    """Writes for a door, in a thread."""

    def __init__(self, folder: Path, hours: float) -> None:
        """`hours`: how much is kept of each session."""
        self._folder = folder
        self._most_bytes = 2 * round(hours * 3600 * SAMPLE_RATE)
        self._thread = ThreadPoolExecutor(1, "rooms-recorder")
        self._tracks: dict[Track, str] = {}
        """Those that are written, and the viewer tokens of their rooms."""

    def track(self, room: Room, speaker: Speaker) -> Track:
        """For one session of a speaker."""
        track = Track(self._folder / room.public / f"{speaker.id}.wav", self._most_bytes, self._thread)
        self._tracks[track] = room.read
        return track

    def recorded(self) -> set[str]:
        """The viewer tokens of the rooms of which something is being written."""
        self._tracks = {track: read for track, read in self._tracks.items() if not track.over}
        return set(self._tracks.values())

    def end(self, rooms: set[str]) -> None:
        """Nothing more is heard of the rooms of these viewer tokens."""
        for track, read in self._tracks.items():
            if read in rooms:
                track.close()

    def close(self) -> None:
        """Returns when all is written that was heard."""
        self._thread.shutdown()


class Track:
    """One file: 16 kHz, mono, 16 bit. Its header is right after every write."""

    def __init__(self, file: Path, most_bytes: int, thread: ThreadPoolExecutor) -> None:
        self._file = file
        self._left = most_bytes
        self._thread = thread
        self._data = bytearray()
        self._waiting = 0

    @property
    def over(self) -> bool:
        """Nothing more is heard."""
        return self._left <= 0

    def hear(self, samples: np.ndarray) -> None:
        """int16 samples at 16 kHz, in order."""
        if self._left <= 0:
            return
        data = samples.astype("<i2", copy=False).tobytes()[:self._left]
        self._left -= len(data)
        self._data += data
        if len(self._data) >= PIECE_BYTES or not self._left:
            self._write()
        if not self._left:
            log.warning("%s has as much sound as may be kept of a session", self._file)

    def close(self) -> None:
        """The session is over, or its room: nothing more is heard. Told once or more."""
        if self._data:
            self._write()
        self._left = 0

    def _write(self) -> None:
        data, self._data = bytes(self._data), bytearray()
        if self._waiting >= MOST_WAITING:
            log.error("%s: the disk is too slow, nothing more is recorded", self._file)
            self._left = 0
            return
        self._waiting += 1
        self._thread.submit(self._append, data)

    def _append(self, data: bytes) -> None:
        try:
            self._file.parent.mkdir(mode=0o700, exist_ok=True)
            with self._file.open("ab") as opened:
                if not opened.tell():
                    opened.write(header(0))
                opened.write(data)
                size = opened.tell() - HEADER_BYTES
            with self._file.open("r+b") as opened:
                opened.write(header(size))
        except OSError as error:
            log.error("%s cannot be written, nothing more is recorded: %s", self._file, error)
            self._left = 0
        finally:
            self._waiting -= 1


def header(size: int) -> bytes:
    """Of a WAV file with so many bytes of sound, or as many as it can say."""
    size = min(size, 0xFFFFFFFF - HEADER_BYTES)
    return struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", size + HEADER_BYTES - 8, b"WAVE", b"fmt ", 16, 1, 1, SAMPLE_RATE,
                       2 * SAMPLE_RATE, 2, 16, b"data", size)
