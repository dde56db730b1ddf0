"""The streaming Paraformer for training: FunASR's parameter names, all windows of a batch at once.

Positions are packed: the windows of all utterances lie one after another, (windows, width, size), so the
encoder spends nothing on padding.  Everything a window may see in streaming inference it sees here, and
nothing else; `tests/recipes` compares both ways of running.
"""

import math
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipes.demo.features import WIDTH
from recipes.demo.geometry import DECODER_LOOK_BACK, ENCODER_LOOK_BACK, Layout

TAIL = 0.45  # mass added behind the end, so that a last character of 0.55 is still written
EPSILON = 1e-12
HIDDEN_BY_MASK = -1e9


@dataclass(frozen=True)
class Size:
    """Everything that `config.yaml` says about the size of the network."""

    vocabulary: int
    size: int = 160
    heads: int = 4
    units: int = 512
    encoder_layers: int = 5
    decoder_layers: int = 3
    kernel: int = 11
    dropout: float = 0.0

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def positions(features: Tensor, offset: int, size: int) -> Tensor:
    """Scale features (time, 560) and add the sinusoids of positions offset + 1, offset + 2, ..."""
    half = WIDTH // 2
    rates = torch.exp(torch.arange(half) * (-math.log(10000) / (half - 1)))
    angles = torch.arange(1 + offset, 1 + offset + len(features))[:, None] * rates[None]
    return features * math.sqrt(size) + torch.cat((angles.sin(), angles.cos()), dim=1)


