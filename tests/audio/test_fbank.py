"""Filter banks without torch: torchaudio's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from stream_server.audio.fbank import fbank, frame_count, frames_of, mel_banks
from tests.support import recordings


def kaldi(samples: np.ndarray) -> np.ndarray:
    """In fp64: in fp32 torchaudio's own numbers are up to 0.00125 off on the recordings, ours 0.0004."""
    banks = torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(samples.astype(np.float64))[None], num_mel_bins=80, dither=0.0, energy_floor=0.0,
        window_type="hamming", sample_frequency=16000,
    ).numpy()
    # The floor is the smallest fraction of the numbers it computes in.
    return np.maximum(banks, np.log(np.finfo(np.float32).eps))


def test_the_filters_are_kaldis():
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(80, 512, 16000.0, 20.0, 0.0, 100.0, -500.0, 1.0)
    np.testing.assert_allclose(mel_banks()[:-1].T, banks.numpy(), atol=2e-5, rtol=0)
    assert not mel_banks()[-1].any()


@pytest.mark.parametrize("samples", [
    np.zeros(4000, np.int16), np.full(4000, -32768, np.int16),
    np.tile(np.array([-32768, 32767], np.int16), 2000),
    np.random.default_rng(0).normal(0, 2000, 4000).astype(np.int16),
    np.random.default_rng(0).integers(-1, 2, 4000).astype(np.int16),
], ids=["silence", "constant", "loudest", "noise", "faintest"])
def test_the_numbers_are_torchaudios_at_the_extremes(samples: np.ndarray):
    np.testing.assert_allclose(fbank(frames_of(samples)), kaldi(samples), atol=1e-3, rtol=0)


@pytest.mark.parametrize("clip", ["vad_example_70s.wav", "asr_example_en_zh.wav"])
def test_the_numbers_are_torchaudios_on_real_speech(clip: str):
    if not recordings.present():
        pytest.skip(recordings.ABSENT)
    samples = recordings.samples("clips", clip)
    np.testing.assert_allclose(fbank(frames_of(samples)), kaldi(samples), atol=1e-3, rtol=0)


def test_frames_know_nothing_of_each_other():
    frames = np.random.default_rng(1).normal(0, 2000, (50, 400)).astype(np.int16)
    together = fbank(frames)
    for index in (0, 7, 49):
        np.testing.assert_allclose(fbank(frames[index:index + 1])[0], together[index], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("samples", "frames"), [(0, 0), (399, 0), (400, 1), (559, 1), (560, 2), (16_000, 98)])
def test_only_whole_frames_count(samples: int, frames: int):
    assert frame_count(samples) == frames == len(frames_of(np.zeros(samples, np.int16)))
    assert fbank(frames_of(np.zeros(samples, np.int16))).shape == (frames, 80)
