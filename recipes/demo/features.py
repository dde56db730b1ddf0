"""Features of the streaming frontend, computed for whole utterances: Kaldi filter banks, stacked 7 by 6.

The streaming frontend, fed piece by piece, emits the same frames; so training needs no pieces.
"""

from pathlib import Path

import torch
from torch import Tensor
from torchaudio.compliance.kaldi import get_mel_banks

RATE = 16000
FRAME, SHIFT, FFT = 400, 160, 512
MELS, STACK, STRIDE = 80, 7, 6
WIDTH = MELS * STACK
STEP = SHIFT * STRIDE  # samples from one stacked frame to the next: 60 ms
PRE_EMPHASIS = 0.97


def _mel_matrix() -> Tensor:
    """(FFT / 2 + 1, MELS): Kaldi's triangles from 20 Hz to half the rate; the last bin weighs nothing."""
    banks, _ = get_mel_banks(MELS, FFT, float(RATE), 20.0, 0.0, 100.0, -500.0, 1.0)
    return torch.nn.functional.pad(banks, (0, 1)).T.contiguous()


_MEL = _mel_matrix()
_WINDOW = torch.hamming_window(FRAME, periodic=False)
_FLOOR = torch.finfo(torch.float32).eps


def filter_banks(samples: Tensor) -> Tensor:
    """Log mel energies (frames, MELS) of samples (time,) in the range of 16 bit integers."""
    frames = samples.unfold(0, FRAME, SHIFT)
    frames = frames - frames.mean(dim=1, keepdim=True)
    before = torch.cat((frames[:, :1], frames[:, :-1]), dim=1)
    frames = (frames - PRE_EMPHASIS * before) * _WINDOW
    power = torch.fft.rfft(frames, FFT).abs().square()
    return (power @ _MEL).clamp_min(_FLOOR).log()


def stacked(banks: Tensor) -> Tensor:
    """Low frame rate (ceil(frames / 6), 560): 7 frames every 6, the first one repeated 3 times in front."""
    count = -(-len(banks) // STRIDE)
    after = max(0, (count - 1) * STRIDE + STACK - (len(banks) + STACK // 2))
    padded = torch.cat((banks[:1].expand(STACK // 2, -1), banks, banks[-1:].expand(after, -1)))
    return padded.unfold(0, STACK, STRIDE).transpose(1, 2).reshape(-1, WIDTH)[:count]


def write_normalisation(file: Path, shift: Tensor, scale: Tensor) -> None:
    """Write (x + shift) * scale as a Kaldi network in text, the format of `am.mvn`."""
    size = len(shift)
    lines = ["<Nnet> ", f"<Splice> {size} {size}", "[ 0 ]"]
    for name, values in (("<AddShift>", shift), ("<Rescale>", scale)):
        numbers = " ".join(f"{value:.7g}" for value in values.tolist())
        lines += [f"{name} {size} {size} ", f"<LearnRateCoef> 0 [ {numbers} ]"]
    file.write_text("\n".join([*lines, "</Nnet> ", ""]))


def read_normalisation(file: Path) -> tuple[Tensor, Tensor]:
    """(shift, scale), each (560,), from `am.mvn`."""
    rows = [line for line in file.read_text().splitlines() if line.startswith("<LearnRateCoef>")]
    shift, scale = (torch.tensor([float(x) for x in row[row.index("[") + 1 : row.index("]")].split()]) for row in rows)
    return shift, scale
