"""Offline models, made up."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stream_server.models.frontend import Frontend
from stream_server.models.offline import OfflineParaformer
from stream_server.models.offline_architecture import OfflineArchitecture
from stream_server.models.random_weights import random_offline_tensors, synthetic_vocabulary

_RANDOM_SEED = 23080332
_RANDOM_SHIFT, _RANDOM_SCALE = -13.0, 0.15
"""About what the published model's `am.mvn` has."""


@dataclass(frozen=True, slots=True)
class OfflineModel:
    """A network ready to run on `device`; `vocabulary[i]` is the piece of id i."""

    network: OfflineParaformer
    vocabulary: list[str]
    device: str


def random_offline_model(architecture: OfflineArchitecture, seed: int = _RANDOM_SEED) -> OfflineModel:
    """Seeded weights in `architecture`, synthetic tokens; see `random_weights`."""
    with torch.device("meta"):
        features = torch.empty(architecture.base.features)
        network = OfflineParaformer(architecture, features, features)
    network.load_state_dict(random_offline_tensors(network, architecture, seed), assign=True)
    shift = torch.full((architecture.base.features,), _RANDOM_SHIFT)
    network.frontend = Frontend(shift, torch.full_like(shift, _RANDOM_SCALE))
    network.requires_grad_(False).eval()
    return OfflineModel(network, synthetic_vocabulary(architecture.base.vocabulary), "cpu")
