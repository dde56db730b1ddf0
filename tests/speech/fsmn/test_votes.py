"""What the gate makes of FSMN-VAD: the plan of `docs/vad.md` to give it votes of frames, not frames."""

from __future__ import annotations

import numpy as np
import pytest

from stream_server.speech import endpoint
from stream_server.speech.endpoint import Gate, GateOptions, SegmentEnded, SegmentStarted
from stream_server.speech.fsmn.detector import Detector
from stream_server.speech.fsmn.model import Model
from stream_server.speech.vad import Score
from stream_server.units import ms_to_samples
from tests.support import recordings

CLIP = "vad_example_70s.wav"
WINDOW = 20


@pytest.fixture
def speech(model: Model) -> np.ndarray:
    """Probabilities of speech in the clip's frames."""
    detector = Detector(model)
    stream = detector.open()
    stream.receive(recordings.samples("clips", CLIP))
    stream.receive_end()
    return 1 - detector.judge([stream])[0]


def segments(scores: np.ndarray, end_silence_ms: int) -> list[tuple[int, int, str]]:
    """Onset and last speech in ms, and why it ended."""
    gate = Gate(GateOptions(min_speech=1_600, end_silence=ms_to_samples(end_silence_ms), pre_roll=9_600,
                            max_segment=ms_to_samples(60_000), hop=9_600, look_ahead=4_800))
    for frame, score in enumerate(scores):
        gate.receive(Score(160 * frame, 160 * (frame + 1), float(score)))
    gate.cut(160 * len(scores), "stop")
    found = gate.take_decisions()
    starts = [decision.onset // 16 for decision in found if isinstance(decision, SegmentStarted)]
    ends = [(decision.last_speech // 16, decision.reason) for decision in found if isinstance(decision, SegmentEnded)]
    return [(start, *end) for start, end in zip(starts, ends, strict=True)]


def test_by_votes_the_gate_finds_funasrs_segments(speech: np.ndarray, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(endpoint, "VOICED", 0.75)
    monkeypatch.setattr(endpoint, "STILL_VOICED", 0.75)
    counted = np.cumsum(np.concatenate((np.zeros(WINDOW), speech >= 0.8)))
    found = segments((counted[WINDOW:] - counted[:-WINDOW]) / WINDOW, end_silence_ms=650)
    golden = next(clip["vad_ms"] for clip in recordings.manifest("clips") if clip["audio"] == CLIP)
    assert len(found) == len(golden) == 12
    for (onset, last_speech, _), (start, end) in zip(found, golden, strict=True):
        assert start < onset <= start + 400 and end - 160 <= last_speech <= end


def test_by_frames_the_gate_finds_no_pause(speech: np.ndarray):
    assert "silence" not in [reason for *_, reason in segments(speech, end_silence_ms=800)]
