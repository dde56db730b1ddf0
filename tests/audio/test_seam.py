"""The seam between what was heard by one way and what comes by another."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.opus import OPUS_RATE
from stream_server.audio.resample import Resampler
from stream_server.audio.seam import REACH, TEMPLATE, Seam, find_seam

SECOND = 16_000


def speech() -> np.ndarray:
    with wave.open(str(Path(__file__).parents[2] / "samples" / "meeting.wav")) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


SPEECH = speech()


@settings(max_examples=40, deadline=None)
@given(end=st.integers(2 * SECOND, 4 * SECOND), early=st.integers(SECOND * 6 // 10, SECOND * 14 // 10),
       gain=st.floats(0.2, 1.5), noise=st.floats(0, 200))
def test_it_is_found_to_the_sample_however_wrong_the_reckoning(end: int, early: int, gain: float, noise: float) -> None:
    random = np.random.default_rng(end)
    again = SPEECH[end - early:end + SECOND]
    again = (gain * again + random.normal(0, noise, len(again))).clip(-32_768, 32_767).astype(np.int16)
    assert find_seam(SPEECH[:end], again, SECOND) == early


def test_sound_that_went_by_opus_is_recognised() -> None:
    end = 3 * SECOND
    before = by_opus(SPEECH[:end])
    lag = end - len(before)
    for early in (SECOND // 2 + REACH // 2, SECOND, SECOND + REACH // 2):
        found = find_seam(before, SPEECH[end - early:end + SECOND], SECOND)
        # The codec itself is some milliseconds late.
        assert abs(found + lag - early) < 0.02 * SECOND + lag


def by_opus(samples: np.ndarray) -> np.ndarray:
    """What is left of samples at 16 kHz that were sent by a track."""
    import av

    encoder = av.CodecContext.create("libopus", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = OPUS_RATE, "mono", "s16", 32_000
    decoder = av.CodecContext.create("libopus", "r")
    resampler = Resampler(OPUS_RATE)
    up = np.repeat(samples, 3)
    heard = []
    for number in range(len(up) // 960):
        frame = av.AudioFrame.from_ndarray(up[960 * number:960 * (number + 1)].reshape(1, -1), "s16", "mono")
        frame.sample_rate, frame.pts = OPUS_RATE, 960 * number
        for packet in encoder.encode(frame):
            for decoded in decoder.decode(packet):
                sound = decoded.to_ndarray().reshape(-1)
                sound = sound if sound.dtype == np.int16 else (32_767 * sound).astype(np.int16)
                heard.append(resampler.convert(sound[:: len(sound) // decoded.samples]))
    return np.concatenate([*heard, resampler.flush()])


@pytest.mark.parametrize("before", [np.zeros(SECOND, np.int16), SPEECH[:TEMPLATE - 1], SPEECH[:0]],
                         ids=["silence", "too little", "nothing"])
def test_where_there_is_nothing_to_compare_the_reckoning_counts(before: np.ndarray) -> None:
    assert find_seam(before, SPEECH[:2 * SECOND], 12_345) == 12_345


def test_other_speech_is_not_taken_for_it() -> None:
    assert find_seam(SPEECH[:2 * SECOND], SPEECH[4 * SECOND:6 * SECOND], SECOND) == SECOND


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(1, 9_000), length=st.integers(0, 2 * SECOND))
def test_nothing_behind_it_is_lost_however_it_comes(cut: int, length: int) -> None:
    end, again = 3 * SECOND, SPEECH[2 * SECOND:2 * SECOND + length]
    seam, passed = Seam(SPEECH[:end], SECOND), 0
    for start in range(0, len(again), cut):
        passed = start + cut
        if seam.receive(again[start:start + cut]):
            break
    rest, before = seam.join()
    assert before == min(SECOND, len(again))
    assert np.array_equal(np.concatenate((rest, again[passed:])), again[before:])
