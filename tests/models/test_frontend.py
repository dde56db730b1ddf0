"""Features: Kaldi's numbers, and FunASR's count of frames for every length of a last piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from stream_server.models.checkpoint import Model
from stream_server.models.frontend import CARRY_SAMPLES, Frontend, fbank_frames, mel_banks, stacked_frames
from tests.support import recordings
from tests.support.reference import Reference

HOP = 2 * 960


def noise(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 2000, length).astype(np.int16)


def kaldi(samples: np.ndarray) -> torch.Tensor:
    return torchaudio.compliance.kaldi.fbank(
        torch.from_numpy(samples.astype(np.float32))[None], num_mel_bins=80, dither=0.0, energy_floor=0.0,
        window_type="hamming", sample_frequency=16000,
    )


def ours(frontend: Frontend, piece: np.ndarray, carry: np.ndarray | None, hop: int) -> tuple[torch.Tensor, int]:
    """Features of one piece, and how many of them are meant."""
    samples = piece if carry is None else np.concatenate((carry, piece))
    padded = np.zeros((1, CARRY_SAMPLES + hop), np.int16)
    padded[0, : len(samples)] = samples
    fbanks = fbank_frames(len(samples))
    features = frontend(torch.from_numpy(padded), torch.tensor([fbanks]), torch.tensor([carry is None]))
    return features[0], stacked_frames(fbanks, carry is None)


def test_filter_banks_are_kaldis():
    banks, _ = torchaudio.compliance.kaldi.get_mel_banks(80, 512, 16000.0, 20.0, 0.0, 100.0, -500.0, 1.0)
    torch.testing.assert_close(mel_banks()[:-1].T, banks, atol=1e-6, rtol=0)
    assert not mel_banks()[-1].any()


def test_fbank_is_torchaudios_on_real_speech(small: Model, speech: None):
    samples = recordings.samples("clips", "asr_example_zh.wav")
    banks = small.network.frontend.fbank(torch.from_numpy(samples.astype(np.float32))[None])
    torch.testing.assert_close(banks[0], kaldi(samples), atol=1e-5, rtol=0)


@pytest.mark.parametrize("samples", [np.zeros(4000, np.int16), np.full(4000, -32768, np.int16), noise(4000)])
def test_fbank_is_torchaudios_at_the_extremes(small: Model, samples: np.ndarray):
    banks = small.network.frontend.fbank(torch.from_numpy(samples.astype(np.float32))[None])
    torch.testing.assert_close(banks[0], kaldi(samples), atol=1e-5, rtol=0)


# Frames begin every 160 samples, 80 beyond what the carry holds, or 400 from the start: each edge from both sides.
EDGES = sorted({0, 1, HOP} | {at + near for at in (*range(80, HOP, 160), *range(400, HOP, 160)) for near in (-1, 0, 1)})


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_a_last_piece_of_any_length_gives_what_funasr_gives(small: Model, small_reference: Reference, hops: int):
    audio = noise(3 * HOP, hops)
    frontend = small.network.frontend
    for length in EDGES:
        cache: dict = {"frontend": {}}
        for hop in range(hops):
            small_reference.features(audio[hop * HOP : (hop + 1) * HOP], cache, last=False)
        piece = audio[hops * HOP :][:length]
        theirs = small_reference.features(piece, cache, last=True)[0]
        carry = audio[hops * HOP - CARRY_SAMPLES : hops * HOP] if hops else None
        features, count = ours(frontend, piece, carry, HOP)
        assert count == len(theirs), f"{length} samples after {hops} hops"
        torch.testing.assert_close(features[:count], theirs, atol=1e-5, rtol=0)


def test_rows_of_a_batch_are_what_they_are_alone(small: Model):
    frontend = small.network.frontend
    audio = noise(6 * HOP)
    rows = [(audio[:HOP], None), (audio[:700], None), (audio[HOP : HOP + 81], audio[HOP - 480 : HOP]),
            (audio[HOP : 2 * HOP], audio[HOP - 480 : HOP]), (audio[:10], None)]
    padded = np.zeros((len(rows), CARRY_SAMPLES + HOP), np.int16)
    fbanks = []
    for index, (piece, carry) in enumerate(rows):
        whole = piece if carry is None else np.concatenate((carry, piece))
        padded[index, : len(whole)] = whole
        fbanks.append(fbank_frames(len(whole)))
    first = torch.tensor([carry is None for _, carry in rows])
    together = frontend(torch.from_numpy(padded), torch.tensor(fbanks), first)
    for index, (piece, carry) in enumerate(rows):
        alone, count = ours(frontend, piece, carry, HOP)
        torch.testing.assert_close(together[index, :count], alone[:count], atol=1e-5, rtol=0)
