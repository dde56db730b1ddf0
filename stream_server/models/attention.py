"""What the encoder's and the decoder's layers share: masked attention, the memory block, layer norm."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Embedding(nn.Embedding):
    """Whose weights are made up where there is room for them: on the meta device PyTorch would import its compiler for
    that, two seconds of every start."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class LayerNorm(nn.LayerNorm):
    """With the epsilon that the published weights were trained with.

    Its weights are fp32 in any model, and what it gives is in `dtype`, for the matrix that follows. So sums along the
    layers stay fp32, which is most of what narrow numbers would otherwise lose.
    """

    def __init__(self, size: int) -> None:
        super().__init__(size, eps=1e-12)

    def forward(self, x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        return super().forward(x.float()).to(dtype)


def attend(query: Tensor, keys_values: Tensor, visible: Tensor, heads: int) -> Tensor:
    """Scaled dot-product attention, [B, Q, D].

    `query` [B, Q, D]; `keys_values` [B, K, 2 D], keys then values; `visible` [B, 1, 1, K] says which keys a row's
    queries may see, at least one; or it is what `prepared` makes of that.
    """
    batch, _, size = query.shape
    q = query.view(batch, -1, heads, size // heads).transpose(1, 2)
    k, v = keys_values.view(batch, -1, 2, heads, size // heads).permute(2, 0, 3, 1, 4)
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=visible)
    return attended.transpose(1, 2).reshape(batch, -1, size)


def attention_weights(query: Tensor, keys_values: Tensor, visible: Tensor, heads: int) -> Tensor:
    """How much each query of `attend` looks at each key, [B, heads, Q, K] in fp32; summed over keys, one."""
    batch, _, size = query.shape
    q = query.view(batch, -1, heads, size // heads).transpose(1, 2)
    k = keys_values[..., :size].view(batch, -1, heads, size // heads).permute(0, 2, 3, 1)
    scores = (q @ k).float() * (size // heads) ** -0.5
    return scores.masked_fill(~visible, -torch.inf).softmax(-1)


def remember(block: nn.Conv1d, frames: Tensor) -> Tensor:
    """The memory block of SAN-M (arXiv 2006.01713): a filter over time for each channel, [B, T, D].

    `frames` [B, T + kernel - 1, D] come with their context, or zeros, at both ends.
    """
    # As an image of one line. On a CPU its channels lie innermost, as they do here: no copy, and thrice as fast. On
    # CUDA the kernels that are made for a filter of each channel want them outermost.
    layout = torch.contiguous_format if frames.is_cuda else torch.channels_last
    line = frames.transpose(1, 2).unsqueeze(2).contiguous(memory_format=layout)
    return F.conv2d(line, block.weight.unsqueeze(2), groups=block.groups).squeeze(2).transpose(1, 2)


def visible_keys(*parts: Tensor) -> Tensor:
    """The mask [B, 1, 1, K] for keys that lie in `parts`, each [B, K_i] and true where a key is there.

    A row with no key at all sees its first, a zero: softmax over nothing would not be a number.
    """
    visible = torch.cat(parts, 1)
    visible[:, 0] |= ~visible.any(1)
    return visible[:, None, None, :]


def prepared(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """What `attend` takes in place of `visible` [B, 1, 1, K] for queries in `dtype`, made once for all layers: on CUDA
    it would make the same of it in each."""
    return as_bias(visible, dtype) if visible.is_cuda else visible


def as_bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 for what is visible, else -inf; its lines begin at multiples of 8 numbers, as kernels want them."""
    keys = visible.shape[-1]
    bias = torch.zeros(*visible.shape[:-1], keys + -keys % 8, dtype=dtype, device=visible.device)[..., :keys]
    return bias.masked_fill_(~visible, -torch.inf)
