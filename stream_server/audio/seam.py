"""Where audio goes on that was heard before by another way: the same sound, from nobody knows which sample on."""

from __future__ import annotations

import numpy as np

from stream_server.units import SAMPLE_RATE

TEMPLATE = SAMPLE_RATE // 2
"""Samples at the end of what was heard that are looked for."""

REACH = SAMPLE_RATE // 2
"""Samples by which a client's reckoning may be wrong, either way."""

SURE = 0.5
"""Correlation from which on a place is believed. Opus at speech rates comes to 0.9 and more against what it was made
of, other speech hardly to 0.3; in silence there is nothing to find, nor anything to lose."""

QUIETEST = 30.0
"""Root mean square below which the template is held to be silence."""


def find_seam(before: np.ndarray, after: np.ndarray, expected: int) -> int:
    """The index in `after` of the sample that follows upon the last of `before`, both int16 at 16 kHz.

    It is looked for around `expected`, and is `expected` where nothing is found. Correlation is normalised, so that the
    two may differ in loudness.
    """
    expected = min(max(expected, 0), len(after))
    template = before[-TEMPLATE:].astype(np.float64)
    first, last = max(expected - REACH, len(template)), min(expected + REACH, len(after))
    if len(template) < TEMPLATE or first > last or np.sqrt(np.mean(template**2)) < QUIETEST:
        return expected
    heard = after[first - len(template):last].astype(np.float64)
    size = 1 << (len(heard) + len(template) - 1).bit_length()
    products = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(template, size)), size)
    energy = np.concatenate(([0.0], np.cumsum(heard**2)))
    energy = energy[len(template):] - energy[:-len(template)]
    alike = products[:last - first + 1] / np.sqrt(np.maximum(energy, 1.0) * np.sum(template**2))
    best = int(np.argmax(alike))
    return first + best if alike[best] >= SURE else expected


class Seam:
    """Holds back what comes again until enough of it is there to find where it goes on."""

    def __init__(self, before: np.ndarray, expected: int) -> None:
        """`before`: the last that was heard; `expected`: about how many samples of what comes were heard already."""
        self._before = before
        self._expected = expected
        self._pieces: list[np.ndarray] = []
        self._waiting = 0

    def receive(self, samples: np.ndarray) -> bool:
        """Whether enough is there."""
        self._pieces.append(samples)
        self._waiting += len(samples)
        return self._waiting >= self._expected + REACH

    @property
    def reached(self) -> bool:
        """Whether as much has come as was heard already."""
        return self._waiting >= self._expected

    def join(self) -> tuple[np.ndarray, int]:
        """What follows, of all that was received, and how many samples of it were heard before."""
        after = np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.int16)
        begin = find_seam(self._before, after, self._expected)
        return after[begin:], begin
