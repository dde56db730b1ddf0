"""FSMN-VAD as a session's detector: frames' probabilities of silence in, votes of the last frames out.

FunASR smooths by counting speech frames among the last 20 and so does this: a score is their share, and the thresholds
are the counts at which FunASR's window turns voiced and silent (`segmenter.py`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import numpy as np

from stream_server.speech.fsmn.detector import Detector
from stream_server.speech.fsmn.frontend import LOOK_AHEAD
from stream_server.speech.fsmn.model import Model
from stream_server.speech.fsmn.segmenter import FRAME, FRAME_MS, SegmenterOptions
from stream_server.speech.vad import Manner, Score

MOST_FRAMES = 600
"""Frames of all streams in one pass: some 20 ms of a core."""
FEWEST_FRAMES = 10
"""Frames of each stream that may be in it, whatever the number of streams."""
BEGUN_PART = 3
"""Speech counts as begun, at a flush or stop, with this part of the speech frames that make it voiced."""


class FsmnNet:
    """What the FSMN-VAD detectors of a process share."""

    def __init__(self, model: Model) -> None:
        self.options = model.options
        self.manner = manner(model.options)
        self.detector = Detector(model)

    def open(self) -> FsmnVad:
        """A detector for one session."""
        return FsmnVad(self)

    def judge(self, vads: Sequence[FsmnVad]) -> None:
        """Gives each of `vads` the scores of its next frames: at most a second, and together a few."""
        judged = self.detector.judge_some([vad.stream for vad in vads], max(FEWEST_FRAMES, MOST_FRAMES // len(vads)))
        for vad, silence in zip(vads, judged, strict=True):
            vad.receive_silence(silence.tolist())


class FsmnVad:
    """One session's detector. `outstanding` until its net has judged it."""

    def __init__(self, net: FsmnNet) -> None:
        self.net = net
        self.manner = net.manner
        self.stream = net.detector.open()
        self._most_silence = (1.0 - net.options.speech_noise_thres) / 2
        self._width = net.options.window_size_ms // FRAME_MS
        self._received = 0
        self._ended = False
        self._frames = 0
        self._scored = 0
        self._flushes: deque[int] = deque()
        self._deaf_until = 0
        self._scores: list[Score] = []
        self._clear_votes()

    def receive(self, samples: np.ndarray) -> None:
        """More audio: int16 [n] at 16 kHz, any n."""
        self._received += len(samples)
        self.stream.receive(samples)

    def receive_flush(self) -> None:
        """Frames that are not known without what follows have no vote, nor have those before the flush."""
        if not self._flushes or self._flushes[-1] < self._received:
            self._flushes.append(self._received)

    def receive_end(self) -> None:
        """No more audio: the last frames are known without what would follow them."""
        self._ended = True
        self.stream.receive_end()

    def take_scores(self) -> list[Score]:
        """The scores since the last call; the last of all reaches to the last sample."""
        scores, self._scores = self._scores, []
        return scores

    @property
    def outstanding(self) -> bool:
        """Whole frames wait for the net, or the audio's end does."""
        return self.stream.frames > 0 or (self._ended and self._scored < self._received)

    def receive_silence(self, silence: Sequence[float]) -> None:
        """The net's answer: the next frames' probabilities of silence."""
        append, width, most_silence = self._scores.append, self._width, self._most_silence
        for probability in silence:
            self._frames += 1
            end = self._frames * FRAME
            while self._flushes and end + LOOK_AHEAD > self._flushes[0]:
                self._deaf_until = self._flushes.popleft()
                self._clear_votes()
            if end <= self._deaf_until:
                continue
            voiced = probability <= most_silence
            self._speech += voiced - self._votes[0]
            self._votes.append(voiced)
            append(Score(self._scored, end, self._speech / width))
            self._scored = end
        if self._ended and not self.stream.frames and self._scored < self._received:
            if self._received > max(self._deaf_until, *self._flushes, 0):
                append(Score(self._scored, self._received, self._speech / width))
            self._scored = self._received

    def _clear_votes(self) -> None:
        self._votes = deque([False] * self._width, self._width)
        self._speech = 0


def manner(options: SegmenterOptions) -> Manner:
    """FunASR's counts as shares of the window, and what they delay."""
    width = options.window_size_ms // FRAME_MS
    turns_voiced = options.sil_to_speech_time_thres // FRAME_MS
    turns_silent = max(options.speech_to_sil_time_thres // FRAME_MS, 1)
    return Manner(voiced=turns_voiced / width, still_voiced=turns_silent / width,
                  begun=max(turns_voiced // BEGUN_PART, 1) / width,
                  start_delay=(turns_voiced - 1) * FRAME, end_delay=(width - turns_silent) * FRAME)
