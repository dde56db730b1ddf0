"""Hotwords of many rows at once: their vectors side by side, and which of them are worth a closer look.

SeACo-Paraformer, arXiv 2308.03266; FunASR's `_seaco_decode_with_ASF` (funasr/models/seaco_paraformer/model.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

KEPT = 50
"""Hotwords that the filter leaves of more."""


@dataclass(frozen=True, slots=True)
class Hotwords:
    """Vectors of the rows' hotwords.

    vectors  [B, H, D]  a row's, and last the one that stands for none of them; zero behind that
    count    [B]        vectors of a row, at least 1
    """

    vectors: Tensor
    count: Tensor

    @property
    def there(self) -> Tensor:
        """[B, H], true where a row has a vector."""
        return torch.arange(self.vectors.shape[1], device=self.count.device) < self.count[:, None]


def side_by_side(vectors: Sequence[Tensor]) -> Hotwords:
    """Each row's vectors [H_i, D] in one batch."""
    count = torch.tensor([len(row) for row in vectors], device=vectors[0].device)
    return Hotwords(torch.nn.utils.rnn.pad_sequence(list(vectors), batch_first=True), count)


def filtered(hotwords: Hotwords, looks: Tensor) -> Hotwords:
    """Of rows with more than 50 vectors the 50 looked at most, and the one that stands for none.

    `looks` [B, heads, N, H] are attention weights, zero for tokens that a row does not have. As in FunASR the vector
    that stands for none may be among the 50, and then counts twice. FunASR's filter takes the first row's looks for
    all rows; here each row has its own.
    """
    many = hotwords.count > KEPT
    scores = looks.sum((1, 2)).masked_fill(~hotwords.there, -torch.inf)
    best = scores.topk(min(KEPT, scores.shape[1]), -1).indices
    chosen = torch.cat((best, hotwords.count[:, None] - 1), 1)
    all_ = torch.arange(chosen.shape[1], device=chosen.device).clamp(max=scores.shape[1] - 1)
    chosen = torch.where(many[:, None], chosen, all_)
    vectors = hotwords.vectors.gather(1, chosen[..., None].expand(-1, -1, hotwords.vectors.shape[2]))
    return Hotwords(vectors, torch.where(many, chosen.shape[1], hotwords.count))
