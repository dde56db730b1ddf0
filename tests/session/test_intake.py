"""The intake with a detector that answers late and in batches."""

from __future__ import annotations

import numpy as np
import pytest

from stream_server.audio.windows import DEFAULT_WINDOWS
from stream_server.config import SessionDefaults, SessionLimits
from stream_server.errors import ClientError
from stream_server.session.intake import FlushMark, Intake, StopMark
from stream_server.session.ledger import Ledger
from stream_server.session.messages import Start
from stream_server.session.options import Options, choose_options
from stream_server.session.segments import Segments
from stream_server.speech.endpoint import SegmentEnded, SegmentStarted
from stream_server.speech.vad import Score, WebrtcVad
from tests.support.audio import silence, voice


class LateVad:
    """webrtcvad's judgement, withheld until `answer`."""

    net = None

    def __init__(self) -> None:
        self._vad = WebrtcVad()
        self.manner = self._vad.manner
        self._answered: list[Score] = []
        self.outstanding = False

    def receive(self, samples: np.ndarray) -> None:
        self._vad.receive(samples)
        self.outstanding = True

    def receive_flush(self) -> None:
        self._vad.receive_flush()

    def receive_end(self) -> None:
        self._vad.receive_end()

    def take_scores(self) -> list[Score]:
        scores, self._answered = self._answered, []
        return scores

    def answer(self) -> None:
        self._answered += self._vad.take_scores()
        self.outstanding = False


def options(**start: object) -> Options:
    return choose_options(Start(**start), SessionDefaults(), DEFAULT_WINDOWS)


def test_a_detector_that_answers_late_decides_the_same():
    audio = np.concatenate([silence(0.5), voice(2.0)])
    prompt, vad = Intake(options(), 1 << 20, WebrtcVad()), LateVad()
    late = Intake(options(), 1 << 20, vad)
    for intake in (prompt, late):
        intake.receive_audio(audio.tobytes())
        intake.receive_flush("f")
        intake.receive_audio(voice(0.71).tobytes())
        intake.receive_end()
    assert list(late.decisions) == []
    vad.answer()
    late.judge()
    assert [type(d) for d in late.decisions] == [SegmentStarted, SegmentEnded, FlushMark, SegmentStarted, SegmentEnded,
                                                 StopMark]
    assert late.decisions == prompt.decisions


def test_audio_not_judged_yet_is_not_handed_out():
    vad = LateVad()
    intake = Intake(options(), 1 << 20, vad)
    segments = Segments(options(), intake, Ledger())
    intake.receive_audio(voice(0.5).tobytes())
    vad.answer()
    intake.judge()
    intake.receive_audio(voice(1.0).tobytes())
    segments.advance()
    assert segments.take_chunk() is None
    vad.answer()
    intake.judge()
    assert len(segments.take_chunk().samples) == 9_600


def test_more_than_can_be_kept_is_refused_and_nothing_is_kept_of_it():
    chosen = options()
    intake = Intake(chosen, 32_000, WebrtcVad())
    with pytest.raises(ClientError) as error:
        intake.receive_audio(bytes(2 * 40_000))
    assert error.value.code == "too_large" and intake.ring.end == 0
    assert chosen.capacity(SessionLimits()) > 16_000 * 40
