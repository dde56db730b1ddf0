"""From samples to FSMN-VAD's features: filter banks, each with two neighbours on both sides, normalised.

The numbers of FunASR's `WavFrontendOnline` (funasr/frontends/wav_frontend.py) with lfr_m 5 and lfr_n 1: a stream's
first and last filter bank are repeated where neighbours are missing. A feature is known two frames after its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from stream_server.audio.fbank import LENGTH, MEL_BINS, SHIFT, fbank, frame_count, frames_of

STACKED = 5
"""Filter banks in a feature: its frame's own and two on each side."""
FEATURES = STACKED * MEL_BINS
LOOK_AHEAD = 2 * SHIFT + LENGTH - SHIFT
"""Samples after a frame's 160 that must be known before its feature is."""

_NEIGHBOURS = STACKED // 2


class Carry:
    """What a stream has of its past: samples that fill no frame yet, and the last filter banks."""

    def __init__(self) -> None:
        self.received = 0
        """Samples so far."""
        self.ended = False
        self._samples = np.empty(0, np.int16)
        self._banks: np.ndarray | None = None

    def receive(self, samples: np.ndarray) -> None:
        """More audio: int16 [n] at 16 kHz, any n. It is kept until features are taken."""
        self.received += len(samples)
        self._samples = np.concatenate((self._samples, samples)) if len(self._samples) else samples.copy()

    def receive_end(self) -> None:
        """No more audio: the last two frames get their features too. What is left of less than a frame gets none."""
        self.ended = True

    @property
    def frames(self) -> int:
        """Whole frames that wait to be taken."""
        return frame_count(len(self._samples))

    def mark(self) -> Callable[[], None]:
        """What puts back all that is taken from here on, until more is received."""
        samples, banks = self._samples, self._banks

        def put_back() -> None:
            self._samples, self._banks = samples, banks

        return put_back

    def take_frames(self, most: int) -> np.ndarray:
        """The next frames [n, 400], at most `most`. Whoever takes them gives their filter banks to `stack`."""
        frames = frames_of(self._samples)[:most]
        rest = self._samples[SHIFT * len(frames):]
        # Copied once little is left: a view would keep all that came with it.
        self._samples = rest if len(rest) >= LENGTH else rest.copy()
        return frames

    def stack(self, banks: np.ndarray) -> np.ndarray:
        """Features [m, 400], not normalised, that the filter banks [n, 80] of the frames taken last complete."""
        kept = self._banks
        if kept is None:
            # Nothing has come yet, or all has been given.
            if not len(banks):
                return np.empty((0, FEATURES), np.float32)
            kept = banks[:1].repeat(_NEIGHBOURS, 0)
        kept = np.concatenate((kept, banks))
        complete = self.ended and not self.frames
        if complete:
            kept = np.concatenate((kept, kept[-1:].repeat(_NEIGHBOURS, 0)))
        known = len(kept) - STACKED + 1
        self._banks = None if complete else kept[max(known, 0):].copy()
        if known <= 0:
            return np.empty((0, FEATURES), np.float32)
        return np.ndarray((known, FEATURES), kept.dtype, kept, 0, kept.strides)


class Frontend:
    """Features of many streams at once. `shift` and `scale` [400] are the model's normalisation."""

    def __init__(self, shift: np.ndarray, scale: np.ndarray) -> None:
        self._shift = shift.astype(np.float32)
        self._scale = scale.astype(np.float32)

    def take_features(self, carries: Sequence[Carry], most: int) -> list[np.ndarray]:
        """Of each stream the features [m, 400] fp32 that its next frames, at most `most`, complete.

        m is at most `most` + 2. A stream whose audio has ended has given its last feature once `frames` is 0.
        """
        taken = [carry.take_frames(most) for carry in carries]
        if not taken:
            return []
        banks = _shared_out(fbank(np.concatenate(taken)), taken)
        stacked = [carry.stack(new) for carry, new in zip(carries, banks, strict=True)]
        features = np.concatenate(stacked)
        features += self._shift
        features *= self._scale
        return _shared_out(features, stacked)


def _shared_out(rows: np.ndarray, like: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Consecutive rows, as many to each as the arrays of `like` have."""
    shares, start = [], 0
    for one in like:
        shares.append(rows[start:start + len(one)])
        start += len(one)
    return shares