def _heads(x: Tensor, heads: int) -> Tensor:
    """(batch, time, size) -> (batch, heads, time, size / heads)."""
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention over heads, (batch, heads, time, part) -> (batch, time, size); `mask` is added to scores."""
    scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1) + mask
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


class WindowAttention(nn.Module):
    """Self-attention of one window over itself and the decided part of the windows before, plus FSMN."""

    def __init__(self, inputs: int, size: Size) -> None:
        super().__init__()
        self.heads, self.kernel = size.heads, size.kernel
        self.linear_q_k_v = nn.Linear(inputs, 3 * size.size)
        self.linear_out = nn.Linear(size.size, size.size)
        self.fsmn_block = nn.Conv1d(size.size, size.size, size.kernel, groups=size.size, bias=False)

    def _fsmn(self, value: Tensor) -> Tensor:
        """The depthwise convolution as one small matrix a channel: several times faster for short windows."""
        width = value.shape[1]
        at = torch.arange(width)
        tap = at[:, None] - at[None] + self.kernel // 2
        tap = torch.where((tap >= 0) & (tap < self.kernel), tap, self.kernel)
        matrix = functional.pad(self.fsmn_block.weight[:, 0], (0, 1))[:, tap]
        return torch.bmm(value.permute(2, 0, 1).contiguous(), matrix.contiguous()).permute(1, 2, 0) + value

    def forward(self, x: Tensor, layout: Layout, mask: Tensor) -> Tensor:
        query, key, value = self.linear_q_k_v(x).chunk(3, dim=-1)
        value = value * layout.valid[..., None]
        memory = self._fsmn(value)
        key, value = (self._with_past(_heads(part, self.heads), layout) for part in (key, value))
        return self.linear_out(_attend(_heads(query, self.heads), key, value, mask)) + memory

    @staticmethod
    def _with_past(part: Tensor, layout: Layout) -> Tensor:
        """Put the decided frames of the windows before in front: (windows, heads, 4c + width, part)."""
        decided = part[:, :, : layout.window.center]
        backs = range(ENCODER_LOOK_BACK, 0, -1)
        past = [functional.pad(decided, (0, 0) * 3 + (back, 0))[: len(part)] for back in backs]
        return torch.cat((*past, part), dim=2)


def encoder_mask(layout: Layout) -> Tensor:
    """(windows, 1, 1, 4c + width): 0 where a key exists, very low where a window has no past or no frame."""
    center = layout.window.center
    past = [(layout.number >= back)[:, None].expand(-1, center) for back in range(ENCODER_LOOK_BACK, 0, -1)]
    seen = torch.cat((*past, layout.valid), dim=1)
    return torch.where(seen, 0.0, HIDDEN_BY_MASK)[:, None, None]


class FeedForward(nn.Module):
    """Two layers; the decoder's has a norm between them and no second bias."""

    def __init__(self, size: Size, decoder: bool) -> None:
        super().__init__()
        self.w_1 = nn.Linear(size.size, size.units)
        self.w_2 = nn.Linear(size.units, size.size, bias=not decoder)
        self.dropout = nn.Dropout(size.dropout)
        if decoder:
            self.norm = nn.LayerNorm(size.units, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.w_1(x).relu()
        if self.dropout.p:
            hidden = self.dropout(hidden)
        return self.w_2(self.norm(hidden) if hasattr(self, "norm") else hidden)


class EncoderLayer(nn.Module):
    """Pre-norm block; the first one changes the width and so has no residual around its attention."""

    def __init__(self, inputs: int, size: Size) -> None:
        super().__init__()
        self.self_attn = WindowAttention(inputs, size)
        self.feed_forward = FeedForward(size, decoder=False)
        self.norm1 = nn.LayerNorm(inputs, eps=EPSILON)
        self.norm2 = nn.LayerNorm(size.size, eps=EPSILON)
        self.residual = inputs == size.size

    def forward(self, x: Tensor, layout: Layout, mask: Tensor) -> Tensor:
        attended = self.self_attn(self.norm1(x), layout, mask)
        x = x + attended if self.residual else attended
        return x + self.feed_forward(self.norm2(x))


class Encoder(nn.Module):
    """Windows of positioned features (windows, width, 560) -> (windows, width, size)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.encoders0 = nn.ModuleList([EncoderLayer(WIDTH, size)])
        self.encoders = nn.ModuleList(EncoderLayer(size.size, size) for _ in range(size.encoder_layers - 1))
        self.after_norm = nn.LayerNorm(size.size, eps=EPSILON)

    def forward(self, x: Tensor, layout: Layout) -> Tensor:
        mask = encoder_mask(layout)
        for layer in (*self.encoders0, *self.encoders):
            x = layer(x, layout, mask)
        return self.after_norm(x)


class Predictor(nn.Module):
    """How much of a character each position holds: (windows, width, size) -> (windows, width) in 0..1."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.cif_conv1d = nn.Conv1d(size.size, size.size, 3)
        self.cif_output = nn.Linear(size.size, 1)

    def forward(self, hidden: Tensor, layout: Layout) -> Tensor:
        padded = functional.pad(hidden * layout.valid[..., None], (0, 0, 1, 1))
        joined = torch.cat((padded[:, :-2], padded[:, 1:-1], padded[:, 2:]), dim=-1)
        weight = self.cif_conv1d.weight.permute(2, 1, 0).flatten(0, 1)
        return self.cif_output((joined @ weight + self.cif_conv1d.bias).relu())[..., 0].sigmoid()


@dataclass(frozen=True)
class Fired:
    """Characters as they leave the integrator.

    embeddings: (batch, characters, size).  window: (batch, characters) the utterance's window in which
    each one fires.
    """

    embeddings: Tensor
    window: Tensor


def integrate(hidden: Tensor, alphas: Tensor, layout: Layout, count: int) -> Fired:
    """Integrate and fire, without a loop: character i is the mass between i and i + 1 of the running sum.

    hidden (batch, positions, size), alphas (batch, positions) of decided positions in order.
    """
    total = alphas.cumsum(dim=1)
    low = torch.arange(count)[None, :, None]
    upper = torch.minimum(total[:, None], low + 1)
    lower = torch.maximum((total - alphas)[:, None], low)
    embeddings = (upper - lower).clamp_min(0) @ hidden
    position = (total[:, None] < low + 1).sum(dim=2)
    window = torch.minimum(position // layout.window.center, (layout.count - 1)[:, None])
    return Fired(embeddings, window)


class TokenMemory(nn.Module):
    """The decoder's FSMN: it sees the character and the ten before it."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.fsmn_block = nn.Conv1d(size.size, size.size, size.kernel, groups=size.size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.fsmn_block.kernel_size[0]
        padded = functional.pad(x, (0, 0, kernel - 1, 0))
        # As a sum of products: the library's grouped convolution goes channel by channel here.
        return (padded.unfold(1, kernel, 1) * self.fsmn_block.weight[:, 0]).sum(dim=-1) + x


class CrossAttention(nn.Module):
    """Attention of characters to the windows of their utterance, as far as `mask` allows."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.heads = size.heads
        self.linear_q = nn.Linear(size.size, size.size)
        self.linear_k_v = nn.Linear(size.size, 2 * size.size)
        self.linear_out = nn.Linear(size.size, size.size)

    def forward(self, x: Tensor, memory: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        """x (batch, characters, size), memory (windows, width, size), index (batch, most windows)."""
        both = self.linear_k_v(memory)[index].flatten(1, 2)
        key, value = (_heads(part, self.heads) for part in both.chunk(2, dim=-1))
        return self.linear_out(_attend(_heads(self.linear_q(x), self.heads), key, value, mask))


class DecoderLayer(nn.Module):
    """Feed-forward first, then FSMN over characters, then attention to the windows."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.self_attn = TokenMemory(size)
        self.src_attn = CrossAttention(size)
        self.feed_forward = FeedForward(size, decoder=True)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(size.size, eps=EPSILON) for _ in range(3))

    def forward(self, x: Tensor, memory: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        x = x + self.self_attn(self.norm2(self.feed_forward(self.norm1(x))))
        return x + self.src_attn(self.norm3(x), memory, index, mask)


class LastLayer(nn.Module):
    """The decoder's last layer: a feed-forward block alone, without residual."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.feed_forward = FeedForward(size, decoder=True)
        self.norm1 = nn.LayerNorm(size.size, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        return self.feed_forward(self.norm1(x))


def decoder_mask(window: Tensor, layout: Layout, index: Tensor) -> Tensor:
    """(batch, 1, characters, most windows * width) to add to scores.

    A character sees its own window, and the last c positions of the window before in which any
    character fired: the decoder's cache advances only then.
    """
    number = torch.arange(index.shape[1])
    fired = (window[..., None] == number).any(dim=1)
    latest = torch.where(fired, number, -1).cummax(dim=1).values
    before = functional.pad(latest, (1, 0), value=-1)[:, :-1].gather(1, window)
    looked_back = torch.arange(layout.window.width) >= layout.window.width - DECODER_LOOK_BACK * layout.window.center
    own = (window[..., None] == number)[..., None] & layout.valid[index][:, None]
    past = (before[..., None] == number)[..., None] & looked_back
    return torch.where(own | past, 0.0, HIDDEN_BY_MASK).flatten(2)[:, None]


class Decoder(nn.Module):
    """Character embeddings -> scores over the vocabulary (batch, characters, vocabulary)."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        # FunASR's class has this table and never reads it when streaming.
        self.embed = nn.Sequential(nn.Embedding(size.vocabulary, size.size))
        self.embed[0].weight.requires_grad_(False).zero_()
        self.decoders = nn.ModuleList(DecoderLayer(size) for _ in range(size.decoder_layers))
        self.decoders3 = nn.ModuleList([LastLayer(size)])
        self.after_norm = nn.LayerNorm(size.size, eps=EPSILON)
        self.output_layer = nn.Linear(size.size, size.vocabulary)

    def forward(self, fired: Fired, memory: Tensor, layout: Layout) -> Tensor:
        index = layout.start[:, None] + torch.arange(int(layout.count.max()))
        index = torch.minimum(index, (layout.start + layout.count - 1)[:, None])
        mask = decoder_mask(fired.window, layout, index)
        x = fired.embeddings
        for layer in self.decoders:
            x = layer(x, memory, index, mask)
        return self.output_layer(self.after_norm(self.decoders3[0](x)))


class StreamingParaformer(nn.Module):
    """Encoder, predictor and decoder, with the names of FunASR's state dictionary."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = size
        self.encoder = Encoder(size)
        self.predictor = Predictor(size)
        self.decoder = Decoder(size)

    def encode(self, features: Tensor, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
        """Positioned features (1 + frames, 560), row 0 of zeros -> windows, decided hidden, decided alphas."""
        memory = self.encoder(features[layout.frame] * layout.valid[..., None], layout)
        alphas = self.predictor(memory, layout)
        there = layout.kept >= 0
        flat = layout.kept.clamp_min(0)
        hidden = memory.flatten(0, 1)[flat] * there[..., None]
        return memory, hidden, alphas.flatten()[flat] * there
