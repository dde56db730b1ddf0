"""Kaldi's logarithmic mel filter banks in numpy, for parts of the server that never load torch.

The numbers of `torchaudio.compliance.kaldi.fbank` with 80 bins, 25 ms Hamming frames every 10 ms, no dither and no
energy floor, as FunASR's frontends ask for them. Frames know nothing of each other, so those of many streams are
computed as one array.
"""

from __future__ import annotations

import math

import numpy as np

from stream_server.units import SAMPLE_RATE

LENGTH = 400
"""Samples of a frame: 25 ms."""
SHIFT = 160
"""Samples from one frame's beginning to the next one's: 10 ms."""
MEL_BINS = 80

_FFT = 512
_PRE_EMPHASIS = np.float32(0.97)
_LOWEST_HZ = 20.0
_SMALLEST = np.finfo(np.float32).eps


def frame_count(samples: int) -> int:
    """Whole frames in so many samples."""
    return max(0, (samples - LENGTH) // SHIFT + 1)


def frames_of(samples: np.ndarray) -> np.ndarray:
    """The whole frames [n, 400] in samples [m], as a view."""
    samples = np.ascontiguousarray(samples)
    size = samples.itemsize
    # What numpy's own functions for this do takes longer than all that is done with a few frames.
    return np.ndarray((frame_count(len(samples)), LENGTH), samples.dtype, samples, 0, (SHIFT * size, size))


def fbank(frames: np.ndarray) -> np.ndarray:
    """[n, 80] fp32 of frames [n, 400] whose samples are in the range of int16."""
    frames = frames.astype(np.float32)
    frames -= frames.mean(1, keepdims=True)
    emphasised = frames.copy()
    emphasised[:, 1:] -= _PRE_EMPHASIS * frames[:, :-1]
    emphasised[:, 0] -= _PRE_EMPHASIS * frames[:, 0]
    emphasised *= _HAMMING
    spectrum = np.fft.rfft(emphasised, _FFT)
    power = np.square(spectrum.real) + np.square(spectrum.imag)
    return np.log(np.maximum(power @ _BANKS, _SMALLEST))


def mel_banks() -> np.ndarray:
    """Kaldi's triangular filters on the mel scale, [257, 80], in torchaudio's precision and order of operations."""
    lowest, highest = (1127.0 * math.log1p(hertz / 700.0) for hertz in (_LOWEST_HZ, SAMPLE_RATE / 2))
    edges = lowest + np.arange(MEL_BINS + 2, dtype=np.float32) * np.float32((highest - lowest) / (MEL_BINS + 1))
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    # The Nyquist bin is left out.
    hertz = np.arange(_FFT // 2, dtype=np.float32)[:, None] * np.float32(SAMPLE_RATE / _FFT)
    mel = np.float32(1127.0) * np.log(np.float32(1.0) + hertz / np.float32(700.0))
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return np.concatenate((np.minimum(rising, falling).clip(min=0), np.zeros((1, MEL_BINS), np.float32)))


_HAMMING = np.hamming(LENGTH).astype(np.float32)
_BANKS = mel_banks()
