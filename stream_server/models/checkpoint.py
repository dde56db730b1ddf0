"""Models from disk."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from stream_server.models.architecture import PARAFORMER_LARGE, Architecture
from stream_server.models.paraformer import Paraformer
from stream_server.models.random_weights import random_tensors, synthetic_vocabulary


@dataclass(frozen=True, slots=True)
class Model:
    network: Paraformer
    vocabulary: list[str]
    dtype: torch.dtype
    device: str


def assemble(architecture, shift, scale, tensors, vocabulary, dtype, device) -> Model:
    with torch.device("meta"):
        network = Paraformer(architecture, torch.empty(architecture.features), torch.empty(architecture.features))
    network.load_state_dict(tensors, assign=True)
    from stream_server.models.frontend import Frontend
    network.frontend = Frontend(shift, scale).to(device)
    network.requires_grad_(False).eval()
    return Model(network, vocabulary, dtype, device)


def random_model(architecture: Architecture, dtype=torch.float32, device="cpu", seed=20061712):
    with torch.device("meta"):
        network = Paraformer(architecture, torch.empty(architecture.features), torch.empty(architecture.features))
    tensors = random_tensors(network, seed)
    shift, scale = torch.full((560,), -13.0), torch.full((560,), 0.15)
    return assemble(architecture, shift, scale, tensors, synthetic_vocabulary(architecture.vocabulary), dtype, device)
