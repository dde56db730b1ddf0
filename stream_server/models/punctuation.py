"""CT-Transformer: which mark follows each word, for texts of many sessions at once.

arXiv 2003.01309. Equals FunASR's `CTTransformer.punc_forward` and `CTTransformerStreaming.punc_forward`
(funasr/models/ct_transformer/model.py, ct_transformer_streaming/model.py) fed one text at a time, for any number of
rows of any lengths; parameters bear their names.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from stream_server.models.attention import Embedding, LayerNorm, visible_keys
from stream_server.models.encoder import EncoderLayer, position_encoding
from stream_server.models.punctuation_architecture import PunctuationArchitecture


class TextEncoder(nn.Module):
    """SAN-M over a whole text."""

    def __init__(self, architecture: PunctuationArchitecture) -> None:
        super().__init__()
        base, shift = architecture.base, architecture.shift
        self.scale, self.causal = math.sqrt(base.size), architecture.causal
        self.encoders0 = nn.ModuleList([EncoderLayer(architecture.width, base, shift)])
        rest = range(base.encoder_layers - 1)
        self.encoders = nn.ModuleList([EncoderLayer(base.size, base, shift) for _ in rest])
        self.after_norm = LayerNorm(base.size)

    def forward(self, words: Tensor, inside: Tensor, context: Tensor) -> Tensor:
        """[B, T, D] in fp32 of embedded `words` [B, T, E] in the weights' dtype; see `Punctuation.forward`."""
        dtype = words.dtype
        start = torch.zeros(len(words), dtype=torch.long, device=words.device)
        x = words.float() * self.scale + position_encoding(start, words.shape[1], words.shape[2])
        past = words.new_empty(len(words), 0, 2 * self.after_norm.normalized_shape[0])
        everything = visible_keys(inside)
        visible = everything & _earlier(words.shape[1], words.device) if self.causal else everything
        inside = inside[..., None].to(dtype)
        layers = [*self.encoders0, *self.encoders]
        for number, layer in enumerate(layers, 1):
            # FunASR asks which layer is the last among those behind the first.
            if self.causal and number == len(layers) > 1:
                visible = everything & _behind(context, words.shape[1])
            x, _ = layer(x, past, inside, visible)
        return self.after_norm(x)


class Punctuation(nn.Module):
    def __init__(self, architecture: PunctuationArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.embed = Embedding(architecture.base.vocabulary, architecture.width)
        self.encoder = TextEncoder(architecture)
        self.decoder = nn.Linear(architecture.base.size, len(architecture.marks))

    def forward(self, ids: Tensor, inside: Tensor, context: Tensor) -> Tensor:
        """Scores of marks [B, T, marks] in fp32, of what lies `inside` [B, T] its row; `ids` [B, T].

        `context` [B]: words of a row that have been seen before; only a causal model asks.
        """
        embedded = self.embed(ids)
        return self.decoder(self.encoder(embedded, inside, context).to(embedded.dtype)).float()


def _earlier(length: int, device: torch.device) -> Tensor:
    """[T, T]: every word sees itself and what came before."""
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


def _behind(context: Tensor, length: int) -> Tensor:
    """[B, 1, T, T]: words seen before, but for the last of them, do not see the new ones."""
    places = torch.arange(length, device=context.device)
    context = context[:, None, None]
    blocked = (places[:, None] < context - 1) & (places[None, :] >= context) & (context > 0)
    return ~blocked[:, None]
