"""Voice activity detection."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech import vad as vad_module
from stream_server.speech.detectors import Detectors
from stream_server.speech.vad import Always, Score, WebrtcVad, plain_scores
from tests.support.audio import silence, voice

SOUND = np.concatenate([silence(0.4), voice(0.5), silence(0.3)])[:-77]


def scores(vad, pieces: list[np.ndarray]) -> list[Score]:
    given_scores = []
    for piece in pieces:
        vad.receive(piece)
        given_scores += vad.take_scores()
    vad.receive_end()
    return given_scores + vad.take_scores()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, len(SOUND)), max_size=15))
def test_cuts_change_nothing(cuts):
    assert scores(WebrtcVad(), np.split(SOUND, sorted(cuts))) == scores(WebrtcVad(), [SOUND])


@pytest.mark.parametrize("kind", ["webrtc", "none"])
def test_scores_follow_each_other_without_gaps_to_the_last_sample(kind):
    given_scores = scores(Detectors().open(kind, 2), [SOUND])
    ends = [0, *(score.end for score in given_scores)]
    assert [score.start for score in given_scores] == ends[:-1] and ends[-1] == len(SOUND)


@pytest.mark.parametrize("aggressiveness", range(4))
def test_a_voice_is_told_from_silence(aggressiveness):
    given_scores = scores(WebrtcVad(aggressiveness), [SOUND])
    assert {score.probability for score in given_scores if score.end <= 6_400} == {0.0}
    assert {score.probability for score in given_scores if 6_400 <= score.start and score.end <= 14_400} == {1.0}


@pytest.mark.parametrize("aggressiveness", range(4))
@given(frames=st.integers(10, 60))
@settings(max_examples=10, deadline=None)
def test_behind_speech_it_hangs_on_for_what_is_known(aggressiveness, frames):
    speech = silence(0.4), voice(0.02 * frames)
    found = scores(WebrtcVad(aggressiveness), [*speech, silence(0.5)])
    hung_on = max(score.end for score in found if score.probability) - sum(map(len, speech))
    assert (140, 140, 100, 100)[aggressiveness] * 16 <= hung_on <= (160, 160, 120, 120)[aggressiveness] * 16
    assert WebrtcVad(aggressiveness).manner.end_delay <= hung_on


def test_without_detection_all_is_speech_from_the_first_sample_on():
    vad = Always()
    assert vad.take_scores() == []
    vad.receive(silence(1 / 16_000))
    assert vad.take_scores() == [Score(0, 1, 1.0)] and not vad.outstanding


def test_the_library_is_loaded_late_and_without_a_warning():
    script = ("import sys, stream_server.speech.vad as vad; assert '_webrtcvad' not in sys.modules; "
              "vad.WebrtcVad(); assert '_webrtcvad' in sys.modules")
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("judge", sorted({plain_scores, vad_module.scores}, key=str))
@pytest.mark.parametrize("samples", [0, 319, 320, 321, 3_200, len(SOUND)])
def test_scores_are_of_whole_frames_and_compiled_the_same(judge, samples, monkeypatch):
    monkeypatch.setattr(vad_module, "scores", judge)
    given_scores = scores(WebrtcVad(), [SOUND[:samples], SOUND[samples:]])
    monkeypatch.setattr(vad_module, "scores", plain_scores)
    assert given_scores == scores(WebrtcVad(), [SOUND])
    assert {type(score) for score in given_scores} == {Score}
    assert {type(each) for score in given_scores for each in score} == {int, float}


@pytest.mark.parametrize("judge", sorted({plain_scores, vad_module.scores}, key=str))
def test_an_error_of_the_librarys_is_told(judge):
    kept = []

    def process(vad, rate, frame, length):
        kept.append((vad, rate, frame, length))
        if len(kept) == 3:
            raise ValueError("broken")
        return len(kept) == 2

    data = bytes(range(256)) * 10
    with pytest.raises(ValueError, match="broken"):
        judge(Score, process, "detector", data, 0)
    assert kept == [("detector", 16_000, data[640 * n:640 * n + 640], 320) for n in range(3)]
    kept[2:] = [None] * 10
    assert judge(Score, process, "detector", data[:1281], 7) == [Score(7, 327, 0.0), Score(327, 647, 0.0)]


@pytest.mark.parametrize("aggressiveness", range(4))
def test_a_frame_is_judged_as_by_the_packages_own_class(aggressiveness):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import webrtcvad
    own = webrtcvad.Vad(aggressiveness)
    sound = np.concatenate([SOUND, (SOUND // 20)])
    frames = [sound[start:start + 320].tobytes() for start in range(0, len(sound) - 319, 320)]
    assert [score.probability for score in scores(WebrtcVad(aggressiveness), [sound])][:len(frames)] == [
        float(own.is_speech(frame, 16_000)) for frame in frames]
