"""Sound made by formula: a voice that webrtcvad takes for one, silence, and markers that can be found again exactly."""

from __future__ import annotations

from functools import cache

import numpy as np

RATE = 16_000
MARKER = 30_000
MOST_MARKERS = 2_767


@cache
def _second_of_voice() -> np.ndarray:
    """A vowel: harmonics of 125 Hz under three formants, four syllables a second; peaks at 12,000."""
    time = np.arange(RATE) / RATE
    sound = np.zeros(RATE)
    for harmonic in range(1, 30):
        frequency = 125 * harmonic
        gain = sum(np.exp(-(((frequency - formant) / 150) ** 2)) for formant in (500, 1_500, 2_500)) + 0.05
        sound += gain * np.sin(2 * np.pi * frequency * time + harmonic)
    sound *= 0.8 + 0.2 * np.cos(2 * np.pi * 4 * time)
    return np.round(12_000 * sound / np.abs(sound).max()).astype(np.int16)


def voice(seconds: float) -> np.ndarray:
    """int16 at 16 kHz."""
    count = round(seconds * RATE)
    return np.tile(_second_of_voice(), count // RATE + 1)[:count].copy()


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE), np.int16)


def mark(samples: np.ndarray, every: float = 0.2, first: int = 0) -> np.ndarray:
    """A copy in which each `every` seconds one sample says its number, from `first` on."""
    marked = samples.copy()
    places = np.arange(round(every * RATE) // 2, len(samples), round(every * RATE))
    marked[places] = MARKER + (first + np.arange(len(places))) % MOST_MARKERS
    return marked


def markers(samples: np.ndarray) -> list[tuple[int, int]]:
    """The markers in `samples`: (index, number)."""
    return [(int(index), int(samples[index]) - MARKER) for index in np.flatnonzero(samples >= MARKER)]
