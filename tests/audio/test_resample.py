"""Any rate to 16 kHz."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_server.audio.resample import Resampler
from stream_server.errors import ClientError

RATES = [8_000, 11_025, 12_345, 16_000, 22_050, 32_000, 44_100, 48_000]


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(1).integers(-9_000, 9_000, count).astype(np.int16)


@settings(max_examples=40, deadline=None)
@given(rate=st.sampled_from(RATES), length=st.integers(0, 9_000), cuts=st.lists(st.integers(0, 3_000), max_size=20))
def test_cuts_change_nothing_and_the_length_is_right(rate, length, cuts):
    samples = noise(length)
    whole = Resampler(rate)
    expected = np.concatenate([whole.convert(samples), whole.flush()])
    resampler, parts, position = Resampler(rate), [], 0
    for cut in [*cuts, length]:
        parts.append(resampler.convert(samples[position : position + cut]))
        position += cut
    assert np.array_equal(np.concatenate([*parts, resampler.flush()]), expected)
    assert abs(len(expected) - round(length * 16_000 / rate)) <= 1
    assert expected.dtype == np.int16


@pytest.mark.parametrize("rate", RATES)
def test_a_tone_stays_that_tone(rate):
    tone = np.round(8_000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    resampler = Resampler(rate)
    converted = np.concatenate([resampler.convert(tone), resampler.flush()])
    expected = 8_000 * np.sin(2 * np.pi * 440 * np.arange(len(converted)) / 16_000)
    assert np.abs(converted - expected)[400:-400].max() < 40


def test_full_scale_is_clipped_and_does_not_wrap():
    square = np.where(np.arange(8_000) % 80 < 40, 32_767, -32_768).astype(np.int16)
    converted = Resampler(8_000).convert(square)
    assert converted[20:60].min() > 0


def test_after_a_flush_a_new_stream_begins():
    samples, used = noise(4_000), Resampler(44_100)
    used.convert(noise(777))
    used.flush()
    fresh = Resampler(44_100)
    assert np.array_equal(used.convert(samples), fresh.convert(samples))


def test_silence_stays_silent():
    assert not Resampler(48_000).convert(np.zeros(48_000, np.int16)).any()


@pytest.mark.parametrize("rate", [0, -1, 7_999, 48_001, 16_000.0, "16000", None, True])
def test_a_rate_out_of_range_is_named(rate):
    with pytest.raises(ClientError) as error:
        Resampler(rate)
    assert error.value.field == "sample_rate" and error.value.allowed == "8000 to 48000 Hz"
