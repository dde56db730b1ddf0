"""Voice activity detection: samples in, speech probabilities stamped with their sample indices out.

webrtcvad answers at once. A net is dear by itself and cheap in a batch: its detectors only keep what they receive,
until the net that they share judges many of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from stream_server.units import SAMPLE_RATE, ms_to_samples

FRAME = 320
"""Samples of a frame of webrtcvad: 20 ms."""
FRAME_BYTES = 2 * FRAME

HANG_OVER = tuple(ms_to_samples(ms) for ms in (140, 140, 100, 60))
"""By aggressiveness: what webrtcvad calls speech behind speech, whatever it is. Behind more than six frames of speech
it is seven frames, five from 2 on (`kOverHangMax2` in its vad_core.c), behind fewer three or two less. As 3 is deaf to
soft endings it is given the least of these: with five it splits turns in noise."""

_INTERFACE = 1
"""Of the compiled `scores`: a library from another time is not to be used."""


class Score(NamedTuple):
    """How likely it is that someone speaks in the samples [start, end)."""

    start: int
    end: int
    probability: float


def plain_scores(kind: type[Score], process: Callable[[object, int, bytes, int], bool], vad: object, data: bytes,
                 start: int) -> list[Score]:
    """What webrtcvad's `process` makes of the whole frames of `data`, the first of which begins at the sample `start`.
    Compiled where it was built: `scores`."""
    begins = range(0, len(data) - FRAME_BYTES + 1, FRAME_BYTES)
    voiced = [process(vad, SAMPLE_RATE, data[begin:begin + FRAME_BYTES], FRAME) for begin in begins]
    # By its own name a tuple is made by a function in Python, which takes longer than all else about a score.
    return [tuple.__new__(kind, (start + begin // 2, start + begin // 2 + FRAME, float(answer)))
            for begin, answer in zip(begins, voiced, strict=True)]


def _compiled() -> Callable[..., list[Score]] | None:
    try:
        from stream_server.speech import _scores
    except ImportError:
        return None
    return _scores.scores if _scores.INTERFACE == _INTERFACE else None


scores = _compiled() or plain_scores


@dataclass(frozen=True, slots=True)
class Manner:
    """How a detector's scores are to be read.

    While nobody speaks a score counts as voiced from `voiced` on, while someone does from `still_voiced` on; where a
    flush or stop cuts, speech counts as begun from `begun` on. The delays, in samples: how far into steady speech the
    first voiced score lies, and how far behind it the last one, as far as that is certain.
    """

    voiced: float = 0.5
    still_voiced: float = 0.35
    begun: float = 0.5
    start_delay: int = 0
    end_delay: int = 0


class Vad(Protocol):
    """What the gate listens to. Scores follow each other without gaps, from sample 0 on.

    A detector may answer within `receive`, or later and many scores at once: `take_scores` then gives nothing
    for a while, and `outstanding` says that what has been received is not yet judged.
    """

    manner: Manner
    net: Net | None
    """What judges it; None where it answers at once."""

    def receive(self, samples: np.ndarray) -> None:
        """More audio: int16 at 16 kHz, any number of samples."""

    def receive_flush(self) -> None:
        """What comes from here on is listened to anew: what was heard before makes none of it speech.

        A score that needs audio from both sides is given with the first one behind the flush.
        """

    def receive_end(self) -> None:
        """No more audio: the rest, shorter than a frame, is to be judged too."""

    def take_scores(self) -> list[Score]:
        """The scores since the last call, in order."""

    @property
    def outstanding(self) -> bool:
        """Scores will still come of the audio received, without any more of it."""


class Net(Protocol):
    """A network that judges what detectors of its kind have kept, all of them at once."""

    def judge(self, vads: Sequence[Vad]) -> None:
        """Gives each of `vads` scores, of at most a second and together of at most a few: the caller has other work.

        Those that have kept more are `outstanding` still. Where it raises, what has had no scores is kept as it was: it
        can be judged again, with others or alone.
        """


class Prompt:
    """A detector that answers within `receive`."""

    manner = Manner()
    net = None
    outstanding = False

    def receive_flush(self) -> None:
        """Nothing is kept beyond a frame."""


class WebrtcVad(Prompt):
    """webrtcvad in frames of 20 ms; answers at once, 1.0 or 0.0."""

    def __init__(self, aggressiveness: int = 2) -> None:
        # The package's own class adds to each frame a fifth of what judging it takes.
        import _webrtcvad

        self.manner = Manner(end_delay=HANG_OVER[aggressiveness])
        self._vad = _webrtcvad.create()
        _webrtcvad.init(self._vad)
        _webrtcvad.set_mode(self._vad, aggressiveness)
        self._process = _webrtcvad.process
        self._rest = b""
        self._position = 0
        self._scores: list[Score] = []

    def receive(self, samples: np.ndarray) -> None:
        data = self._rest + samples.tobytes() if self._rest else samples.tobytes()
        whole = len(data) // FRAME_BYTES * FRAME_BYTES
        self._scores += scores(Score, self._process, self._vad, data, self._position)
        self._position, self._rest = self._position + whole // 2, data[whole:]

    def receive_end(self) -> None:
        if self._rest:
            frame = self._rest.ljust(FRAME_BYTES, b"\0")
            voiced = 1.0 if self._process(self._vad, SAMPLE_RATE, frame, FRAME) else 0.0
            end = self._position + len(self._rest) // 2
            self._scores.append(Score(self._position, end, voiced))
            self._position, self._rest = end, b""

    def take_scores(self) -> list[Score]:
        scores, self._scores = self._scores, []
        return scores


class Always(Prompt):
    """No detection: all audio is speech. For push-to-talk, where the client's flush and stop end the segments."""

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

