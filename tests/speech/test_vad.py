"""Voice activity detection."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.speech.detectors import Detectors
from stream_server.speech.vad import Always, Score, WebrtcVad
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
