"""What the trained network heard, kept on disk: finding hotwords is learnt from this, without hearing it all again."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from recipes.demo.batches import tokens
from recipes.seaco.hearing import said
from recipes.seaco.segments import SegmentBatches, Segments
from stream_server.engine.pieces import finished
from stream_server.models.offline import OfflineParaformer

SEED = 8
BATCHES = 450  # of 50 s: half of the utterances


@dataclass(frozen=True)
class Heard:
    """Segments one after another, each with a character or more.

    embeddings and hidden [characters, D] in half precision; labels [characters]; at [segments + 1] where each begins.
    """

    embeddings: Tensor
    hidden: Tensor
    labels: Tensor
    at: Tensor

    def __len__(self) -> int:
        return len(self.at) - 1

    def text(self, segment: int) -> str:
        """What was said."""
        names = tokens()
        return "".join(names[label] for label in self.labels[self.at[segment] : self.at[segment + 1]].tolist())


@torch.inference_mode()
def listen(network: OfflineParaformer, batches: Iterable[Segments]) -> Heard:
    """Hear them all; as many characters a segment as were said, however many were heard."""
    embeddings, hidden, labels, lengths = [], [], [], []
    for batch in batches:
        encoded = finished(network.encoder.whole(batch.features, batch.inside, torch.float32))
        parts = said(network, encoded, network.predictor(encoded) * batch.inside, batch)
        known = batch.labels >= 0
        embeddings.append(parts[0][known].half())
        hidden.append(parts[1][known].half())
        labels.append(batch.labels[known])
        lengths += [length for length in known.sum(dim=1).tolist() if length]
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return Heard(torch.cat(embeddings), torch.cat(hidden), torch.cat(labels), ends)


def make_heard(file: Path, network: OfflineParaformer, batches: SegmentBatches) -> Heard:
    """Hear once and keep it in `file`."""
    if not file.exists():
        loader = DataLoader(batches, batch_size=None, sampler=range(BATCHES), num_workers=1, prefetch_factor=4)
        heard = listen(network, loader)
        part = file.with_suffix(".part")
        torch.save(vars(heard), part)
        part.rename(file)
    return Heard(**torch.load(file, weights_only=True))
