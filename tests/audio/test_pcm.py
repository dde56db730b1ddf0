"""Bytes of PCM."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_server.audio.pcm import ALAW, ENCODINGS, MULAW, PcmDecoder
from stream_server.errors import ClientError


@given(data=st.binary(max_size=200), cuts=st.lists(st.integers(0, 9)), encoding=st.sampled_from(ENCODINGS))
def test_cuts_change_nothing(data, cuts, encoding):
    whole = PcmDecoder(encoding)
    expected, left_over = whole.decode(data), whole.flush()
    decoder, parts, position = PcmDecoder(encoding), [], 0
    for cut in [*cuts, len(data)]:
        parts.append(decoder.decode(data[position : position + cut]))
        position += cut
    assert np.array_equal(np.concatenate(parts), expected)
    assert decoder.flush() == left_over == len(data) % decoder.sample_bytes
    assert expected.dtype == np.int16


def test_signed_samples_are_themselves():
    samples = np.array([0, 1, -1, 32_767, -32_768], "<i2")
    assert np.array_equal(PcmDecoder("pcm_s16le").decode(samples.tobytes()), samples)


def test_floats_are_clipped_and_what_is_no_number_is_silence():
    floats = np.array([0, 0.5, -0.5, 1, -1, 7, -7, np.nan, np.inf, -np.inf], "<f4")
    samples = PcmDecoder("pcm_f32le").decode(floats.tobytes())
    assert samples.tolist() == [0, 16_384, -16_384, 32_767, -32_768, 32_767, -32_768, 0, 0, 0]


def test_g711_has_the_values_of_the_recommendation():
    assert [int(MULAW[code]) for code in (0x00, 0x7F, 0x80, 0xFF, 0x0F, 0xF0)] == [-32_124, 0, 32_124, 0, -16_764, 120]
    assert [int(ALAW[code]) for code in (0xD5, 0x55, 0xAA, 0x2A, 0x80, 0x00)] == [8, -8, 32_256, -32_256, 5_504, -5_504]


@pytest.mark.parametrize("table", [MULAW, ALAW])
def test_g711_is_symmetric_and_has_every_step(table):
    assert np.array_equal(np.sort(table), np.sort(-table))
    assert len(set(table.tolist())) >= 255


def test_an_unknown_encoding_is_named():
    with pytest.raises(ClientError) as error:
        PcmDecoder("opus")
    assert (error.value.field, error.value.value) == ("encoding", "opus")
    assert "mulaw" in error.value.allowed


def test_memory_is_not_borrowed_from_the_message():
    data = bytearray(b"\1\0\2\0")
    samples = PcmDecoder("pcm_s16le").decode(data)
    data[:] = bytes(4)
    assert samples.tolist() == [1, 2]
