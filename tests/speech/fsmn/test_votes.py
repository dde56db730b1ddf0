"""FSMN-VAD as the gate hears it: votes of frames, not frames."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.endpoint import Gate, GateOptions, SegmentEnded, SegmentStarted
from stream_server.speech.fsmn.segmenter import SegmenterOptions
from stream_server.speech.fsmn.vad import FsmnVad, manner
from stream_server.speech.vad import Manner, Score
from stream_server.units import ms_to_samples
from tests.support import detectors, recordings
from tests.support.audio import silence, voice

CLIP = "vad_example_70s.wav"
SOUND = np.concatenate([silence(0.4), voice(0.9), silence(0.5), voice(0.6)])[:-77]


def judged(vad: FsmnVad) -> list[Score]:
    while vad.outstanding:
        vad.net.judge([vad])
    return vad.take_scores()


def heard(vad: FsmnVad, pieces: list[np.ndarray]) -> list[Score]:
    """Scores of pieces that are judged one by one, up to the end."""
    scores = []
    for piece in pieces:
        vad.receive(piece)
        scores += judged(vad)
    vad.receive_end()
    return scores + judged(vad)


def loud() -> FsmnVad:
    return detectors.loudness().open("fsmn", 2)


def segments(scores: list[Score], manner: Manner, end_silence_ms: int) -> list[tuple[int, int, str]]:
    """Onset and last speech in ms, and why it ended."""
    gate = Gate(GateOptions(min_speech=1_600, end_silence=ms_to_samples(end_silence_ms), pre_roll=9_600,
                            max_segment=ms_to_samples(60_000), hop=9_600, look_ahead=4_800), manner)
    for score in scores:
        gate.receive(score)
    gate.cut(scores[-1].end, "stop")
    found = gate.take_decisions()
    starts = [decision.onset // 16 for decision in found if isinstance(decision, SegmentStarted)]
    ends = [(decision.last_speech // 16, decision.reason) for decision in found if isinstance(decision, SegmentEnded)]
    return [(start, *end) for start, end in zip(starts, ends, strict=True)]


def test_the_gate_finds_funasrs_segments():
    vad = detectors.real("fsmn").open("fsmn", 2)
    scores = heard(vad, [recordings.samples("clips", CLIP)])
    # What FunASR calls 800 ms of silence are 700.
    found = segments(scores, vad.manner, end_silence_ms=700)
    golden = next(clip["vad_ms"] for clip in recordings.manifest("clips") if clip["audio"] == CLIP)
    assert len(found) == len(golden) == 12
    for (onset, last_speech, _), (start, end) in zip(found, golden, strict=True):
        # FunASR begins 260 ms before steady speech and ends 160 ms behind it.
        assert abs(onset - (start + 260)) <= 40 or start == 70
        assert abs(last_speech - (end - 160)) <= 40 or end == golden[-1][1]


def test_frame_by_frame_the_gate_would_find_no_pause():
    vad = detectors.real("fsmn").open("fsmn", 2)
    vad.stream.receive(recordings.samples("clips", CLIP))
    (silence,) = vad.net.detector.judge([vad.stream])
    frames = [Score(160 * place, 160 * (place + 1), 1 - p) for place, p in enumerate(silence.tolist())]
    assert "silence" not in [reason for *_, reason in segments(frames, Manner(), end_silence_ms=800)]


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(SOUND)), max_size=15))
def test_cuts_change_nothing(cuts: list[int]):
    assert heard(loud(), np.split(SOUND, sorted(cuts))) == heard(loud(), [SOUND])


@pytest.mark.parametrize("length", [0, 1, 399, 400, 1_039, 16_000])
def test_scores_follow_each_other_without_gaps_to_the_last_sample(length: int):
    scores = heard(loud(), [SOUND[:length]])
    ends = [0, *(score.end for score in scores)]
    assert [score.start for score in scores] == ends[:-1] and ends[-1] == length


def test_of_steady_speech_onset_and_end_are_those_of_the_sound():
    ((onset, last_speech, reason),) = segments(
        heard(loud(), [silence(1), voice(1), silence(2)]), loud().manner, end_silence_ms=800)
    assert abs(onset - 1_000) <= 30 and abs(last_speech - 2_000) <= 30 and reason == "silence"


def test_silence_is_waited_for_as_long_as_was_asked():
    vad, gate = loud(), Gate(GateOptions(1_600, ms_to_samples(500), 9_600, ms_to_samples(60_000), 9_600, 4_800),
                             loud().manner)
    for score in heard(vad, [voice(1), silence(2)]):
        gate.receive(score)
    _, ended = gate.take_decisions()
    assert abs(ended.end // 16 - 1_500) <= 30


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, len(SOUND)), promptly=st.booleans())
def test_after_a_flush_nothing_before_it_makes_a_score(at: int, promptly: bool):
    vad = loud()
    vad.receive(SOUND[:at])
    before = judged(vad) if promptly else []
    vad.receive_flush()
    vad.receive(np.zeros(16_000, np.int16))
    scores = before + judged(vad)
    ends = [0, *(score.end for score in scores)]
    assert [score.start for score in scores] == ends[:-1]
    assert max([score.probability for score in scores if score.end > at], default=0) <= 3 / 20, "only neighbours"
    known = [score for score in scores if score.end <= at]
    assert known == heard(loud(), [SOUND[:at]])[:len(known)] and at - ends[len(known)] <= 720


def test_many_flushes_take_no_room():
    vad = loud()
    vad.receive(SOUND[:5_000])
    for _ in range(1_000):
        vad.receive_flush()
    assert len(vad._flushes) == 1


def test_the_manner_is_that_of_funasrs_window():
    assert manner(SegmenterOptions()) == Manner(voiced=0.75, still_voiced=0.75, begun=0.25, start_delay=14 * 160,
                                                end_delay=5 * 160)


def test_a_pass_takes_a_part_of_what_a_fast_sender_sent_and_all_of_what_others_did():
    fast, slow = loud(), [loud() for _ in range(30)]
    fast.receive(np.tile(SOUND, 10))
    for vad in slow:
        vad.receive(SOUND[:2_400])
    fast.net.judge([fast, *slow])
    assert fast.outstanding and len(fast.take_scores()) <= 20
    assert not any(vad.outstanding for vad in slow)
