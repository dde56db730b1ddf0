"""The windows of streaming inference, laid out for training: all windows of an utterance at once.

A window [0, c, r] sees c + r frames (60 ms each) and decides about the first c of them; the next window
starts c frames later, and the first one begins r frames before the speech, on frames of zeros.  So frame n
of the features is position n + r of the windows, and window k covers positions k*c .. k*c + c + r - 1.
The last window is shorter or as long, and decides about everything that is left.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recipes.demo.features import STEP


@dataclass(frozen=True)
class Window:
    """A window geometry: `center` frames decided, `right` frames of context."""

    center: int
    right: int

    @property
    def width(self) -> int:
        return self.center + self.right


DEFAULT = Window(10, 5)
ENCODER_LOOK_BACK = 4
DECODER_LOOK_BACK = 1


@dataclass(frozen=True)
class Layout:
    """The windows of a batch, one after another without regard to utterances.

    frame: (windows, width) the row of the joined features that stands there; 0 is a row of zeros.
    valid: (windows, width) False behind the end of an utterance's last window.
    number: (windows,) the window's number within its utterance.
    kept: (batch, positions) the flat window position (window * width + offset) of each position that is
        decided about, -1 behind the end.
    start: (batch,) the utterance's first window.
    count: (batch,) its number of windows.
    """

    window: Window
    frame: Tensor
    valid: Tensor
    number: Tensor
    kept: Tensor
    start: Tensor
    count: Tensor


def window_count(samples: int, window: Window) -> int:
    """Windows that streaming inference runs: one for each full stride, and the last one."""
    return samples // (window.center * STEP) + 1


def used_frames(frames: int, samples: int, window: Window) -> int:
    """Frames that reach the encoder: a rest of less than one frame's samples is not looked at."""
    stride = window.center * STEP
    full = samples // stride * window.center
    return full if samples % stride < STEP else frames


def _one(frames: int, samples: int, window: Window, base: int) -> tuple[Tensor, Tensor]:
    """Rows (windows, width) and validity for one utterance whose first feature row is `base`."""
    count, width = window_count(samples, window), window.width
    position = torch.arange(count)[:, None] * window.center + torch.arange(width)[None]
    frame = position - window.right
    valid = frame < used_frames(frames, samples, window)
    rows = torch.where((frame >= 0) & valid, frame + base, 0)
    return rows, valid


def lay_out(lengths: list[tuple[int, int]], window: Window) -> Layout:
    """Windows for utterances of (frames, samples), whose features are joined behind one row of zeros."""
    rows, valids, kept, starts, counts = [], [], [], [], []
    base, first = 1, 0
    for frames, samples in lengths:
        row, valid = _one(frames, samples, window, base)
        total = used_frames(frames, samples, window) + window.right
        place = torch.arange(total)
        index = (place // window.center).clamp_max(len(row) - 1)
        kept.append((first + index) * window.width + place - index * window.center)
        rows.append(row)
        valids.append(valid)
        starts.append(first)
        counts.append(len(row))
        base, first = base + frames, first + len(row)
    number = torch.cat([torch.arange(count) for count in counts])
    padded = torch.nn.utils.rnn.pad_sequence(kept, batch_first=True, padding_value=-1)
    return Layout(
        window, torch.cat(rows), torch.cat(valids), number, padded, torch.tensor(starts), torch.tensor(counts)
    )
