"""FSMN-VAD over many streams: samples in, probabilities of silence out, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stream_server.speech.fsmn.frontend import Carry
from stream_server.speech.fsmn.model import Model

FRAMES_A_PASS = 100
"""Frames of a stream that one pass of the network takes at most: one second, so that a file costs no more memory."""


class Stream:
    """One stream's audio that is not judged yet, and what the network keeps of its past."""

    def __init__(self, state: np.ndarray) -> None:
        self._carry = Carry()
        self._state = state

    def receive(self, samples: np.ndarray) -> None:
        """More audio: int16 [n] at 16 kHz, any n. It is kept until the detector judges the stream."""
        self._carry.receive(samples)

    def receive_end(self) -> None:
        """No more audio."""
        self._carry.receive_end()

    @property
    def frames(self) -> int:
        """Whole frames that wait to be judged."""
        return self._carry.frames


class Detector:
    """Judges streams together. Which ones are together, and when, changes nothing in what is said of each."""

    def __init__(self, model: Model) -> None:
        self._model = model

    def open(self) -> Stream:
        """A stream at its start."""
        return Stream(self._model.network.new_states(1)[0])

    def judge(self, streams: Sequence[Stream]) -> list[np.ndarray]:
        """Of each stream the probabilities of silence [m] of those frames that have become known since the last call.

        A frame is 160 samples, frame i begins at sample 160 i. It is known once 560 samples after it have come, or the
        audio has ended: a stream of n samples has (n - 240) // 160 frames, none if it is shorter than 400 samples.
        """
        judged: list[list[np.ndarray]] = [[] for _ in streams]
        waiting = list(range(len(streams)))
        while waiting:
            for index, silence in zip(waiting, self.judge_some([streams[index] for index in waiting]), strict=True):
                judged[index].append(silence)
            waiting = [index for index in waiting if streams[index].frames]
        return [np.concatenate(parts) for parts in judged]

    def judge_some(self, streams: Sequence[Stream], most: int = FRAMES_A_PASS) -> list[np.ndarray]:
        """As `judge`, in one pass over at most `most` frames of each stream, and FRAMES_A_PASS: more may wait still.

        Where it raises, the streams are as they were.
        """
        carries = [stream._carry for stream in streams]
        before = [carry.mark() for carry in carries]
        try:
            features = self._model.frontend.take_features(carries, min(most, FRAMES_A_PASS))
            judged = [np.empty(0, np.float32)] * len(streams)
            given = [(index, rows) for index, rows in enumerate(features) if len(rows)]
            if given:
                for index, silence in self._pass(streams, given):
                    judged[index] = silence
            return judged
        except Exception:
            for put_back in before:
                put_back()
            raise

    def _pass(
        self, streams: Sequence[Stream], given: list[tuple[int, np.ndarray]]
    ) -> list[tuple[int, np.ndarray]]:
        lengths = np.array([len(rows) for _, rows in given])
        features = np.zeros((len(given), lengths.max(), given[0][1].shape[1]), np.float32)
        for row, (_, rows) in enumerate(given):
            features[row, :len(rows)] = rows
        states = np.stack([streams[index]._state for index, _ in given])
        probabilities, states = self._model.network.forward(features, lengths, states)
        silence = probabilities[:, :, list(self._model.silence)].sum(-1)
        for row, (index, _) in enumerate(given):
            # A view would keep the states of all that were in the batch.
            streams[index]._state = states[row].copy()
        return [(index, silence[row, :lengths[row]]) for row, (index, _) in enumerate(given)]
