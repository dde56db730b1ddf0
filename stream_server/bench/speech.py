"""Speech to measure with: recordings, joined end to end."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from stream_server.errors import SettingsError
from stream_server.units import SAMPLE_RATE

SAMPLES = Path(__file__).resolve().parents[2] / "samples"
"""The recordings that come with the code."""

NEEDED = "WAV at 16000 Hz, mono, 16 bit"


class Speech:
    """All recordings of a folder, or one, as an endless loop of int16 samples at 16 kHz.

    Raises SettingsError where there is none or one is of another format.
    """

    def __init__(self, path: Path = SAMPLES) -> None:
        files = sorted(path.glob("*.wav")) if path.is_dir() else [path]
        if not files:
            raise SettingsError(f"--audio {path}: no *.wav in this folder; needed a folder of recordings, or one, "
                                f"{NEEDED}")
        self.samples = np.concatenate([_read(file) for file in files])
        self.seconds = len(self.samples) / SAMPLE_RATE
        # Twice, so that what goes over the end is a slice too: streams ask for it in the thread that is measured.
        self._twice = np.tile(self.samples, 2)

    def take(self, start: int, count: int) -> np.ndarray:
        """`count` samples from `start` on, which may lie beyond the end; not to be written to."""
        start %= len(self.samples)
        if count > len(self.samples):
            return np.resize(np.roll(self.samples, -start), count)
        return self._twice[start : start + count]


def _read(file: Path) -> np.ndarray:
    try:
        with wave.open(str(file)) as recording:
            found = (recording.getframerate(), recording.getnchannels(), 8 * recording.getsampwidth())
            frames = recording.readframes(recording.getnframes())
    except (OSError, EOFError, wave.Error) as error:
        raise SettingsError(f"--audio {file}: cannot be read ({error}); needed {NEEDED}") from error
    if found != (SAMPLE_RATE, 1, 16) or not frames:
        raise SettingsError(f"--audio {file}: is {found[0]} Hz, {found[1]} channels, {found[2]} bit, "
                            f"{len(frames)} bytes; needed {NEEDED}")
    return np.frombuffer(frames, "<i2")
