"""What the model keeps of each stream between two steps: rows of preallocated tensors, addressed by slot.

A step gathers the rows of its streams, computes, and scatters them back at its end; where a mask says that a row is to
stay as it was, its writes go to a scratch row that belongs to no stream. So every step of a window and batch size has
the same shapes, whatever its rows do, and a step that raises has changed nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stream_server.audio.windows import Window
from stream_server.models.architecture import Architecture


class Writes:
    """What a step will change, kept back until all of it has been computed."""

    def __init__(self) -> None:
        self._kept_back: list[tuple[Tensor, tuple[Tensor, ...], Tensor]] = []

    def add(self, state: Tensor, places: tuple[Tensor, ...], values: Tensor) -> None:
        """`state[places]` is to become `values`."""
        self._kept_back.append((state, places, values))

    def commit(self) -> None:
        """Write it all."""
        for state, places, values in self._kept_back:
            state.index_put_(places, values)
        self._kept_back.clear()


class Ring:
    """Keys and values of past frames: [layers, slots + 1, capacity, 2 D], the last row being scratch.

    Frame n of a stream lies at n modulo the window's look-back. The frames' order is lost; softmax does not care.
    """

    def __init__(self, layers: int, slots: int, capacity: int, size: int, dtype: torch.dtype, device: str) -> None:
        self.frames = torch.zeros(layers, slots + 1, capacity, 2 * size, dtype=dtype, device=device)

    def step(
        self, writes: Writes, rows: Tensor, written: Tensor, length: int, count: int, kept: Tensor | None = None
    ) -> RingStep:
        """A step that reads up to `length` frames of `rows` [B] and writes `count` new ones by `writes`.

        `written` [B]: frames written before; `kept` [B]: whether a row's new frames are to be kept (all by default).
        """
        scratch = self.frames.shape[1] - 1
        targets = rows if kept is None else torch.where(kept, rows, scratch)
        return RingStep(self.frames, writes, rows, targets, written, length, count)


class RingStep:
    """One step's way to its rows of a ring; `there` [B, length] is true where a frame has been written.

    A row's past are the first so many frames of its slot `rows` [B] in `frames` [layers, slots + 1, capacity, 2 D].
    """

    def __init__(
        self, frames: Tensor, writes: Writes, rows: Tensor, targets: Tensor, written: Tensor, length: int, count: int
    ) -> None:
        self.frames = frames
        self._writes = writes
        self.dtype = frames.dtype
        self.rows = rows
        self._targets = targets[:, None]
        self._length = length
        self.there = torch.arange(length, device=rows.device) < written[:, None]
        if length:
            self._places = (written[:, None] + torch.arange(count, device=rows.device)) % length

    def read(self, layer: int) -> Tensor:
        """[B, length, 2 D]"""
        return self.frames[layer, :, : self._length].index_select(0, self.rows)

    def write(self, layer: int, frames: Tensor) -> None:
        """`frames` [B, count, 2 D] are to be written."""
        if self._length:
            self._writes.add(self.frames[layer], (self._targets, self._places), frames)

    def write_all(self, frames: Tensor, chosen: Tensor | None = None) -> None:
        """`frames` [layers, B, count, 2 D] are to be written; those of the rows `chosen` alone, where that is given."""
        if self._length:
            targets, places = self._targets, self._places
            if chosen is not None:
                targets, places = targets[chosen], places[chosen]
            self._writes.add(self.frames.permute(1, 2, 0, 3), (targets, places), frames.permute(1, 2, 0, 3))


class Caches:
    """All state of all slots on the device. Row `slots` is scratch.

    position    [S]            frames that entered so far: the next one's place in the position encoding is one more
    look_ahead  [S, r, 560]    features that the last step saw ahead of its hop, scaled and with positions; fp32
    carry       [S]            what CIF has integrated towards the next token, 0 to 1; fp64, see `cif.integrate`
    carried     [S, D]         the mean of the encoder's output under that carry; fp32
    heard       [S]            frames written to the decoder's cross-attention ring
    history     [L, S, 10, D]  inputs of the decoder's memory blocks for the last 10 tokens
    encoder, decoder           rings of keys and values
    """

    def __init__(
        self, architecture: Architecture, windows: Sequence[Window], slots: int, dtype: torch.dtype, device: str
    ) -> None:
        size, rows = architecture.size, slots + 1
        ahead = max(window.look_ahead for window in windows)
        self.slots = slots
        self.position = torch.zeros(rows, dtype=torch.int64, device=device)
        self.look_ahead = torch.zeros(rows, ahead, architecture.features, device=device)
        self.carry = torch.zeros(rows, dtype=torch.float64, device=device)
        self.carried = torch.zeros(rows, size, device=device)
        self.heard = torch.zeros(rows, dtype=torch.int64, device=device)
        self.history = torch.zeros(
            architecture.decoder_layers, rows, architecture.history, size, dtype=dtype, device=device
        )
        past = max(encoder_look_back(window) for window in windows)
        self.encoder = Ring(architecture.encoder_layers, slots, past, size, dtype, device)
        past = max(decoder_look_back(window) for window in windows)
        self.decoder = Ring(architecture.decoder_layers, slots, past, size, dtype, device)

    def reset(self, rows: Tensor) -> None:
        """Forget the former tenants of slots `rows`. Zeros, not flags: a masked key that is no number would spread."""
        for state in (self.position, self.look_ahead, self.carry, self.carried, self.heard):
            state.index_fill_(0, rows, 0)
        for state in (self.history, self.encoder.frames, self.decoder.frames):
            state.index_fill_(1, rows, 0)

    @property
    def bytes_per_slot(self) -> int:
        """Device memory that one stream's state takes."""
        tensors = (self.position, self.look_ahead, self.carry, self.carried, self.heard, self.history)
        tensors += (self.encoder.frames, self.decoder.frames)
        return sum(tensor.nbytes for tensor in tensors) // (self.slots + 1)


def encoder_look_back(window: Window) -> int:
    """Past frames that the encoder's attention sees."""
    return window.encoder_look_back * window.hop


def decoder_look_back(window: Window) -> int:
    """Past frames that the decoder's cross-attention sees, those of earlier windows that fired nothing left out."""
    return window.decoder_look_back * window.hop
