"""Ends of recorded speech are noticed when the silence that was set has lasted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.vad import speech
from stream_server.speech.detectors import Detectors
from stream_server.speech.endpoint import Gate, GateOptions, SegmentEnded
from stream_server.speech.vad import Vad
from stream_server.units import SAMPLE_RATE, ms_to_samples
from tests.support import recordings
from tests.support.detectors import silero_net

END_SILENCE_MS = 800
OPTIONS = GateOptions(min_speech=ms_to_samples(100), end_silence=ms_to_samples(END_SILENCE_MS),
                      pre_roll=ms_to_samples(600), max_segment=ms_to_samples(60_000), hop=9_600, look_ahead=4_800)
QUIET = np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE) * speech.QUIET_LEVEL


def detector(kind: str, aggressiveness: int) -> Vad:
    nets = {"silero": silero_net()} if kind == "silero" else {}
    return Detectors(nets).open(kind, aggressiveness)


def last_end(sound: np.ndarray, vad: Vad) -> SegmentEnded:
    """Of what is said in `sound` and the quiet behind it."""
    loud = np.concatenate([QUIET[:SAMPLE_RATE], sound, QUIET])
    vad.receive((32768 * loud).round().clip(-32768, 32767).astype(np.int16))
    while vad.outstanding:
        vad.net.judge([vad])
    gate = Gate(OPTIONS, vad.manner)
    gate.receive_all(vad.take_scores())
    return [decision for decision in gate.take_decisions() if isinstance(decision, SegmentEnded)][-1]


@pytest.mark.skipif(not recordings.present(), reason=recordings.ABSENT)
@pytest.mark.parametrize(("kind", "aggressiveness"), [("webrtc", 0), ("webrtc", 1), ("webrtc", 2), ("webrtc", 3),
                                                      ("silero", 0)])
def test_an_end_is_noticed_when_it_should_be(kind, aggressiveness):
    late, too_long = [], []
    for sound, _, stop in speech.utterances()[::6]:
        ended = last_end(sound, detector(kind, aggressiveness))
        spoken_until = SAMPLE_RATE + stop
        late.append((ended.end - spoken_until) * 1000 / SAMPLE_RATE - END_SILENCE_MS)
        too_long.append((ended.last_speech - spoken_until) * 1000 / SAMPLE_RATE)
    for median, most in (np.percentile(late, [50, 90]), np.percentile(too_long, [50, 90])):
        assert 0 <= median <= 80 and most <= 100
