"""The sound of a time in which a track was away: PCM in its place, and behind it the track's again, without a seam."""

from __future__ import annotations

import numpy as np

from stream_server.audio.pcm import PcmDecoder, to_int16
from stream_server.audio.resample import Resampler
from stream_server.audio.seam import REACH, TEMPLATE, Seam
from stream_server.units import SAMPLE_RATE

LONGEST_HELD = TEMPLATE + 2 * REACH
"""Samples at 16 kHz of the track that are held while PCM comes: what it says now may be the last that came as PCM."""


class Bridge:
    """PCM, then `end`, then the track's sound from where the PCM ended; found by comparing both, since they are told
    by no common clock. Samples given out are int16 at the track's rate, PCM comes at 16 kHz."""

    def __init__(self, rate: int) -> None:
        """`rate`: the track's, a multiple of 16 kHz."""
        import soxr

        self.over = False
        """The track's sound needs no bridge any more."""
        self._times = rate // SAMPLE_RATE
        self._decoder = PcmDecoder("pcm_s16le")
        self._up = soxr.ResampleStream(SAMPLE_RATE, rate, 1, dtype="float32")
        self._down = Resampler(rate)
        self._last = np.zeros(0, np.int16)
        self._held: list[np.ndarray] = []
        self._seam: Seam | None = None

    @property
    def open(self) -> bool:
        """More PCM may come."""
        return self._seam is None and not self.over

    def receive_pcm(self, data: bytes) -> np.ndarray:
        """16-bit samples at 16 kHz, cut anywhere."""
        samples = self._decoder.decode(data)
        self._last = np.concatenate((self._last, samples))[-TEMPLATE:]
        return to_int16(self._up.resample_chunk(samples.astype(np.float32)))

    def end(self) -> np.ndarray:
        """No more PCM comes: what the filter held back of it."""
        held = np.concatenate(self._held) if self._held else np.zeros(0, np.int16)
        self._seam = Seam(self._last, len(held) // self._times)
        self._seam.receive(self._down.convert(held))
        return to_int16(self._up.resample_chunk(np.zeros(0, np.float32), last=True))

    def receive_sound(self, sound: np.ndarray | int) -> np.ndarray:
        """Sound of the track, or so many samples of silence: what follows upon all that was given out before."""
        samples = np.zeros(sound, np.int16) if isinstance(sound, int) else sound
        self._held.append(samples)
        if self._seam is not None:
            return self.join() if self._seam.receive(self._down.convert(samples)) else samples[:0]
        while sum(map(len, self._held[1:])) >= LONGEST_HELD * self._times:
            del self._held[0]
        return samples[:0]

    def join(self) -> np.ndarray:
        """Goes over to the track with what has come of it; empty where PCM may still come."""
        if self.open or self.over:
            return np.zeros(0, np.int16)
        self.over = True
        _, begin = self._seam.join()
        return np.concatenate((*self._held, np.zeros(0, np.int16)))[begin * self._times:]
