"""Features: FunASR's, however the samples are cut, alone and among others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.fbank import frame_count
from stream_server.speech.fsmn.frontend import FEATURES, LOOK_AHEAD, Carry, Frontend
from stream_server.speech.fsmn.model import Model
from tests.support import recordings
from tests.support.vad_reference import FunasrVad

PLAIN = Frontend(np.zeros(FEATURES), np.ones(FEATURES))
NOISE = np.random.default_rng(0).normal(0, 2000, 12_000).astype(np.int16)


def features(frontend: Frontend, samples: np.ndarray, cuts: list[int] = (), most: int = 10_000) -> np.ndarray:
    carry, parts = Carry(), []
    cut = np.split(samples, sorted(cuts))
    for index, piece in enumerate(cut):
        carry.receive(piece)
        if index == len(cut) - 1:
            carry.receive_end()
        parts += frontend.take_features([carry], most)
        while carry.frames:
            parts += frontend.take_features([carry], most)
    return np.concatenate(parts)


@pytest.mark.parametrize("length", [0, 1, 399, 400, 401, 559, 560, 720, 880, 1040, 1199, 1200, 1201, 4000])
def test_a_recording_of_any_length_gives_what_funasr_gives(model: Model, funasr_vad: FunasrVad, length: int):
    wanted = funasr_vad.features(NOISE[:length])
    found = features(model.frontend, NOISE[:length])
    assert len(found) == len(wanted) == frame_count(length)
    np.testing.assert_allclose(found, wanted, atol=1e-3, rtol=0)


@pytest.mark.parametrize("clip", ["vad_example_70s.wav", "sample_6s.wav", "asr_example_en_zh.wav"])
def test_real_speech_gives_what_funasr_gives(model: Model, funasr_vad: FunasrVad, clip: str):
    samples = recordings.samples("clips", clip)
    np.testing.assert_allclose(features(model.frontend, samples), funasr_vad.features(samples), atol=1e-3, rtol=0)


def test_streamed_speech_gives_what_funasr_gives(model: Model, funasr_vad: FunasrVad):
    samples = recordings.samples("clips", "sample_6s.wav")
    cuts = list(range(0, len(samples), 3_210))
    np.testing.assert_allclose(features(model.frontend, samples, cuts), funasr_vad.features(samples, cuts),
                               atol=1e-3, rtol=0)


@settings(max_examples=50, deadline=None)
@given(length=st.integers(0, len(NOISE)), cuts=st.lists(st.integers(0, len(NOISE)), max_size=12),
       most=st.integers(1, 20))
def test_cuts_change_nothing(length: int, cuts: list[int], most: int):
    samples = NOISE[:length]
    cuts = [min(cut, length) for cut in cuts]
    np.testing.assert_allclose(features(PLAIN, samples, cuts, most), features(PLAIN, samples), atol=1e-5, rtol=0)


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 4_000), min_size=1, max_size=6))
def test_streams_together_give_what_each_gives_alone(lengths: list[int]):
    carries = [Carry() for _ in lengths]
    for carry, length in zip(carries, lengths, strict=True):
        carry.receive(NOISE[:length])
        carry.receive_end()
    for length, together in zip(lengths, PLAIN.take_features(carries, 10_000), strict=True):
        np.testing.assert_allclose(together, features(PLAIN, NOISE[:length]), atol=1e-5, rtol=0)


def test_a_feature_is_known_as_soon_as_its_look_ahead_is_there():
    for frame in range(5):
        carry = Carry()
        needed = 160 * (frame + 1) + LOOK_AHEAD
        carry.receive(NOISE[:needed - 1])
        assert len(PLAIN.take_features([carry], 10_000)[0]) == frame
        carry.receive(NOISE[needed - 1:needed])
        assert len(PLAIN.take_features([carry], 10_000)[0]) == 1


def test_after_the_end_nothing_comes_twice():
    carry = Carry()
    carry.receive(NOISE[:1_000])
    carry.receive_end()
    assert [len(PLAIN.take_features([carry], 10_000)[0]) for _ in range(3)] == [4, 0, 0]
    assert carry.received == 1_000
