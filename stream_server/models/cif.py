"""Continuous integrate-and-fire: when a token is said, and the sound that it stands for.

CIF, arXiv 1905.11235. Equals FunASR's `CifPredictorV2.forward_chunk` (funasr/models/paraformer/cif_predictor.py)
for any number of rows, without its loop over frames. Always computes in fp32: it is small, and a rounding here moves
a token in time or loses it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stream_server.models.architecture import Architecture


class Predictor(nn.Module):
    """How much of a token each frame holds."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.smooth_factor = architecture.smooth_factor
        self.noise_threshold = architecture.noise_threshold
        self.cif_conv1d = nn.Conv1d(architecture.size, architecture.size, 3)
        self.cif_output = nn.Linear(architecture.size, 1)

    def forward(self, encoded: Tensor) -> Tensor:
        """Weights [B, W], 0 to 1, of the encoder's output [B, W, D], which is zero past a row's end."""
        # A product over each frame and its neighbours: what a convolution is, and five times as fast on a CPU.
        neighbours = F.pad(encoded, (0, 0, 1, 1)).unfold(1, 3, 1)
        mixed = F.linear(neighbours.flatten(2), self.cif_conv1d.weight.flatten(1), self.cif_conv1d.bias)
        alphas = self.cif_output(F.relu(mixed)).sigmoid().squeeze(-1)
        return F.relu(alphas * self.smooth_factor - self.noise_threshold)


@dataclass(frozen=True, slots=True)
class Fired:
    """What fired in a step of T frames.

    count       [B]        tokens
    embeddings  [B, T, D]  their embeddings in the first `count` rows
    frames      [B, T]     for each token, the frame that completed it
    carry       [B]        weight left towards the next token; fp64
    carried     [B, D]     mean of the frames under that weight
    """

    count: Tensor
    embeddings: Tensor
    frames: Tensor
    carry: Tensor
    carried: Tensor


def integrate(alphas: Tensor, hidden: Tensor) -> Fired:
    """Fire a token at every whole number that the running sum of `alphas` [B, T] passes.

    `hidden` [B, T, D] are the frames; the first is the carry of earlier steps. Token n is the sum of all frames, each
    weighted by how much of its share of the sum lies between n and n + 1; what lies above the last whole number is
    the next carry. The sum is taken in fp64: whether a token fires must not depend on the order of additions.
    """
    total = alphas.double().cumsum(1)
    # What is not a number must still index within bounds; the caller sees it in `carry`.
    count = total[:, -1].floor().nan_to_num(0.0).clamp(0, alphas.shape[1] - 1).long()
    tokens = torch.arange(alphas.shape[1], dtype=torch.float64, device=alphas.device)[:, None]
    upper = total[:, None, :]
    lower = F.pad(upper[..., :-1], (1, 0))
    shares = (upper.minimum(tokens + 1) - lower.maximum(tokens)).clamp(min=0).float()
    embeddings = shares @ hidden
    carry = total[:, -1] - count
    left = embeddings.gather(1, count[:, None, None].expand(-1, 1, hidden.shape[-1])).squeeze(1)
    carried = left / torch.where(carry > 0, carry, 1.0).float()[:, None]
    return Fired(count, embeddings, (upper < tokens + 1).sum(-1), carry, carried)
