"""Silero's voice activity detection as a session's detector: windows of 32 ms in, probabilities of speech out.

The network comes with the package silero-vad (MIT licence) as an ONNX file, which onnxruntime computes for many
sessions at once. Nothing of the package is imported: its Python loads torch. Windows, context and scale are those of
`OnnxWrapper` (silero_vad/utils_vad.py).
"""

from __future__ import annotations

import importlib.util
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stream_server.errors import ModelError
from stream_server.speech.vad import Manner, Score

WINDOW = 512
"""Samples of a score: 32 ms."""
CONTEXT = 64
"""Samples before a window that the network sees with it."""
FILE = "data/silero_vad_16k_op15.onnx"
HANG_OVER = 2 * WINDOW
"""Samples for which it hangs on behind speech that dies away in a room, at four ends of five (docs/vad.md). Where sound
breaks off it is some 40 ms."""
MOST_WINDOWS = 192
"""Windows of all sessions in one pass: some 20 ms of a core."""
LONGEST_RUN = 31
"""Windows of one session in it: a second. They go through the network one after the other."""

_STATE = (2, 128)
_SCALE = np.float32(1 / 32768)


def found() -> str:
    """Whether the network and what runs it are installed, in words."""
    missing = _missing()
    return f"cannot be had: {missing}" if missing else "can be had"


def _missing() -> str:
    absent = [name for name in ("silero_vad", "onnxruntime") if importlib.util.find_spec(name) is None]
    if absent:
        return f"no package {' or '.join(absent)}; pip install 'stream-server[silero]'"
    return "" if _model().is_file() else f"no file {_model()}; needed silero-vad 6"


def _model() -> Path:
    return Path(importlib.util.find_spec("silero_vad").submodule_search_locations[0]) / FILE


class SileroNet:
    """What the Silero detectors of a process share. Raises ModelError where it is not installed."""

    manner = Manner(voiced=0.5, still_voiced=0.35, end_delay=HANG_OVER)

    def __init__(self) -> None:
        if missing := _missing():
            raise ModelError(f"vad-model silero: {missing}")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # It warns of a few constants in the file that nothing uses.
        options.log_severity_level = 3
        self._network = onnxruntime.InferenceSession(str(_model()), options, providers=["CPUExecutionProvider"])

    def open(self) -> SileroVad:
        """A detector for one session."""
        return SileroVad(self)

    def judge(self, vads: Sequence[SileroVad]) -> None:
        """Gives each of `vads` the scores of its next windows: at most a second, and together a few."""
        for _ in range(min(max(MOST_WINDOWS // len(vads), 1), LONGEST_RUN)):
            vads = [vad for vad in vads if vad.outstanding]
            if not vads:
                return
            inputs = np.stack([vad.next_window() for vad in vads])
            states = np.stack([vad.state for vad in vads], 1)
            speech, states = self._network.run(None, {"input": inputs, "state": states, "sr": np.array(16_000)})
            for row, vad in enumerate(vads):
                # A view would keep the states of all that were in the batch.
                vad.receive_speech(float(speech[row, 0]), states[:, row].copy())


class SileroVad:
    """One session's detector. `outstanding` until its net has judged it."""

    def __init__(self, net: SileroNet) -> None:
        self.net = net
        self.manner = net.manner
        self.state = np.zeros(_STATE, np.float32)
        self._waiting = np.zeros(CONTEXT, np.int16)
        self._received = 0
        self._scored = 0
        self._ended = False
        self._flushes: deque[int] = deque()
        self._scores: list[Score] = []

    def receive(self, samples: np.ndarray) -> None:
        """More audio: int16 [n] at 16 kHz, any n."""
        self._received += len(samples)
        self._waiting = np.concatenate((self._waiting, samples))

    def receive_flush(self) -> None:
        """The network forgets what came before, and the window that a flush lies in is taken for silent."""
        if not self._flushes or self._flushes[-1] < self._received:
            self._flushes.append(self._received)

    def receive_end(self) -> None:
        """No more audio: what is left is judged as a window that ends in silence."""
        self._ended = True

    def take_scores(self) -> list[Score]:
        scores, self._scores = self._scores, []
        return scores

    @property
    def outstanding(self) -> bool:
        """A whole window waits, or the rest does and the audio has ended."""
        waiting = self._received - self._scored
        return waiting >= WINDOW or (self._ended and waiting > 0)

    def next_window(self) -> np.ndarray:
        """The next window, what came before it in front: fp32 [576]. It stays until `receive_speech` has its answer."""
        window = np.zeros(CONTEXT + WINDOW, np.float32)
        known = self._waiting[:CONTEXT + WINDOW]
        window[:len(known)] = known
        window *= _SCALE
        return window

    def receive_speech(self, probability: float, state: np.ndarray) -> None:
        """The net's answer to the next window, and what it remembers of the audio so far."""
        self._waiting = self._waiting[WINDOW:]
        end = min(self._scored + WINDOW, self._received)
        self.state = state
        if self._flushes and self._flushes[0] < end:
            probability = 0.0
            self.state = np.zeros(_STATE, np.float32)
            while self._flushes and self._flushes[0] < end:
                self._flushes.popleft()
        self._scores.append(Score(self._scored, end, probability))
        self._scored = end
