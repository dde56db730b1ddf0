"""From samples to features: Kaldi's filter banks, stacked to frames of 60 ms, normalised.

The same numbers as FunASR's `WavFrontendOnline` (funasr/frontends/wav_frontend.py) over
`torchaudio.compliance.kaldi.fbank`, for all rows of a batch at once and without state on the device: a stream's
only carry is its last 480 samples, from which the one fbank frame that stacking still needs is computed anew.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stream_server.models.architecture import MEL_BINS, STACKED
from stream_server.units import FRAME_SAMPLES, SAMPLE_RATE

CARRY_SAMPLES = 480
"""Samples of a stream's past that its next hop begins with: one fbank frame (400) reaches this far back."""

_LENGTH = 400
_SHIFT = 160
_FFT = 512
_STRIDE = FRAME_SAMPLES // _SHIFT
_REPEATED = (STACKED - 1) // 2
"""How often stacking repeats a stream's first fbank frame, so that its first output is centred on it."""

_PRE_EMPHASIS = 0.97
_LOWEST_HZ = 20.0


def fbank_frames(samples: int) -> int:
    """Whole fbank frames in so many samples, carry included."""
    return max(0, (samples - _LENGTH) // _SHIFT + 1)


def stacked_frames(fbanks: int, first: bool) -> int:
    """Frames of 60 ms that a last piece gives; FunASR's padding formula is the repetition of the last fbank frame."""
    stacked = fbanks + (_REPEATED if first and fbanks else 0)
    return max(0, -(-(stacked - _REPEATED) // _STRIDE))


def mel_banks() -> Tensor:
    """Kaldi's triangular filters on the mel scale, [257, 80].

    In torchaudio's precision and order of operations, though fp64 would be nearer the truth: a bank's bias adds up
    over a stream in CIF's sums, and in half a minute moves tokens.
    """
    lowest, highest = (1127.0 * math.log1p(hertz / 700.0) for hertz in (_LOWEST_HZ, SAMPLE_RATE / 2))
    edges = lowest + torch.arange(MEL_BINS + 2) * ((highest - lowest) / (MEL_BINS + 1))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    # The Nyquist bin is left out.
    mel = 1127.0 * (1.0 + torch.arange(_FFT / 2)[:, None] * (SAMPLE_RATE / _FFT) / 700.0).log()
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return torch.cat((torch.minimum(rising, falling).clamp(min=0), torch.zeros(1, MEL_BINS)))


class Frontend(nn.Module):
    """Features of all rows' new samples. Computes in fp32 whatever the model's dtype.

    `shift` and `scale` [560] are the model's mean and variance normalisation (`am.mvn`).
    """

    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        # On the meta device PyTorch would import its compiler for them, two seconds of every start.
        with torch.device("cpu"):
            hamming = torch.hamming_window(_LENGTH, periodic=False, alpha=0.54, beta=0.46)
            banks = mel_banks()
        self.register_buffer("hamming", hamming, persistent=False)
        self.register_buffer("banks", banks, persistent=False)
        self.register_buffer("shift", shift.float(), persistent=False)
        self.register_buffer("scale", scale.float(), persistent=False)

    def forward(self, samples: Tensor, fbanks: Tensor, first: Tensor) -> Tensor:
        """[B, hop, 560] from samples [B, 480 + hop * 960] in the range of int16.

        A row's samples begin at index 0: its carry, unless it is `first` [B], then its new ones; what follows is
        ignored. `fbanks` [B] says how many whole fbank frames they hold. Frames past the row's last are copies of it.
        """
        hop = (samples.shape[1] - CARRY_SAMPLES) // FRAME_SAMPLES
        banks = self.fbank(samples.float())
        starts = torch.arange(hop, device=samples.device)[:, None] * _STRIDE
        wanted = (starts + torch.arange(STACKED, device=samples.device)).flatten()
        wanted = (wanted - first[:, None] * _REPEATED).minimum(fbanks[:, None] - 1).clamp(min=0)
        stacked = banks.gather(1, wanted[..., None].expand(-1, -1, MEL_BINS))
        return (stacked.view(len(samples), hop, -1) + self.shift) * self.scale

    def fbank(self, samples: Tensor) -> Tensor:
        """[B, n, 80] logarithmic filter banks of samples [B, 400 + 160 (n-1)], as Kaldi computes them."""
        frames = samples.unfold(1, _LENGTH, _SHIFT)
        frames = frames - frames.mean(-1, keepdim=True)
        before = torch.cat((frames[..., :1], frames[..., :-1]), -1)
        frames = (frames - _PRE_EMPHASIS * before) * self.hamming
        power = torch.fft.rfft(frames, _FFT).abs().square()
        return (power @ self.banks).clamp(min=torch.finfo(torch.float32).eps).log()
