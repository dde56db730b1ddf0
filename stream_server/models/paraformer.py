"""One step of the streaming Paraformer for a batch of rows, in two halves: what was heard, then what was said."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stream_server.audio.windows import Window
from stream_server.models.architecture import Architecture
from stream_server.models.caches import Caches, Writes, decoder_look_back, encoder_look_back
from stream_server.models.cif import Fired, Predictor, integrate
from stream_server.models.decoder import Decoder, History
from stream_server.models.encoder import Encoder
from stream_server.models.frontend import Frontend


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one step, on the device. A padding row has the scratch slot, no samples and `first` set.

    samples  [B, 480 + hop * 960]  int16, each row's from index 0: its carry unless `first`, then its new ones
    rows     [B]                   its slot
    fbanks   [B]                   whole fbank frames in its samples
    new      [B]                   frames of 60 ms that they give: the hop, or fewer where `last`
    first    [B]                   its slot has been reset
    last     [B]                   its tail is to be spoken out
    """

    samples: Tensor
    rows: Tensor
    fbanks: Tensor
    new: Tensor
    first: Tensor
    last: Tensor


@dataclass(frozen=True, slots=True)
class Heard:
    """The first half's result.

    features  [B, c, 560]  of the new frames
    encoded   [B, W, D]    the window, zero past a row's end
    inside    [B, W]       where a row has a frame
    alphas    [B, W]       CIF's weights, of which tokens were made
    tokens                 what fired
    frames    [B, T]       for each token, the stream's frame in which it fired
    finite    [B]          false where a row's numbers overflowed: its results and its slot are worthless
    """

    features: Tensor
    encoded: Tensor
    inside: Tensor
    alphas: Tensor
    tokens: Fired
    frames: Tensor
    finite: Tensor


class Paraformer(nn.Module):
    """The network. Matrices and memory blocks are computed in the weights' dtype; features, norms, sums along the
    layers and CIF in fp32."""

    def __init__(self, architecture: Architecture, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.architecture = architecture
        self.frontend = Frontend(shift, scale)
        self.encoder = Encoder(architecture)
        self.predictor = Predictor(architecture)
        self.decoder = Decoder(architecture)

    def hear(self, window: Window, batch: Batch, caches: Caches, writes: Writes) -> Heard:
        """Advance the rows' streams by a hop: features, encoder, CIF. What is to be kept of it goes to `writes`."""
        rows, hop, ahead = batch.rows, window.hop, window.look_ahead
        position = caches.position[rows]
        features = self.frontend(batch.samples, batch.fbanks, batch.first)
        frames = torch.cat((caches.look_ahead[rows, :ahead], self.encoder.place(features, position)), 1)
        end = ahead + batch.new
        inside = torch.arange(window.frames, device=rows.device) < end[:, None]
        ring = caches.encoder.step(writes, rows, position, encoder_look_back(window), hop)
        encoded = self.encoder(frames, inside, ring, hop)
        alphas, tokens = self._fire(encoded, batch, caches, hop, end)
        finite = encoded.isfinite().all(-1).all(-1) & tokens.carry.isfinite()
        writes.add(caches.look_ahead[:, :ahead], (rows,), frames[:, hop:])
        writes.add(caches.position, (rows,), position + hop)
        writes.add(caches.carry, (rows,), tokens.carry)
        writes.add(caches.carried, (rows,), tokens.carried)
        # Column 0 is the carry, column 1 the window's oldest frame; the tail counts as the last frame of all.
        since_start = position[:, None] - ahead + tokens.frames - 1
        latest = (position + batch.new - 1).clamp(min=0)[:, None]
        return Heard(features, encoded, inside, alphas, tokens, since_start.clamp(min=0).minimum(latest), finite)

    def _fire(self, encoded: Tensor, batch: Batch, caches: Caches, hop: int, end: Tensor) -> tuple[Tensor, Fired]:
        # The look-ahead's tokens wait for the next step, where they are seen with more context; a stream's end is
        # spoken out with an empty frame that completes a token which is nearly there. Nothing was said in nothing.
        nothing = batch.first & (batch.fbanks == 0)
        end = torch.where(batch.last, end, hop).masked_fill(nothing, 0)
        places = torch.arange(encoded.shape[1], device=end.device)
        alphas = torch.where(places < end[:, None], self.predictor(encoded), 0.0)
        tail = torch.where(batch.last & ~nothing, self.architecture.tail_threshold, 0.0)
        carry, carried = caches.carry[batch.rows], caches.carried[batch.rows]
        weights = torch.cat((carry[:, None], alphas, tail[:, None]), 1)
        hidden = F.pad(torch.cat((carried[:, None], encoded), 1), (0, 0, 0, 1))
        return alphas, integrate(weights, hidden)

    def say(
        self, window: Window, batch: Batch, caches: Caches, heard: Heard, tokens: int, writes: Writes
    ) -> Tensor:
        """Scores [B, tokens, vocabulary]; a row's first `heard.tokens.count` are meant.

        A row with more than `tokens` of them is left as it was, as if it had not been asked: its scores mean nothing,
        and it is to be asked again with room for all.
        """
        rows, fired = batch.rows, heard.tokens.count
        count = torch.where(fired > tokens, 0, fired)
        length = decoder_look_back(window)
        kept = min(length, window.frames)
        before = caches.heard[rows]
        ring = caches.decoder.step(writes, rows, before, length, kept, count > 0)
        memory = heard.encoded.to(ring.dtype)
        said = heard.tokens.embeddings[:, :tokens]
        history = History(caches.history, rows, count, writes)
        scores = self.decoder(said, memory, heard.inside, history, ring, kept)
        writes.add(caches.heard, (rows,), before + (count > 0) * kept)
        return scores
