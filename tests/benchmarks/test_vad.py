"""What `python -m benchmarks vad` takes for the truth, and what it counts."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import vad
from benchmarks.vad import cost
from benchmarks.vad.quality import Segment, figures
from benchmarks.vad.speech import Noise, Track, levels, speech_bounds, track
from tests.support import detectors, recordings
from tests.support.audio import silence, voice

SECOND = 16_000
HUM = (20 * np.random.default_rng(1).standard_normal(10 * SECOND)).astype(np.int16)
TRACK = Track(np.zeros(60 * SECOND, np.int16), [[(10 * SECOND, 12 * SECOND), (13 * SECOND, 15 * SECOND)],
                                              [(20 * SECOND, 22 * SECOND)]])


def recording(*parts: np.ndarray) -> np.ndarray:
    sound = np.concatenate(parts)
    return sound + HUM[:len(sound)]


def test_speech_lies_where_it_is_loud():
    start, end, pause = speech_bounds(recording(silence(0.7), voice(0.5), silence(0.3), voice(1), silence(0.8)))
    assert abs(start - 0.7 * SECOND) <= 240 and abs(end - 2.5 * SECOND) <= 240 and abs(pause - 0.3 * SECOND) <= 480


def test_a_click_apart_from_the_rest_is_no_speech():
    start, end, _ = speech_bounds(recording(silence(0.2), voice(0.07), silence(0.5), voice(1), silence(0.5),
                                            voice(0.07), silence(0.3)))
    assert abs(start - 0.77 * SECOND) <= 240 and abs(end - 1.77 * SECOND) <= 240


def test_where_nothing_is_there_is_no_speech():
    assert speech_bounds(HUM) is None


def segment(start: float, end: float, noticed: float = 0.2, closed: float = 0.9) -> Segment:
    """In seconds; `noticed` and `closed` behind start and end, the pre-roll half a second."""
    times = (start - 0.5, start, end, end + 0.8, start + noticed, end + closed)
    return Segment(*(round(time * SECOND) for time in times))


def counted(*segments: Segment) -> dict[str, object]:
    return figures(TRACK, segments, round(0.8 * SECOND))


def test_what_is_right_is_counted_as_such():
    found = counted(segment(10, 15), segment(20, 22))
    assert found == {"noticed_p50_ms": 200, "noticed_p95_ms": 200, "lost_start_p95_ms": 0, "end_late_p50_ms": 100,
                     "end_late_p95_ms": 100, "missed_percent": 0.0, "false_s_per_min": 0.0, "false_segments": 0,
                     "splits": 0, "joins": 0, "turns": 2}


def test_what_is_wrong_is_counted_as_such():
    assert counted(segment(10, 12), segment(13, 15), segment(20, 22))["splits"] == 1
    assert counted(segment(10, 22))["joins"] == 1
    false = counted(segment(3, 5), segment(10, 15), segment(20, 22))
    assert (false["false_segments"], false["false_s_per_min"], false["splits"]) == (1, 2.0, 0)
    late = counted(segment(10.7, 15), segment(20, 22))
    assert late["lost_start_p95_ms"] == 190 and late["missed_percent"] == pytest.approx(100 * 0.2 / 6, abs=0.01)
    nothing = counted()
    assert nothing["missed_percent"] == 100.0 and nothing["noticed_p50_ms"] is None


@pytest.mark.skipif(not recordings.present(), reason=recordings.ABSENT)
def test_a_track_has_its_turns_where_it_says():
    quiet = track(Noise("clean"), 1)
    assert track(Noise("clean"), 2).turns != quiet.turns
    spans = [span for turn in quiet.turns for span in turn]
    pauses = [after[0] - before[1] for turn in quiet.turns for before, after in zip(turn, turn[1:], strict=False)]
    between = [after[0][0] - before[-1][1] for before, after in zip(quiet.turns, quiet.turns[1:], strict=False)]
    assert all(0.29 * SECOND <= pause <= 0.51 * SECOND for pause in pauses)
    assert all(1.49 * SECOND <= pause <= 3.01 * SECOND for pause in between)
    inside = np.mean([levels(quiet.samples[start:end]).max() for start, end in spans])
    outside = levels(quiet.samples[spans[0][1] + 3_200:quiet.turns[1][0][0] - 3_200]).mean() \
        if len(quiet.turns[0]) == 1 else levels(quiet.samples[:SECOND]).mean()
    assert inside - outside > 40


def test_the_cost_is_measured_of_each_detector_for_each_number_of_sessions():
    rows = cost.measure(detectors.loudness(), [1, 7], 1)
    assert [(row["detector"], row["sessions"]) for row in rows] == \
        [(kind, count) for kind in ("none", "webrtc", "fsmn") for count in (1, 7)]
    assert all(row["us_per_s"] > 0 and row["per_core"] > 0 for row in rows)


def test_without_recordings_it_says_so(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recordings, "present", lambda: False)
    assert vad.main(["quality", "--json", "--vad-model", "no/such/folder"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == {"quality": None}
    assert recordings.ABSENT in said.err and "no fsmn: no directory no/such/folder" in said.err
