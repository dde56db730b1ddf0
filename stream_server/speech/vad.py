"""Voice activity detection: samples in, speech probabilities stamped with their sample indices out."""

from __future__ import annotations

import warnings
from typing import NamedTuple, Protocol

import numpy as np

from stream_server.config import VadKind
from stream_server.units import SAMPLE_RATE

FRAME = 320
"""Samples of a frame of webrtcvad: 20 ms."""
FRAME_BYTES = 2 * FRAME


class Score(NamedTuple):
    """How likely it is that someone speaks in the samples [start, end)."""

    start: int
    end: int
    probability: float


class Vad(Protocol):
    """What the gate listens to. Scores follow each other without gaps, from sample 0 on.

    A detector may answer within `receive`, or later and many scores at once: `take_scores` then gives nothing
    for a while, and `outstanding` says that what has been received is not yet judged.
    """

    def receive(self, samples: np.ndarray) -> None:
        """More audio: int16 at 16 kHz, any number of samples."""

    def receive_end(self) -> None:
        """No more audio: the rest, shorter than a frame, is to be judged too."""

    def take_scores(self) -> list[Score]:
        """The scores since the last call, in order."""

    @property
    def outstanding(self) -> bool:
        """Scores will still come of the audio received, without any more of it."""


class WebrtcVad:
    """webrtcvad in frames of 20 ms; answers at once, 1.0 or 0.0."""

    outstanding = False

    def __init__(self, aggressiveness: int = 2) -> None:
        with warnings.catch_warnings():
            # Older releases of the package ask pkg_resources for their version, which warns on every start.
            warnings.simplefilter("ignore")
            import webrtcvad
        self._vad = webrtcvad.Vad(aggressiveness)
        self._rest = b""
        self._position = 0
        self._scores: list[Score] = []

    def receive(self, samples: np.ndarray) -> None:
        data = self._rest + samples.tobytes() if self._rest else samples.tobytes()
        begin = 0
        for end in range(FRAME_BYTES, len(data) + 1, FRAME_BYTES):
            self._judge(data[begin:end], FRAME)
            begin = end
        self._rest = data[begin:]

    def receive_end(self) -> None:
        if self._rest:
            self._judge(self._rest.ljust(FRAME_BYTES, b"\0"), len(self._rest) // 2)
            self._rest = b""

    def take_scores(self) -> list[Score]:
        scores, self._scores = self._scores, []
        return scores

    def _judge(self, frame: bytes, samples: int) -> None:
        start = self._position
        self._position = end = start + samples
        self._scores.append(Score(start, end, 1.0 if self._vad.is_speech(frame, SAMPLE_RATE) else 0.0))


class Always:
    """No detection: all audio is speech. For push-to-talk, where the client's flush and stop end the segments."""

    outstanding = False

    def __init__(self) -> None:
        self._position = 0
        self._judged = 0

    def receive(self, samples: np.ndarray) -> None:
        self._position += len(samples)

    def receive_end(self) -> None:
        pass

    def take_scores(self) -> list[Score]:
        if self._judged == self._position:
            return []
        score = Score(self._judged, self._position, 1.0)
        self._judged = self._position
        return [score]


def make_vad(kind: VadKind, aggressiveness: int) -> Vad:
    """The detector that a session asked for."""
    return Always() if kind == "none" else WebrtcVad(aggressiveness)
