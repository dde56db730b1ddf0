"""The decoder: all tokens of a step at once, from their embeddings, the window and what was heard and said before; or
all tokens of a whole segment.

Paraformer, arXiv 2206.08317. Equals FunASR's `ParaformerSANMDecoder.forward_chunk` and `.forward`
(funasr/models/paraformer/decoder.py) for any number of rows; parameters bear its names.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stream_server.engine.pieces import Pieces
from stream_server.models.architecture import Architecture
from stream_server.models.attention import (
    LayerNorm,
    attend,
    attention_weights,
    prepared,
    remember,
    visible_keys,
)
from stream_server.models.caches import RingStep, Writes


class DecoderFeedForward(nn.Module):
    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size, hidden)
        self.w_2 = nn.Linear(hidden, size, bias=False)
        self.norm = LayerNorm(hidden)

    def forward(self, x: Tensor) -> Tensor:
        return self.w_2(self.norm(F.relu(self.w_1(x)), x.dtype))


class MemoryBlock(nn.Module):
    def __init__(self, size: int, kernel: int) -> None:
        super().__init__()
        self.fsmn_block = nn.Conv1d(size, size, kernel, groups=size, bias=False)


class CrossAttention(nn.Module):
    def __init__(self, size: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear_q = nn.Linear(size, size)
        self.linear_k_v = nn.Linear(size, 2 * size)
        self.linear_out = nn.Linear(size, size)

    def forward(self, x: Tensor, keys_values: Tensor, visible: Tensor) -> Tensor:
        return self.linear_out(attend(self.linear_q(x), keys_values, visible, self.heads))

    def weights(self, x: Tensor, keys_values: Tensor, visible: Tensor) -> Tensor:
        """How much each of `x` looks at each key, [B, heads, N, K]."""
        return attention_weights(self.linear_q(x), keys_values, visible, self.heads)


class DecoderLayer(nn.Module):
    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        size = architecture.size
        self.self_attn = MemoryBlock(size, architecture.kernel)
        self.src_attn = CrossAttention(size, architecture.decoder_heads)
        self.feed_forward = DecoderFeedForward(size, architecture.decoder_hidden)
        self.norm1, self.norm2, self.norm3 = LayerNorm(size), LayerNorm(size), LayerNorm(size)

    def forward(
        self, x: Tensor, memory: Tensor, history: Tensor, past: Tensor, visible: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The tokens [B, N, D], the memory block's inputs [B, 10 + N, D], the window's keys and values [B, W, 2 D]."""
        dtype = memory.dtype
        said = self._said(x, dtype)
        recent = torch.cat((history, said), 1)
        x = x + said + remember(self.self_attn.fsmn_block, recent)
        keys_values = self.src_attn.linear_k_v(memory)
        x = x + self.src_attn(self.norm3(x, dtype), torch.cat((past, keys_values), 1), visible)
        return x, recent, keys_values

    def whole(self, x: Tensor, spoken: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """The tokens [B, N, D] of a whole segment, there where `spoken` [B, N, 1]; `memory` [B, T, D]."""
        x = self._among_neighbours(x, spoken, memory.dtype)
        return x + self.src_attn(self.norm3(x, memory.dtype), self.src_attn.linear_k_v(memory), visible)

    def weights(self, x: Tensor, spoken: Tensor, memory: Tensor, visible: Tensor) -> Tensor:
        """What the tokens of `whole` would look at, [B, heads, N, T]."""
        x = self._among_neighbours(x, spoken, memory.dtype)
        return self.src_attn.weights(self.norm3(x, memory.dtype), self.src_attn.linear_k_v(memory), visible)

    def _said(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return self.norm2(self.feed_forward(self.norm1(x, dtype)), dtype)

    def _among_neighbours(self, x: Tensor, spoken: Tensor, dtype: torch.dtype) -> Tensor:
        """A whole segment's tokens after the memory block, which looks to both sides."""
        said = self._said(x, dtype) * spoken
        context = self.self_attn.fsmn_block.kernel_size[0] // 2
        return x + said + remember(self.self_attn.fsmn_block, F.pad(said, (0, 0, context, context)))


class LastLayer(nn.Module):
    """A feed-forward without a residual."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.feed_forward = DecoderFeedForward(architecture.size, architecture.decoder_hidden)
        self.norm1 = LayerNorm(architecture.size)

    def forward(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        return self.feed_forward(self.norm1(x, dtype))


class History:
    """One step's way to what the memory blocks saw of the last tokens: `states` [layers, slots, 10, D] at `rows` [B].

    A row says `count` [B] tokens in this step; one that says none keeps what it had.
    """

    def __init__(self, states: Tensor, rows: Tensor, count: Tensor, writes: Writes) -> None:
        self.states = states
        self._rows = rows
        self._writes = writes
        self.count = count
        latest = count[:, None] + torch.arange(states.shape[2], device=rows.device)
        self._latest = latest[..., None].expand(-1, -1, states.shape[3])

    def read(self, layer: int) -> Tensor:
        """[B, 10, D]"""
        return self.states[layer].index_select(0, self._rows)

    def write(self, layer: int, recent: Tensor) -> None:
        """Of `recent` [B, 10 + N, D], what was read and this step's tokens, each row's latest 10 are to be kept."""
        self._writes.add(self.states[layer], (self._rows,), recent.gather(1, self._latest))

    def write_all(self, latest: Tensor, chosen: Tensor) -> None:
        """`latest` [layers, B', 10, D] are to be kept of the rows `chosen` [B']."""
        self._writes.add(self.states.transpose(0, 1), (self._rows[chosen],), latest.transpose(0, 1))


class Decoder(nn.Module):
    """With `scores` false it has no layer for them: what it finds is its hidden state."""

    def __init__(self, architecture: Architecture, *, scores: bool = True) -> None:
        super().__init__()
        self.decoders = nn.ModuleList([DecoderLayer(architecture) for _ in range(architecture.decoder_layers)])
        self.decoders3 = nn.ModuleList([LastLayer(architecture)])
        self.after_norm = LayerNorm(architecture.size)
        if scores:
            self.output_layer = nn.Linear(architecture.size, architecture.vocabulary)

    def forward(
        self, tokens: Tensor, memory: Tensor, inside: Tensor, history: History, ring: RingStep, kept: int
    ) -> Tensor:
        """Scores [B, N, vocabulary] of `tokens` [B, N, D] in fp32.

        `memory` [B, W, D] is the encoder's output in the model's dtype, there where `inside` [B, W]; its last `kept`
        frames go to the ring.
        """
        visible = prepared(visible_keys(ring.there, inside), memory.dtype)
        x = tokens
        for index, layer in enumerate(self.decoders):
            x, recent, keys_values = layer(x, memory, history.read(index), ring.read(index), visible)
            history.write(index, recent)
            ring.write(index, keys_values[:, keys_values.shape[1] - kept :])
        return self.output_layer(self.after_norm(self.decoders3[0](x, memory.dtype), memory.dtype))

    def whole(self, tokens: Tensor, spoken: Tensor, memory: Tensor, inside: Tensor) -> Pieces[Tensor]:
        """The hidden state [B, N, D] in fp32, before scores, of a whole segment's `tokens` [B, N, D]; a layer at a
        time.

        A row has a token where `spoken` [B, N]; `memory` [B, T, D], in the model's dtype, is there where `inside`
        [B, T].
        """
        spoken, visible = spoken[..., None].to(memory.dtype), prepared(visible_keys(inside), memory.dtype)
        x = tokens
        for layer in self.decoders:
            x = layer.whole(x, spoken, memory, visible)
            yield
        return self.after_norm(self.decoders3[0](x, memory.dtype))

    def weights(self, tokens: Tensor, spoken: Tensor, memory: Tensor, inside: Tensor, layer: int) -> Pieces[Tensor]:
        """What the tokens of `whole` look at in its layer `layer`, counted from one, [B, heads, N, T] in fp32."""
        spoken, visible = spoken[..., None].to(memory.dtype), visible_keys(inside)
        x = tokens
        bias = prepared(visible, memory.dtype)
        for before in self.decoders[: layer - 1]:
            x = before.whole(x, spoken, memory, bias)
            yield
        return self.decoders[layer - 1].weights(x, spoken, memory, visible)
