"""48 kHz to 16 kHz, continuously, with the least delay: what WebRTC's sound needs.

A general resampler works in blocks of its own and holds 6 to 36 ms back, which text would be late by; this filter holds
back its half length, 2 ms.
"""

from __future__ import annotations

import numpy as np

FACTOR = 3
HALF = 99
"""Taps on either side of the middle one: with FACTOR phases of as many taps each."""
CUTOFF = 7_700 / 48_000
"""The middle of the slope from 7.1 kHz, up to where all passes, to 8.3 kHz, from where all is 80 dB down."""
KAISER_BETA = 7.86


def _phases() -> list[np.ndarray]:
    """The low pass, split into FACTOR filters for every third input sample, each backwards for a correlation."""
    places = np.arange(-HALF, HALF + 1)
    taps = 2 * CUTOFF * np.sinc(2 * CUTOFF * places) * np.kaiser(len(places), KAISER_BETA)
    taps = np.append(taps / taps.sum(), np.zeros(-len(taps) % FACTOR)).astype(np.float32)
    return [np.ascontiguousarray(taps[phase::FACTOR]) for phase in range(FACTOR)]


_PHASES = _phases()
_SPAN = FACTOR * len(_PHASES[0])


class Decimator:
    """Every third sample of one stream, low-passed. How the stream is cut changes nothing of the output."""

    def __init__(self) -> None:
        self._kept = np.zeros(HALF, np.float32)

    def convert(self, samples: np.ndarray) -> np.ndarray:
        """The output that `samples` complete, float32 in the range of the input."""
        sound = np.concatenate([self._kept, samples.astype(np.float32)])
        count = (len(sound) - _SPAN) // FACTOR + 1
        if count < 1:
            self._kept = sound
            return np.zeros(0, np.float32)
        used = sound[:FACTOR * (count - 1) + _SPAN]
        self._kept = sound[FACTOR * count:].copy()
        return sum(np.correlate(used[phase::FACTOR], taps, "valid") for phase, taps in enumerate(_PHASES))

    def flush(self) -> np.ndarray:
        """What is held back. Afterwards the decimator stands at the start of a new stream."""
        rest = self.convert(np.zeros(_SPAN - 1 - HALF, np.int16))
        self._kept = np.zeros(HALF, np.float32)
        return rest
