"""The encoder: attention with a memory block over one window, and keys and values of earlier hops; or over a whole
segment at once.

SAN-M, arXiv 2006.01713; in chunks, arXiv 2006.01712. Equals FunASR's `SANMEncoderChunkOpt.forward_chunk`
(funasr/models/scama/encoder.py) and `SANMEncoder.forward` (funasr/models/sanm/encoder.py) for any number of rows;
parameters bear their names.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stream_server.engine.pieces import Pieces
from stream_server.models.architecture import Architecture
from stream_server.models.attention import LayerNorm, attend, prepared, remember, visible_keys
from stream_server.models.caches import RingStep


def position_encoding(position: Tensor, count: int, depth: int) -> Tensor:
    """Sines and cosines of the `count` places after `position` [B], [B, count, depth]; fp32 at any distance."""
    places = position[:, None] + torch.arange(1, count + 1, device=position.device)
    angles = places.float()[..., None] * _rates(depth, position.device)
    return torch.cat((angles.sin(), angles.cos()), -1)


@cache
@torch.inference_mode(False)
def _rates(depth: int, device: torch.device) -> Tensor:
    # In FunASR's order and precision, so that distant places are rounded alike.
    step = torch.log(torch.tensor([10000.0])) / (depth / 2 - 1)
    return torch.exp(torch.arange(depth // 2, dtype=torch.float32) * -step).to(device)


class FeedForward(nn.Module):
    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size, hidden)
        self.w_2 = nn.Linear(hidden, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(F.relu(self.w_1(x)))


class SelfAttention(nn.Module):
    """Attention over the past and the window, plus a memory block over the window's values alone.

    The block sees as much before as behind, and `shift` steps more before and fewer behind.
    """

    def __init__(self, width: int, architecture: Architecture, shift: int = 0) -> None:
        super().__init__()
        size, kernel = architecture.size, architecture.kernel
        self.size, self.heads = size, architecture.encoder_heads
        self.context = (kernel // 2 + shift, kernel // 2 - shift)
        self.linear_q_k_v = nn.Linear(width, 3 * size)
        self.linear_out = nn.Linear(size, size)
        self.fsmn_block = nn.Conv1d(size, size, kernel, groups=size, bias=False)

    def forward(self, x: Tensor, past: Tensor, inside: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """[B, W, D] and the window's keys and values [B, W, 2 D]."""
        query, keys_values = self.linear_q_k_v(x).split((self.size, 2 * self.size), -1)
        values = keys_values[..., self.size :] * inside
        memory = values + remember(self.fsmn_block, F.pad(values, (0, 0, *self.context)))
        attended = attend(query, torch.cat((past, keys_values), 1), visible, self.heads)
        return self.linear_out(attended) + memory, keys_values


class EncoderLayer(nn.Module):
    """A layer whose input is wider than its output, as a first one may be, has no residual around its attention."""

    def __init__(self, width: int, architecture: Architecture, shift: int = 0) -> None:
        super().__init__()
        self.residual = width == architecture.size
        self.self_attn = SelfAttention(width, architecture, shift)
        self.feed_forward = FeedForward(architecture.size, architecture.encoder_hidden)
        self.norm1 = LayerNorm(width)
        self.norm2 = LayerNorm(architecture.size)

    def forward(self, x: Tensor, past: Tensor, inside: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        attended, keys_values = self.self_attn(self.norm1(x, past.dtype), past, inside, visible)
        x = x + attended if self.residual else attended.float()
        return x + self.feed_forward(self.norm2(x, past.dtype)), keys_values


class Encoder(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.scale = math.sqrt(architecture.size)
        self.encoders0 = nn.ModuleList([EncoderLayer(architecture.features, architecture)])
        rest = range(architecture.encoder_layers - 1)
        self.encoders = nn.ModuleList([EncoderLayer(architecture.size, architecture) for _ in rest])
        self.after_norm = LayerNorm(architecture.size)

    def place(self, features: Tensor, position: Tensor) -> Tensor:
        """Features [B, c, 560] scaled, and told where in the stream they are; fp32."""
        return features * self.scale + position_encoding(position, features.shape[1], features.shape[2])

    def forward(self, frames: Tensor, inside: Tensor, ring: RingStep, hop: int) -> Tensor:
        """The window's output [B, W, D] in fp32, zero outside `inside` [B, W]; its first `hop` frames go to the ring.

        `frames` [B, W, 560] are placed features, each row's aligned to the left.
        """
        visible = prepared(visible_keys(ring.there, inside), ring.dtype)
        inside = inside[..., None].to(ring.dtype)
        x = frames
        for index, layer in enumerate((*self.encoders0, *self.encoders)):
            x, keys_values = layer(x, ring.read(index), inside, visible)
            ring.write(index, keys_values[:, :hop])
        return self.after_norm(x) * inside

    def whole(self, features: Tensor, inside: Tensor, dtype: torch.dtype) -> Pieces[Tensor]:
        """The output [B, T, D] in fp32, zero outside `inside` [B, T], where every frame sees all of its row; a layer
        at a time.

        `features` [B, T, 560] are not yet placed; matrices are computed in `dtype`, that of the weights.
        """
        x = self.place(features, torch.zeros(len(features), dtype=torch.long, device=features.device))
        past = features.new_empty(len(features), 0, 2 * self.after_norm.normalized_shape[0], dtype=dtype)
        visible = prepared(visible_keys(inside), dtype)
        inside = inside[..., None].to(dtype)
        for layer in (*self.encoders0, *self.encoders):
            x, _ = layer(x, past, inside, visible)
            yield
        return self.after_norm(x) * inside
